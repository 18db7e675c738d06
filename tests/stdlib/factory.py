"""The executors that the standard library's tests are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ascend import AscendExecutor

if TYPE_CHECKING:
    from collections.abc import Callable


def local(
    max_workers: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> AscendExecutor:
    """Return an executor on the local cluster, under the parameter names that the tests use."""
    return _executor("local", max_workers, initializer, initargs)


def kubernetes(
    max_workers: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> AscendExecutor:
    """Return an executor on the Kubernetes cluster, and with the image, that the environment names."""
    return _executor("kubernetes", max_workers, initializer, initargs)


def _executor(
    cluster: str, max_workers: int | None, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> AscendExecutor:
    try:
        return AscendExecutor(
            cluster=cluster, max_parallel=max_workers, progress=False, initializer=initializer, initargs=initargs
        )
    except ValueError as error:
        # The tests match the text that the standard executors have for their own name of it.
        raise ValueError(str(error).replace("max_parallel", "max_workers")) from error
