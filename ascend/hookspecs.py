"""Every hook, on one page.

*Choosing* hooks are asked in turn until one answers; decline with `None`, and decline before you import.
*Joining* hooks are called on every plugin. A plugin may leave out arguments that it does not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from ascend.interfaces import Cluster, ImageBuilder, Serializer, Storage
    from ascend.model import Manifest, NodeType, Profile, Task, TaskEvent

__all__ = [
    "ascend_cluster",
    "ascend_image_builder",
    "ascend_modify_job",
    "ascend_node_type",
    "ascend_register_commands",
    "ascend_serializer",
    "ascend_storage",
    "ascend_task_event",
    "hookimpl",
]

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker("ascend")
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker("ascend")
"""Marks a function of a plugin as the implementation of the hook of the same name."""


# Choosing: who serves this?


@hookspec(firstresult=True)
def ascend_cluster(name: str, profile: Profile) -> Cluster | None:
    """Return the cluster called *name*. Asked once for every executor."""


@hookspec(firstresult=True)
def ascend_storage(url: str, profile: Profile) -> Storage | None:
    """Return the storage at *url*, told by its scheme. Asked once for every executor."""


@hookspec(firstresult=True)
def ascend_image_builder(name: str, profile: Profile, storage: Storage | None) -> ImageBuilder | None:
    """Return the image builder called *name*, which may use *storage*. Asked once for every executor and name."""


@hookspec(firstresult=True)
def ascend_serializer(name: str) -> Serializer | None:
    """Return the serializer called *name*. Asked once for every executor."""


@hookspec(firstresult=True)
def ascend_node_type(name: str, profile: Profile) -> NodeType | None:
    """Return what the node type *name* means on this cloud. Asked for every distinct name."""


# Joining: who has something to add?


@hookspec
def ascend_modify_job(manifest: Manifest, task: Task, profile: Profile) -> None:
    """Change the Job's *manifest* in place before it is created.

    Leave the Jobs of profiles that are not yours alone: an exception here fails the task.
    """


@hookspec
def ascend_task_event(event: TaskEvent) -> None:
    """Take note of what happens to a task. What this raises is logged and changes nothing."""


@hookspec
def ascend_register_commands(cli: click.Group) -> None:
    """Add commands to the ``ascend`` command line."""
