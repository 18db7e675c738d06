"""Asks the plugins: the only caller of hooks, with one typed method for each."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from dataclasses import dataclass
from inspect import getattr_static
from typing import TYPE_CHECKING, cast

from ascend._core.plugins.finding import DISABLE_VARIABLE, Found, find, hook_arguments, new_manager
from ascend.errors import NoPluginError, PluginError
from ascend.interfaces import Cluster, ImageBuilder, Serializer, Storage
from ascend.model import NodeType, Profile, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click
    from pluggy import HookCaller, PluginManager

    from ascend.model import Manifest, TaskEvent

TRACE_VARIABLE = "ASCEND_TRACE_PLUGINS"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"

_log = logging.getLogger("ascend.plugins")

# What the built-in plugin serves: hints for messages, decisions are the plugins' own.
_KNOWN = {
    "cluster": "'kubernetes' and 'local' are built in, others come with a plugin (set cluster=... or ASCEND_CLUSTER)",
    "storage": "a storage is a URL such as file:///srv/ascend or s3://bucket/prefix",
    "image builder": "'virtualenv' and 'prebuilt' are built in, others come with a plugin",
    "serializer": "'cloudpickle' is built in, others come with a plugin",
}


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What there is to know about one plugin. *error* is `None` if it is in use; else one line that says why not.

    *distribution* and *version* are `None` for a plugin that was named by the user and not found by its entry point.
    *traceback* is the formatted traceback of a plugin that failed.
    """

    name: str
    distribution: str | None
    version: str | None
    hooks: tuple[str, ...]
    error: str | None = None
    traceback: str | None = None


class Plugins:
    """The plugins of one profile, the most specific asked first."""

    def __init__(self, found: Sequence[Found]) -> None:
        """Register what was *found*, in this order: the last is asked first."""
        self._found = tuple(found)
        manager = new_manager()
        for each in found:
            if each.plugin is not None:
                manager.register(each.plugin, each.name)
        if os.environ.get(TRACE_VARIABLE, "") not in {"", "0"}:
            manager.add_hookcall_monitoring(_print_nothing, _print_call)
        self._askers = {hook: _askers(manager, hook) for hook in hook_arguments()}

    @classmethod
    def load(cls, profile: Profile, extra: Sequence[object] = ()) -> Plugins:
        """Return the built-in plugin, those installed, the profile's and *extra*.

        An installed one that is broken is left out with a warning; one that was asked for by name is a `PluginError`.
        """
        return cls(find(profile, extra))

    def cluster(self, name: str, profile: Profile) -> Cluster:
        """Return the cluster called *name*."""
        return cast("Cluster", self._choose("cluster", name, Cluster, name=name, profile=profile))

    def storage(self, url: str, profile: Profile) -> Storage:
        """Return the storage at *url*."""
        return cast("Storage", self._choose("storage", _without_secrets(url), Storage, url=url, profile=profile))

    def image_builder(self, name: str, profile: Profile, storage: Storage | None = None) -> ImageBuilder:
        """Return the image builder called *name*, which may use *storage*."""
        asked = {"name": name, "profile": profile, "storage": storage}
        return cast("ImageBuilder", self._choose("image builder", name, ImageBuilder, **asked))

    def serializer(self, name: str) -> Serializer:
        """Return the serializer called *name*."""
        return cast("Serializer", self._choose("serializer", name, Serializer, name=name))

    def node_type(self, name: str, profile: Profile) -> NodeType:
        """Return what *name* means; if no plugin knows it, it is taken for the cloud's own instance type."""
        plugin, answer = self._first("ascend_node_type", {"name": name, "profile": profile})
        if answer is None:
            return NodeType(labels={INSTANCE_TYPE: name})
        if not isinstance(answer, NodeType):
            msg = f"the plugin {plugin!r} answers 'ascend_node_type' with {_kind(answer)}, not a NodeType"
            raise PluginError(msg)
        return answer

    def modify_job(self, manifest: Manifest, task: Task, profile: Profile) -> None:
        """Let every plugin change *manifest* in place; what one raises is raised, with its name as a note."""
        self._call_all("ascend_modify_job", {"manifest": manifest, "task": task, "profile": profile})

    def task_event(self, event: TaskEvent) -> None:
        """Tell every observer; what one raises is logged and dropped."""
        for plugin, ask in self._askers["ascend_task_event"]:
            try:
                ask(event=event)
            except BaseException:  # noqa: BLE001 - an observer must not change what it observes
                _log.warning("the plugin %r raised in ascend_task_event", plugin, exc_info=True)

    def register_commands(self, cli: click.Group) -> None:
        """Let every plugin add its commands; one that raises is left out with a warning."""
        for plugin, ask in self._askers["ascend_register_commands"]:
            try:
                ask(cli=cli)
            except Exception as error:  # noqa: BLE001 - one broken plugin must not take the command line from the others
                warnings.warn(
                    f"the commands of the plugin {plugin!r} are left out: {type(error).__name__}: {error} "
                    f"(switch it off with {DISABLE_VARIABLE}={plugin})",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def describe(self) -> list[PluginInfo]:
        """Return every plugin in the order of registration, those that failed or are disabled too."""
        return [
            PluginInfo(each.name, each.distribution, each.version, each.hooks, each.error, each.trace)
            for each in self._found
        ]

    def _choose(self, kind: str, wanted: str, protocol: type, **arguments: object) -> object:
        hook = f"ascend_{kind.replace(' ', '_')}"
        plugin, answer = self._first(hook, arguments)
        if answer is None:
            raise NoPluginError(self._nobody(kind, wanted, hook))
        missing = _missing_members(answer, protocol)
        if missing:
            msg = (
                f"the plugin {plugin!r} answers {hook!r} for {wanted!r} with {_kind(answer)}, "
                f"which lacks {', '.join(missing)} of {protocol.__module__}.{protocol.__name__}"
            )
            raise PluginError(msg)
        return answer

    def _first(self, hook: str, arguments: Mapping[str, object]) -> tuple[str, object]:
        for plugin, ask in self._askers[hook]:
            answer = _noting(plugin, hook, ask, arguments)
            if answer is not None:
                return plugin, answer
        return "", None

    def _call_all(self, hook: str, arguments: Mapping[str, object]) -> None:
        for plugin, ask in self._askers[hook]:
            _noting(plugin, hook, ask, arguments)

    def _nobody(self, kind: str, wanted: str, hook: str) -> str:
        asked = ", ".join(plugin for plugin, _ in self._askers[hook]) or "none"
        broken = "".join(
            f"; the plugin {each.name!r} is not in use: {each.error}" for each in self._found if each.error
        )
        return f"no plugin serves the {kind} {wanted!r} (asked: {asked}); {_KNOWN[kind]}{broken}"


def _askers(manager: PluginManager, hook: str) -> list[tuple[str, HookCaller]]:
    # One caller for each plugin: then an answer or an exception has a name, and an observer cannot stop the next.
    # Pluggy lists implementations in the order opposite to that of its calls.
    caller: HookCaller = getattr(manager.hook, hook)
    plugins = {implementation.plugin_name: implementation.plugin for implementation in caller.get_hookimpls()}
    callers = []
    for name, plugin in reversed(plugins.items()):
        others = [other for other in plugins.values() if other is not plugin]
        callers.append((name, manager.subset_hook_caller(hook, others)))
    return callers


def _noting(plugin: str, hook: str, ask: Callable[..., object], arguments: Mapping[str, object]) -> object:
    try:
        return ask(**arguments)
    except Exception as error:
        error.add_note(f"raised by the plugin {plugin!r} in {hook}")
        raise


def _missing_members(answer: object, protocol: type) -> list[str]:
    # Not isinstance: before Python 3.12 that evaluates properties, and it cannot say what is missing.
    return [name for name in vars(protocol) if not name.startswith("_") and _lacks(answer, name)]


def _lacks(answer: object, name: str) -> bool:
    try:
        getattr_static(answer, name)
    except AttributeError:
        return True
    return False


def _kind(answer: object) -> str:
    return f"an object of {type(answer).__module__}.{type(answer).__qualname__}"


def _without_secrets(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.partition('?')[0].rpartition('@')[2]}" if mark else url


def _print_nothing(_hook: str, _implementations: object, _arguments: object) -> None:
    """Stand before a hook call, where the trace has nothing to say yet."""


def _print_call(outcome: object, hook: str, implementations: Sequence[object], arguments: Mapping[str, object]) -> None:
    names = ", ".join(dict.fromkeys(str(getattr(each, "plugin_name", "?")) for each in implementations))
    said = ", ".join(f"{name}={_brief(value)}" for name, value in arguments.items())
    error = getattr(outcome, "exception", None)
    answer = f"raised {error!r}" if error is not None else f"-> {_brief(outcome.get_result())}"  # type: ignore[attr-defined]
    print(f"ascend: plugin {names}: {hook}({said}) {answer}", file=sys.stderr)  # noqa: T201 - asked for


def _brief(value: object) -> str:
    # Profiles and manifests hold variables of the user that nobody wants in a trace.
    if isinstance(value, Profile):
        return f"<profile {value.name}>"
    if isinstance(value, Task):
        return f"<task {value.id}>"
    if isinstance(value, str):
        return repr(_without_secrets(value))
    return "None" if value is None else f"<{type(value).__qualname__}>"
