"""What editors and type checkers must see; it is checked and never run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import Executor, Future, as_completed
from typing import assert_type

import ascend as package
from ascend import AscendExecutor, AscendFunction, AscendFuture, Secret, Volume, ascend, wait


@ascend
def bare(number: int, *, scale: float = 1.0) -> str:
    return f"{number * scale}"


@ascend(cpu=2, memory="4Gi", timeout=3600, requirements=["torch==2.6.0"], env={"A": "b"}, project=True)
def with_needs(number: int) -> dict[str, float]:
    return {"a": float(number)}


@ascend(
    secrets={"TOKEN": Secret("tokens", "token")},
    volumes={"/data": Volume(claim="datasets", read_only=True), "/dev/shm": Volume(memory="2Gi")},
    service_account="trainer",
    priority="low",
    labels={"team": "a"},
    queue="team-a",
    job_patch={"spec": {"template": {"spec": {"dnsPolicy": "Default", "hostname": None}}}},
    retries=1,
    gpus=1,
    node_type="nc8as_t4_v3",
)
async def later(number: int) -> bytes:
    return bytes(number)


@ascend
async def bare_later(number: int) -> bytes:
    return bytes(number)


def plain(number: int, *, scale: float = 1.0) -> str:
    return f"{number * scale}"


class Model:
    @ascend
    def fit(self, number: int) -> str:
        return f"{number}"

    @ascend(cpu="2")
    async def fit_later(self, number: int) -> bytes:
        return bytes(number)

    @ascend(cpu="2")
    @staticmethod
    def static(number: int) -> str:
        return f"{number}"


def decorated_functions_keep_their_signature() -> None:
    assert_type(bare(1, scale=2.0), str)
    assert_type(with_needs(number=1), dict[str, float])
    assert_type(bare.local(1), str)
    assert_type(bare.submit(1, scale=2.0), AscendFuture[str])
    assert_type(bare.submit(1).result(timeout=1.0), str)
    assert_type(bare.map([1, 2], timeout=1.0, chunksize=2, buffersize=3), Iterator[str])
    assert_type(bare.with_options(cpu="1")(1), str)
    assert_type(bare.with_options(cpu="1").submit(1), AscendFuture[str])
    assert_type(bare.__wrapped__(1), object)  # type: ignore[assert-type] # a coroutine where the function makes one
    assert_type(inspect.signature(bare), inspect.Signature)


def coroutine_functions_return_what_they_are_awaited_for() -> None:
    assert_type(later(1), bytes)
    assert_type(bare_later(1), bytes)
    assert_type(later.local(1), bytes)
    assert_type(later.submit(1), AscendFuture[bytes])
    assert_type(later.map([1]), Iterator[bytes])


def methods_are_bound(model: Model) -> None:
    assert_type(model.fit(1), str)
    assert_type(model.fit.submit(1), AscendFuture[str])
    assert_type(model.fit.map([1]), Iterator[str])
    assert_type(model.fit.local(number=1), str)
    assert_type(Model.fit(model, 1), str)
    assert_type(model.fit_later(1), bytes)


def static_methods_are_called_on_the_class() -> None:
    # Of @staticmethod and @classmethod below another decorator, checkers see nothing but the plain function.
    assert_type(Model.static(1), str)
    assert_type(Model.static.submit(1), AscendFuture[str])


def executors_are_typed_as_the_standard_ones(executor: AscendExecutor) -> None:
    assert_type(executor.submit(plain, 1, scale=2.0), AscendFuture[str])
    assert_type(executor.submit(bare, 1), AscendFuture[str])
    assert_type(executor.submit(later, 1), AscendFuture[bytes])
    assert_type(executor.submit(Model().fit, 1), AscendFuture[str])
    assert_type(executor.map(plain, [1, 2], buffersize=2), Iterator[str])
    assert_type(executor.map(bare, [1, 2]), Iterator[str])
    assert_type(executor.with_options(cpu="1"), AscendExecutor)
    assert_type(executor.explain(plain, 1), package.CallReport)
    with AscendExecutor("gpu", cpu=1.5, requirements=("torch",), progress=False) as entered:
        assert_type(entered, AscendExecutor)


def an_executor_is_an_executor(executor: AscendExecutor) -> None:
    standard: Executor = executor
    futures: list[Future[str]] = [standard.submit(plain, 1), executor.submit(plain, 1)]
    assert_type(next(as_completed(futures)), Future[str])
    done, pending = wait([executor.submit(plain, 1)])
    assert_type(done, set[Future[str]])
    assert_type(pending, set[Future[str]])


def futures_know_their_task(future: AscendFuture[int]) -> None:
    assert_type(future.result(), int)
    assert_type(future.logs(follow=True), Iterator[str])
    assert_type(future.explain(), str)
    assert_type(future.kill(), bool)
    assert_type(future.timeline["run"].seconds, float)


def a_decorated_function_can_be_passed_on(function: AscendFunction[[int], str]) -> None:
    assert_type(function(1), str)
    a_decorated_function_can_be_passed_on(function.with_options(cpu=1))
