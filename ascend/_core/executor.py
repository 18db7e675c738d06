"""`AscendExecutor`: what users hold; a thin view on a run, with the needs of the tasks that it submits."""

from __future__ import annotations

import os
import weakref
from collections import deque
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ascend._core.bundle import Call, pickle_call
from ascend._core.config.profile import check_needs, load_profile
from ascend._core.mapping import batched, call_each, check_map, flatten, results_of
from ascend._core.plugins.asking import Plugins
from ascend._core.progress.display import make_display
from ascend._core.run import Run
from ascend.errors import PluginError
from ascend.model import Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
    from typing import Never, Self

    from ascend._core.future import AscendFuture
    from ascend._core.preflight.report import CallReport
    from ascend.model import Profile, Secret, Volume

__all__ = ["AscendExecutor"]

P = ParamSpec("P")
R = TypeVar("R")


class AscendExecutor(Executor):
    """A `concurrent.futures.Executor` whose every call runs as a Kubernetes Job, or as a process of its own here.

    What is not said here comes from the environment (``ASCEND_*``), the project's and the user's configuration.
    *cluster* is ``"kubernetes"``, ``"local"`` or a plugin's. *max_parallel* bounds how many tasks run at once;
    `None` leaves it to the cluster. *timeout* is how many seconds a function may run, *queue_timeout* how long
    its Job may wait until its pod runs: one hour unless somebody says it; ``local`` does not queue. *requirements* are
    PEP 508 strings, files that hold such, or ``"auto"``: what is installed where the call runs. *retries* are further
    attempts after the process died, not after an exception.
    *progress*: `None` shows it on a terminal only.
    *plugins* are objects that implement hooks, asked before all others. *initializer* runs in every task's process
    before the call; where it fails, the executor takes no more calls.

    `ConfigError` if a setting is malformed, `NoPluginError` if nothing installed serves one.
    """

    def __init__(
        self,
        profile: str | None = None,
        *,
        cluster: str | None = None,
        storage: str | None = None,
        project: str | None = None,
        user: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
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
        index_urls: Sequence[str] | None = None,
        index_secret: str | None = None,
        certificates: str | None = None,
        package_cache: str | None = None,
        max_parallel: int | None = None,
        progress: bool | None = None,
        stream_logs: bool | None = None,
        plugins: Sequence[object] = (),
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **unknown: Never,
    ) -> None:
        given = {
            name: value
            for name, value in locals().items()
            if name not in {"self", "profile", "plugins", "initializer", "initargs", "unknown", "__class__"}
        }
        arguments = {name: value for name, value in given.items() if value is not None} | unknown
        settings = load_profile(profile, arguments=arguments)
        start = None if initializer is None else (_checked(initializer), initargs)
        self._run = Run(settings, _load(settings, plugins), make_display(settings.progress))
        self._needs = settings.needs
        self._overrides = Needs()
        self._initializer = start
        # Views share it: the run goes on until the last of them is gone, and then ends when its work is done.
        self._keeper = _Keeper()
        weakref.finalize(self._keeper, self._run.shutdown, wait=False).atexit = False

    @property
    def run_id(self) -> str:
        """The run that all tasks of this executor and its views belong to."""
        return self._run.id

    @property
    def profile(self) -> Profile:
        """What the settings came to."""
        return self._run.profile

    @property
    def _broken(self) -> bool:
        # The standard executors have it, and code that mends broken ones asks for it.
        return self._run.broken is not None

    @overload
    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AscendFuture[R]: ...

    @overload
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AscendFuture[R]: ...

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AscendFuture[Any]:
        """Have *fn* called with the arguments, and return its future.

        Never blocks on the network. Whatever stops the call on its way is set on the future, an argument that
        cannot be pickled included.
        """
        return self._submit(fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[R]:
        """Return an iterator over ``fn(a, b, …)`` for the items of *iterables*, in their order.

        *timeout* counts from this call and raises `TimeoutError` in the iterator. *chunksize* items make one task.
        *buffersize* is how many tasks may be submitted before their results were taken, on every Python as in 3.14;
        `None` submits all at once. What is left is cancelled when the iterator is closed or raises.
        """
        check_map(chunksize, buffersize)
        deadline = None if timeout is None else monotonic() + timeout
        calls = zip(*iterables, strict=False)
        name = _name_of(fn)
        if chunksize > 1:
            batches = batched(calls, chunksize)
            return flatten(self._results(partial(call_each, fn), batches, name, deadline, buffersize))
        return self._results(fn, calls, name, deadline, buffersize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, as `concurrent.futures.Executor.shutdown`.

        A done-callback that calls this does not wait: it would wait for itself.
        """
        self._run.shutdown(wait=wait, cancel_futures=cancel_futures)

    def with_options(self, **options: Any) -> Self:
        """Return a view on this executor whose tasks have other needs; it shares the run, and its shutdown.

        They go before those of a decorated function. Unknown names raise `TypeError` and tell the nearest one.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._overrides = check_needs(options).over(self._overrides)
        return view

    def explain(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> CallReport:
        """Return what would travel for this call and what is missing, proved by unpickling it in a clean process."""
        from ascend._core.preflight.report import explain_call  # noqa: PLC0415 - only who asks needs it

        dispatcher = self._run.dispatcher

        def dumps(fn: Any, args: Any, kwargs: Any) -> tuple[bytes, list[memoryview]]:
            return pickle_call(Call(fn, args, kwargs, self._initializer), dispatcher.serializer)

        return explain_call(fn, args, kwargs, needs=self._needs_of(fn), source=dispatcher.source.current(), dumps=dumps)

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        """Wait for all tasks; after Ctrl-C stop them instead."""
        interrupted = exc_type is not None and issubclass(exc_type, KeyboardInterrupt)
        self._run.shutdown(wait=True, cancel_futures=interrupted, kill=interrupted)

    def _submit(
        self,
        fn: Callable[..., R],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        name: str = "",
        group: str | None = None,
    ) -> AscendFuture[R]:
        call = Call(fn, args, kwargs, self._initializer)
        return self._run.submit(call, self._needs_of(fn), name or _name_of(fn), group)

    def _needs_of(self, fn: Callable[..., Any]) -> Needs:
        own = getattr(fn, "__ascend_needs__", None)
        if isinstance(fn, partial):
            return self._needs_of(fn.func if fn.func is not call_each else fn.args[0])
        below = self._needs if own is None else own.over(self._needs)
        return self._overrides.over(below)

    def _results(
        self,
        fn: Callable[..., Any],
        calls: Iterable[tuple[Any, ...]],
        name: str,
        deadline: float | None,
        buffersize: int | None,
    ) -> Iterator[Any]:
        group = f"{name}-{id(calls):x}"
        source = iter(calls)

        def submit(count: int | None) -> Iterator[AscendFuture[Any]]:
            return (self._submit(fn, args, {}, name, group) for args in islice(source, count))

        futures: deque[AscendFuture[Any]] = deque(submit(buffersize))
        self._run.display.group(group, len(futures) if buffersize is None else None)
        return results_of(futures, deadline, refill=partial(submit, 1 if buffersize is not None else 0))


class _Keeper:
    """Lives as long as an executor or a view on it."""


def _load(settings: Profile, plugins: Sequence[object]) -> Plugins:
    try:
        return Plugins.load(settings, plugins)
    except ModuleNotFoundError as exc:
        if "ASCEND_TASK_ID" not in os.environ:
            raise
        # The runner's archive carries ascend, but not what it depends on.
        msg = f"an executor inside a task needs ascend among the task's requirements: {exc}"
        raise PluginError(msg) from exc


def _checked(initializer: object) -> Any:
    if not callable(initializer):
        msg = "initializer must be a callable"
        raise TypeError(msg)
    return initializer


def _name_of(fn: Callable[..., Any]) -> str:
    if isinstance(fn, partial):
        return _name_of(fn.func)
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__
