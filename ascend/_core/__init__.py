"""The engine: how a call becomes a Job and an answer becomes a result."""
