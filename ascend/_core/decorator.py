"""`@ascend`: a function whose call runs on the cluster and blocks until it has answered."""

from __future__ import annotations

import functools
import os
import sys
import threading
from importlib import import_module
from types import CoroutineType, MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
    from typing import Never, Self

    from ascend._core.executor import AscendExecutor
    from ascend._core.future import AscendFuture
    from ascend.model import Needs, Secret, Volume

__all__ = ["AscendFunction", "ascend"]

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")

# As `ascend.model.JOINED`, which a task does not load.
_JOINED = frozenset({"env", "labels", "secrets", "volumes"})


class AscendFunction(Generic[P, R]):
    """A function that runs on the cluster when it is called; inside a task it simply runs.

    The function as it was written is ``__wrapped__``.
    """

    __wrapped__: Callable[P, Any]
    _options: dict[str, Any]
    __qualname__: str
    __module__: str

    def __init__(self, function: Callable[P, Any], options: Mapping[str, Any]) -> None:
        if isinstance(function, AscendFunction):
            inner: AscendFunction[P, Any] = function
            function, options = inner.__wrapped__, _joined(inner._options, options)
        functools.update_wrapper(self, function)
        self._options = _joined({}, options)
        # A function that wraps another decorated one has its needs among its attributes.
        self.__dict__.pop("__ascend_needs__", None)
        # Without validation in a task: what checks it may not be installed there.
        if not _in_task():
            self.__ascend_needs__  # noqa: B018 - an option that is wrong is told where it was written

    @functools.cached_property
    def __ascend_needs__(self) -> Needs:
        from ascend._core.config.profile import check_needs  # noqa: PLC0415 - not in a task

        return check_needs(self._options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run on the cluster and return or raise what the function did.

        Ctrl-C stops the task and returns at once.
        """
        if _in_task():
            return self.local(*args, **kwargs)
        future = self.submit(*args, **kwargs)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.kill()
            raise
        finally:
            # Break the cycle with the exception's traceback.
            del future

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> AscendFuture[R]:
        """Return a future instead of waiting."""
        return shared_executor().submit(self, *args, **kwargs)

    def map(
        self,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[R]:
        """Return an iterator over the results for the items of *iterables*, as `AscendExecutor.map`."""
        executor = shared_executor()
        return executor.map(self, *iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize)

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run here, in this process, as if undecorated; a coroutine function is run to its end."""
        value: Any = self.__wrapped__(*args, **kwargs)
        if isinstance(value, CoroutineType):
            from ascend._core.coroutines import run_to_end  # noqa: PLC0415 - only coroutine functions need it

            value = run_to_end(value)
        result: R = value
        return result

    def with_options(self, **options: Any) -> AscendFunction[P, R]:
        """Return the same function with other needs; they go before the decorator's.

        ``env``, ``secrets``, ``volumes`` and ``labels`` are joined key by key.
        """
        return AscendFunction(self, options)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(
        self: AscendFunction[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> AscendFunction[Q, T]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind to *instance*, as functions do: it travels as the first argument."""
        if instance is None:
            return self
        return AscendFunction(MethodType(self.__wrapped__, instance), self._options)

    def __repr__(self) -> str:
        """Return ``<ascend function module.name>``."""
        return f"<ascend function {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference where the name leads back here, by value otherwise.

        The plain function cannot travel by reference: its name leads to this wrapper.
        """
        if isinstance(self.__wrapped__, MethodType):
            function: AscendFunction[Any, Any] = AscendFunction(self.__wrapped__.__func__, self._options)
            return _bind, (function, self.__wrapped__.__self__)
        named = self._named()
        if named is None:
            return AscendFunction, (self.__wrapped__, self._options)
        if named._options == self._options:  # noqa: SLF001 - our own class
            return _look_up, (self.__module__, self.__qualname__)
        # Always joined from the named one, so that the plain function never has to be found by its name.
        return _look_up_with, (self.__module__, self.__qualname__, self._options)

    def _named(self) -> AscendFunction[Any, Any] | None:
        """Return the decorated function that the name leads to, if that is this one but for its options."""
        module = sys.modules.get(self.__module__)
        # A module without a spec was made by hand, and is nowhere else.
        if module is None or self.__module__ == "__main__" or module.__spec__ is None:
            return None
        try:
            named = _look_up(self.__module__, self.__qualname__)
        except AttributeError:
            return None
        return named if named.__wrapped__ is self.__wrapped__ else None


class _Decorator:
    """What ``@ascend(...)`` returns: it takes the function."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AscendFunction[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> AscendFunction[P, R]: ...

    def __call__(self, function: Any, /) -> Any:
        if isinstance(function, staticmethod):
            return staticmethod(AscendFunction(function.__func__, self._options))
        if isinstance(function, classmethod):
            return _ClassMethod(AscendFunction(function.__func__, self._options))
        if isinstance(function, type) or not callable(function):
            msg = f"@ascend decorates functions and methods, not {function!r}"
            raise TypeError(msg)
        return AscendFunction(function, self._options)


class _ClassMethod(classmethod):  # type: ignore[type-arg] # what it binds is an AscendFunction, not a plain callable
    """A class method whose `submit` and `map` are bound to the class too."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.__func__,)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.__func__.__get__(type(instance) if owner is None else owner)


@overload
def ascend(function: Callable[P, Coroutine[Any, Any, R]], /) -> AscendFunction[P, R]: ...


@overload
def ascend(function: Callable[P, R], /) -> AscendFunction[P, R]: ...


@overload
def ascend(
    *,
    cpu: str | float | None = None,
    memory: str | None = None,
    gpus: int | None = None,
    node_type: str | None = None,
    timeout: float | None = None,
    queue_timeout: float | None = None,
    requirements: str | Sequence[str] | None = None,
    apt: Sequence[str] | None = None,
    dockerfile: str | None = None,
    base_image: str | None = None,
    platform: str | None = None,
    image_builder: str | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] | None = None,
    volumes: Mapping[str, Volume] | None = None,
    service_account: str | None = None,
    priority: str | None = None,
    labels: Mapping[str, str] | None = None,
    queue: str | None = None,
    job_patch: Mapping[str, Any] | None = None,
    retries: int | None = None,
    stream_logs: bool | None = None,
    project: str | bool | None = None,
    **unknown: Never,
) -> _Decorator: ...


def ascend(function: Any = None, /, **options: Any) -> Any:
    """Make a function whose call runs on the cluster and blocks until it has answered.

    Use it bare or with the needs of the function: they go before those of the executor. All decorated functions of a
    process share one executor, made from the configuration when the first of them is called. Put it above
    ``@staticmethod`` and ``@classmethod``. `TypeError` for an unknown option, with the nearest name.
    """
    decorator = _Decorator(options)
    return decorator if function is None else decorator(function)


_guard = threading.Lock()
_shared: AscendExecutor | None = None


def shared_executor() -> AscendExecutor:
    """Return the executor of all decorated functions of this process."""
    global _shared  # noqa: PLW0603 - one executor for a process is the point
    from ascend._core.executor import AscendExecutor  # noqa: PLC0415 - not in a task

    with _guard:
        if _shared is None:
            _shared = AscendExecutor()
        return _shared


def _forget_in_child() -> None:
    global _guard, _shared  # noqa: PLW0603 - a forked child makes its own
    _guard = threading.Lock()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _in_task() -> bool:
    return "ASCEND_TASK_ID" in os.environ


def _look_up(module: str, qualname: str) -> AscendFunction[Any, Any]:
    """Return the decorated function of that name, not bound to anything."""
    found: Any = functools.reduce(getattr, qualname.split("."), import_module(module))
    if isinstance(found, MethodType):
        found = found.__func__
    if not isinstance(found, AscendFunction):
        msg = f"{module}.{qualname} is not a decorated function"
        raise AttributeError(msg)  # noqa: TRY004 - as if the name were not there
    plain = found.__wrapped__
    return AscendFunction(plain.__func__, found._options) if isinstance(plain, MethodType) else found  # noqa: SLF001


def _look_up_with(module: str, qualname: str, options: Mapping[str, Any]) -> AscendFunction[Any, Any]:
    return AscendFunction(_look_up(module, qualname), options)


def _joined(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of two layers as one; what is `None` says nothing."""
    joined = dict(below)
    for name, value in above.items():
        if name in _JOINED and value is not None:
            joined[name] = {**joined.get(name, {}), **value}
        # The project is found by itself: True and False are what older code says.
        elif value is not None and not (name == "project" and isinstance(value, bool)):
            joined[name] = value
    return joined


def _bind(function: AscendFunction[Any, Any], instance: object) -> AscendFunction[Any, Any]:
    bound: AscendFunction[Any, Any] = function.__get__(instance)
    return bound
