"""The rules for implementations of hooks."""

from __future__ import annotations

from copy import deepcopy

import pluggy

from ascend import hookspecs
from ascend.model import Profile
from ascend.testing._samples import sample_job, sample_task


def check_modify_job_leaves_others_alone(plugin: object) -> None:
    """Fail if the `ascend_modify_job` of *plugin* changes the Job of a profile that does not name it.

    *plugin* is what its entry point loads: a module, or an object with hooks.
    """
    manager = pluggy.PluginManager("ascend")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    assert manager.hook.ascend_modify_job.get_hookimpls(), f"{plugin} does not implement ascend_modify_job"
    task = sample_task(cpu="1", memory="1Gi")
    manifest = sample_job(task)
    for profile in (Profile(), Profile(plugin_config={"another-cloud": {"service_account": "another"}})):
        before = deepcopy(manifest)
        manager.hook.ascend_modify_job(manifest=manifest, task=task, profile=profile)
        assert manifest == before, f"{plugin} changed the Job of a profile that does not name it"
