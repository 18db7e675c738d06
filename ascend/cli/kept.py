"""What is kept of a task when its Job is gone: the output of one that failed, in the storage of its profile."""

from __future__ import annotations

from ascend._core.bundle import log_key
from ascend._core.config.profile import load_profile
from ascend._core.plugins.asking import Plugins
from ascend.errors import KeyNotFoundError

__all__ = ["kept_log"]


def kept_log(profile_name: str | None, job_name: str) -> str | None:
    """Return what the task of the Job has written; `None` if nothing of it is kept, or no storage is set."""
    profile = load_profile(profile_name)
    if profile.storage is None:
        return None
    storage = Plugins.load(profile).storage(profile.storage, profile)
    try:
        return bytes(storage.get(log_key(profile.project, profile.user, job_name))).decode(errors="replace")
    except KeyNotFoundError:
        return None
