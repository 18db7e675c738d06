"""The source of the user's project: which files travel with a call, and why."""
