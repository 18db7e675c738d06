"""Image builder `kaniko`: a Job in the cluster that runs Kaniko's executor."""
