"""Finds plugins, imports them and checks them against the hooks, before any of them is registered."""

from __future__ import annotations

import os
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from inspect import isclass, ismodule
from typing import TYPE_CHECKING

from ascend.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.metadata import EntryPoint

    from pluggy import HookImpl, PluginManager

    from ascend.model import Profile

GROUP = "ascend"
DISABLE_VARIABLE = "ASCEND_DISABLE_PLUGINS"


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin as it was found. Without *plugin* it is disabled or failed, and *error* says so in one line."""

    name: str
    origin: str
    plugin: object | None = None
    distribution: str | None = None
    version: str | None = None
    hooks: tuple[str, ...] = ()
    error: str | None = None
    trace: str | None = None


def find(profile: Profile, extra: Sequence[object]) -> list[Found]:
    """Return the built-ins, then entry points, then the profile's plugins, then *extra*; disabled ones too.

    A plugin from an entry point that fails is among them. One that somebody asked for by name raises `PluginError`.
    """
    disabled = disabled_names()
    found = [_builtin(disabled)]
    found += [_disabled(each, disabled) or _opened(each) for each in _discovered()]
    found += [_named(spec, disabled) for spec in profile.plugins]
    found += _objects(extra, disabled)
    _refuse_duplicates(found)
    return found


def disabled_names() -> frozenset[str]:
    """Return the names of the plugins that the environment switches off."""
    return frozenset(name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",") if name.strip())


def forget() -> None:
    """Look for entry points anew when the next plugins are loaded: for a process that has installed some."""
    _discovered.cache_clear()
    _opened.cache_clear()


@cache
def _discovered() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - 14 ms, and only who makes an executor needs it

    # Reading the metadata of everything that is installed takes about 10 ms more.
    return tuple(entry_points(group=GROUP))


@cache
def _opened(entry: EntryPoint) -> Found:
    found = _from_entry(entry)
    try:
        plugin = entry.load()
        return replace(found, plugin=plugin, hooks=check(plugin, entry.name))
    except Exception as error:  # noqa: BLE001 - a plugin's import may raise anything, and must not stop the others
        summary = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        warnings.warn(
            f"the plugin {entry.name!r} of {_labelled(found)} does not load and is left out: {summary} "
            f"(repair or uninstall it, or switch it off with {DISABLE_VARIABLE}={entry.name})",
            RuntimeWarning,
            stacklevel=2,
        )
        return replace(found, error=summary, trace=traceback.format_exc())


def _from_entry(entry: EntryPoint) -> Found:
    distribution = entry.dist
    return Found(
        entry.name,
        origin=f"the entry point {entry.name} = {entry.value!r}",
        distribution=distribution.name if distribution else None,
        version=distribution.version if distribution else None,
    )


def _labelled(found: Found) -> str:
    return f"{found.distribution} {found.version}" if found.distribution else "an unnamed distribution"


def _disabled(entry: EntryPoint, disabled: frozenset[str]) -> Found | None:
    return _switched_off(_from_entry(entry)) if entry.name in disabled else None


def _switched_off(found: Found) -> Found:
    return replace(found, plugin=None, hooks=(), error=f"disabled by {DISABLE_VARIABLE}")


def _builtin(disabled: frozenset[str]) -> Found:
    from ascend import __version__  # noqa: PLC0415 - the package is complete only after it was imported

    found = Found("builtin", origin="ascend itself", distribution="ascend", version=__version__)
    if found.name in disabled:
        return _switched_off(found)
    plugin = import_module("ascend._builtin")
    return replace(found, plugin=plugin, hooks=check(plugin, found.name))


def _named(spec: str, disabled: frozenset[str]) -> Found:
    found = Found(spec, origin="the setting 'plugins'")
    if spec in disabled:
        return _switched_off(found)
    module, _, attribute = spec.partition(":")
    try:
        plugin: object = import_module(module)
        for part in attribute.split(".") if attribute else ():
            plugin = getattr(plugin, part)
    except Exception as error:
        msg = (
            f"the plugin {spec!r} of the setting 'plugins' does not load: {type(error).__name__}: {error} "
            f"(it is written as module or module:attribute)"
        )
        raise PluginError(msg) from error
    return replace(found, plugin=plugin, hooks=check(plugin, spec))


def _objects(extra: Sequence[object], disabled: frozenset[str]) -> Iterator[Found]:
    taken: Counter[str] = Counter()
    for plugin in extra:
        name = _name_of(plugin)
        taken[name] += 1
        if taken[name] > 1 and not ismodule(plugin):
            name = f"{name}-{taken[name]}"
        found = Found(name, origin="the argument 'plugins'")
        if name in disabled:
            yield _switched_off(found)
        else:
            yield replace(found, plugin=plugin, hooks=check(plugin, name))


def _name_of(plugin: object) -> str:
    if ismodule(plugin) or isclass(plugin):
        return plugin.__name__
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _refuse_duplicates(found: Sequence[Found]) -> None:
    names: dict[str, Found] = {}
    objects: dict[int, Found] = {}
    for each in found:
        if each.plugin is None:
            continue
        first = names.setdefault(each.name, each)
        if first is each:
            first = objects.setdefault(id(each.plugin), each)
        if first is not each:
            msg = (
                f"the plugin {each.name!r} is there twice, from {_source(first)} and from {_source(each)}; "
                f"leave one out, uninstall it, or switch it off with {DISABLE_VARIABLE}={each.name}"
            )
            raise PluginError(msg)


def _source(found: Found) -> str:
    return found.origin + (f" of {_labelled(found)}" if found.distribution else "")


def check(plugin: object, name: str) -> tuple[str, ...]:
    """Return the hooks that *plugin* answers; `PluginError` if one is misspelt or asks for unknown arguments.

    One that answers none gets a warning, since it was meant to do something.
    """
    if isclass(plugin):
        msg = f"the plugin {name!r} is a class; give an instance of {plugin.__qualname__} instead"
        raise PluginError(msg)
    from pluggy import PluginManager  # noqa: PLC0415 - what asks no plugin must not pay for it

    manager = PluginManager(GROUP)  # one without specifications accepts anything, so that the errors can be ours
    manager.register(plugin, name)
    specs = hook_arguments()
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        for implementation in caller.get_hookimpls():
            _refuse_misfit(name, caller.name, implementation, specs)
    if not callers:
        _warn_of_nothing(plugin, name, specs)
    return tuple(sorted({caller.name for caller in callers}))


def new_manager() -> PluginManager:
    """Return a plugin manager that knows our hooks and no plugin."""
    from pluggy import PluginManager  # noqa: PLC0415 - what asks no plugin must not pay for it

    from ascend import hookspecs  # noqa: PLC0415 - imports pluggy

    manager = PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


@cache
def hook_arguments() -> Mapping[str, tuple[str, ...]]:
    """Return the name of every hook with the names of its arguments."""
    specs = {name: caller.spec for name, caller in vars(new_manager().hook).items()}
    return {name: tuple(spec.argnames) for name, spec in specs.items()}


def _refuse_misfit(name: str, hook: str, implementation: HookImpl, specs: Mapping[str, Sequence[str]]) -> None:
    if hook not in specs:
        msg = f"the plugin {name!r} implements {hook!r}, which is no hook; {_nearest(hook, specs)}"
        raise PluginError(msg)
    if implementation.wrapper or implementation.hookwrapper:
        msg = f"the plugin {name!r} implements {hook!r} as a wrapper; hooks of ascend are plain functions"
        raise PluginError(msg)
    wrong = [argument for argument in implementation.argnames if argument not in specs[hook]]
    if wrong:
        msg = (
            f"the plugin {name!r} takes {', '.join(map(repr, wrong))} in {hook!r}, "
            f"which has only the arguments {', '.join(specs[hook])}"
        )
        raise PluginError(msg)


def _nearest(word: str, words: Mapping[str, object]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    near = get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(sorted(words))}"


def _warn_of_nothing(plugin: object, name: str, specs: Mapping[str, object]) -> None:
    unmarked = [attribute for attribute in dir(plugin) if attribute in specs]
    remedy = f": mark {', '.join(unmarked)} with @ascend.hookimpl" if unmarked else ""
    warnings.warn(f"the plugin {name!r} answers no hook{remedy}", RuntimeWarning, stacklevel=3)
