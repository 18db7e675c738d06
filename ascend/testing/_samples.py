"""Samples of what the engine hands to plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ascend._core.manifest import Delivery, default_image, job_manifest
from ascend.model import Needs, PlacedFile, Task

if TYPE_CHECKING:
    from ascend.model import Manifest


def sample_task(name: str = "sample", **needs: object) -> Task:
    """Return a task whose Job is called *name*; *needs* are those of `ascend.model.Needs`."""
    return Task(
        id=f"{name}-task",
        run_id="sample-run",
        job_name=name,
        function="sample_module:sample_function",
        user="sample-user",
        project="sample-project",
        needs=Needs(**needs),  # type: ignore[arg-type] # the names are checked there
    )


_SAMPLE_RUNNER = PlacedFile("/ascend/runner.zip")


def sample_job(task: Task, *, code: str = "pass", runner: PlacedFile = _SAMPLE_RUNNER, image: str = "") -> Manifest:
    """Return the Job that the engine makes of *task*; its container runs the Python *code* in place of a call.

    The code finds *runner* as ``sys.argv[1]``.
    """
    manifest = job_manifest(task, image=image or default_image(), delivery=Delivery(runner, {}))
    manifest["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "-c", code, runner.path]
    return manifest
