"""Image builder `buildkit`: a Job in the cluster that runs BuildKit's daemon and its client."""
