"""Finds the smallest part of a call that cannot be pickled, and says where in the call it is."""

from __future__ import annotations

import dis
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import islice
from time import monotonic
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["find_culprit", "global_names"]

_PROBES = 500
_SECONDS = 2.0
_DEPTH = 40
_WIDTH = 100_000
_PROTOCOL = 5


class _Part(NamedTuple):
    path: str
    value: Any


class _ExhaustedError(Exception):
    """The search took as long as it may."""


def find_culprit(
    fn: Callable[..., object], args: tuple[Any, ...], kwargs: Mapping[str, Any], dumps: Callable[[object], object]
) -> str | None:
    """Return the path of the smallest part of the call that *dumps* refuses, as in ``args[1].lock (a _thread.lock)``.

    `None` if each part can be pickled by itself. Ends within two seconds or 500 trials, with the best that is
    known then; never raises.
    """
    search = _Search(dumps)
    parts = [_Part(_name_of(fn), fn)]
    parts += [_Part(f"args[{index}]", value) for index, value in enumerate(args)]
    parts += [_Part(f"kwargs[{name!r}]", value) for name, value in kwargs.items()]
    try:
        for part in search.failing(parts):
            found = search.smallest(part, 0) or part
            return _labelled(found)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - users' __reduce__, __getattr__ and __iter__ raise anything
        return _labelled(search.deepest) if search.deepest is not None else None
    return None


class _Search:
    """Keeps what the search has seen and how much it may still try."""

    def __init__(self, dumps: Callable[[object], object]) -> None:
        self.deepest: _Part | None = None
        self._dumps = dumps
        self._left = _PROBES
        self._end = monotonic() + _SECONDS
        # By identity, with the objects, so that no identity is used again.
        self._seen: dict[int, object] = {}

    def smallest(self, part: _Part, depth: int) -> _Part | None:
        """Return the smallest failing part within *part*, which fails; `None` if only parts seen before do."""
        self.deepest = part
        self._seen[id(part.value)] = part.value
        if depth == _DEPTH:
            return part
        children = _children_or_none(part)
        fresh = [child for child in children if id(child.value) not in self._seen]
        # What was seen before has failed before.
        blocked = len(fresh) < len(children)
        for child in self.failing(fresh):
            found = self.smallest(child, depth + 1)
            if found is not None:
                return found
            blocked = True
        return None if blocked else part

    def failing(self, parts: list[_Part]) -> Iterator[_Part]:
        """Yield the parts that cannot be pickled; halves what is many, so that it takes few trials."""
        if not parts or (len(parts) > 1 and self._can_pickle([part.value for part in parts])):
            return
        if len(parts) == 1:
            if id(parts[0].value) not in self._seen and not self._can_pickle(parts[0].value):
                yield parts[0]
            return
        middle = len(parts) // 2
        yield from self.failing(parts[:middle])
        yield from self.failing(parts[middle:])

    def _can_pickle(self, value: object) -> bool:
        self._left -= 1
        if self._left < 0 or monotonic() > self._end:
            raise _ExhaustedError
        try:
            self._dumps(value)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a user's __reduce__ raises anything, and then it cannot be pickled
            return False
        return True


def _children_or_none(part: _Part) -> list[_Part]:
    try:
        return list(islice(_children(part.path, part.value), _WIDTH))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - what cannot be taken apart is itself the smallest part
        return []


def _children(path: str, value: Any) -> Iterator[_Part]:
    """Yield what would be pickled as part of *value*."""
    for kind, take_apart in _KINDS:
        if isinstance(value, kind):
            yield from take_apart(path, value)
            return
    yield from _of_object(path, value)


_MADE_ANEW = frozenset({"__dict__", "__weakref__", "__module__", "__doc__"})


def _of_function(path: str, fn: FunctionType) -> Iterator[_Part]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
        yield from (_Part(f"{path}: closure variable {name!r}", each) for each in _content(cell))
    for name in global_names(fn.__code__):
        if name in fn.__globals__:
            yield _Part(f"{path}: global {name!r}", fn.__globals__[name])
    for name, value in _defaults(fn).items():
        yield _Part(f"{path}: default of {name!r}", value)
    for name, value in vars(fn).items():
        yield _Part(f"{path}.{name}", value)
    for name, value in fn.__annotations__.items():
        yield _Part(f"{path}: annotation of {name!r}", value)


def _content(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:
        # Not assigned yet.
        return []


def _defaults(fn: FunctionType) -> dict[str, Any]:
    names = fn.__code__.co_varnames[: fn.__code__.co_argcount]
    defaults = fn.__defaults__ or ()
    return {**dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)), **(fn.__kwdefaults__ or {})}


def _of_method(path: str, method: MethodType) -> Iterator[_Part]:
    yield _Part(f"{path}.__self__", method.__self__)
    yield _Part(f"{path}.__func__", method.__func__)


def _of_partial(path: str, value: partial[Any]) -> Iterator[_Part]:
    yield _Part(f"{path}.func", value.func)
    yield from _indexed(f"{path}.args", value.args)
    yield from _keyed(f"{path}.keywords", value.keywords)


def _of_class(path: str, cls: type) -> Iterator[_Part]:
    yield from (_Part(f"{path}.{name}", each) for name, each in vars(cls).items() if name not in _MADE_ANEW)


def _of_property(path: str, value: property) -> Iterator[_Part]:
    yield from (_Part(f"{path}.{name}", getattr(value, name)) for name in ("fget", "fset", "fdel"))


def _of_mapping(path: str, value: Mapping[Any, Any]) -> Iterator[_Part]:
    yield from _keyed(path, value)
    yield from _of_instance(path, value)


def _of_sequence(path: str, value: Iterable[Any]) -> Iterator[_Part]:
    yield from _indexed(path, value)
    yield from _of_instance(path, value)


def _of_set(path: str, value: Iterable[Any]) -> Iterator[_Part]:
    yield from (_Part(f"an item of {path}", item) for item in value)
    yield from _of_instance(path, value)


def global_names(code: CodeType) -> list[str]:
    """Return the global names that *code* and the functions within it use, in their order."""
    names: dict[str, None] = {}
    for step in dis.get_instructions(code):
        if step.opname in {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"} and step.argval is not None:
            names[str(step.argval)] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.update(dict.fromkeys(global_names(constant)))
    return list(names)


def _indexed(path: str, values: Iterable[Any]) -> Iterator[_Part]:
    for index, value in enumerate(values):
        yield _Part(f"{path}[{index}]", value)


def _keyed(path: str, values: Mapping[Any, Any]) -> Iterator[_Part]:
    for key, value in values.items():
        label = _short(key)
        if not isinstance(key, (str, int, float, bytes, bool, type(None))):
            yield _Part(f"the key {label} of {path}", key)
        yield _Part(f"{path}[{label}]", value)


def _of_instance(path: str, value: Any) -> Iterator[_Part]:
    """Yield what an instance of a subclass of a container has besides its items."""
    for name, each in getattr(value, "__dict__", {}).items():
        yield _Part(f"{path}.{name}", each)


def _of_object(path: str, value: Any) -> Iterator[_Part]:
    reduced = value.__reduce_ex__(_PROTOCOL)
    if not isinstance(reduced, tuple):
        return
    rest: list[Any] = [*reduced[1:5], None, None, None, None]
    args, state, items, pairs = rest[:4]
    if state is not None:
        yield from _of_state(path, value, state)
    yield from _indexed(path, items or ())
    yield from _keyed(path, dict(pairs or ()))
    for each in args or ():
        # The class of the object, which objects of its kind share.
        if each is not type(value):
            yield _Part(_name_of_argument(path, value, each), each)


def _of_state(path: str, value: Any, state: Any) -> Iterator[_Part]:
    if isinstance(state, list) and is_dataclass(value) and len(state) == len(fields(value)):
        # As frozen dataclasses with slots give it.
        state = {field.name: each for field, each in zip(fields(value), state, strict=True)}
    halves: tuple[Any, ...] = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # noqa: PLR2004 - __dict__ and slots
    if all(half is None or isinstance(half, dict) for half in halves):
        for half in halves:
            yield from (_Part(f"{path}.{name}", each) for name, each in (half or {}).items())
    else:
        yield _Part(f"{path}.__getstate__()", state)


_KINDS: tuple[tuple[Any, Callable[[str, Any], Iterator[_Part]]], ...] = (
    (FunctionType, _of_function),
    (MethodType, _of_method),
    (partial, _of_partial),
    ((dict, MappingProxyType), _of_mapping),
    ((list, tuple), _of_sequence),
    ((set, frozenset), _of_set),
    ((classmethod, staticmethod), lambda path, value: iter([_Part(path, value.__func__)])),
    (property, _of_property),
    (CellType, lambda path, value: (_Part(path, each) for each in _content(value))),
    (type, _of_class),
)


def _name_of_argument(path: str, value: Any, argument: Any) -> str:
    for name, each in getattr(value, "__dict__", {}).items():
        if each is argument:
            return f"{path}.{name}"
    return path


def _short(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - half a line


def _name_of(fn: object) -> str:
    if isinstance(fn, partial):
        return f"partial({_name_of(fn.func)})"
    return str(getattr(fn, "__qualname__", None) or type(fn).__qualname__)


def _labelled(part: _Part) -> str:
    kind = type(part.value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{part.path} ({article} {name})"
