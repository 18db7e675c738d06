"""What type checkers must refuse, a line each; the comments keep it quiet in the whole, and the test takes them off."""

from __future__ import annotations

from ascend import AscendExecutor, ascend


@ascend
def bare(number: int, *, scale: float = 1.0) -> str:
    return f"{number * scale}"


@ascend(cpu=2)
async def later(number: int) -> bytes:
    return bytes(number)


class Model:
    @ascend
    def fit(self, number: int) -> str:
        return f"{number}"


def misspelt_options() -> None:
    ascend(cpus=2)  # type: ignore[call-overload]
    ascend(memmory="4Gi", cpu=1)  # type: ignore[call-overload]
    AscendExecutor(memmory="4Gi")  # type: ignore[arg-type]
    AscendExecutor(clusters="local", cpu=1)  # type: ignore[arg-type]


def options_of_the_wrong_type() -> None:
    ascend(memory=4)  # type: ignore[call-overload]
    ascend(secrets={"TOKEN": "written out"})  # type: ignore[dict-item]
    ascend(volumes={"/data": "datasets"})  # type: ignore[dict-item]
    ascend(labels={"team": 3})  # type: ignore[dict-item]
    ascend(job_patch="spec")  # type: ignore[call-overload]
    AscendExecutor(memory=4)  # type: ignore[arg-type]
    AscendExecutor("local", "file:///")  # type: ignore[call-arg]


def calls_that_do_not_fit(model: Model, executor: AscendExecutor) -> None:
    bare("one")  # type: ignore[arg-type]
    bare()  # type: ignore[call-arg]
    bare(1, factor=2.0)  # type: ignore[call-arg]
    bare.submit("one")  # type: ignore[arg-type]
    bare.local("one")  # type: ignore[arg-type]
    bare.with_options(cpu=1)("one")  # type: ignore[arg-type]
    model.fit("one")  # type: ignore[arg-type]
    model.fit(model, 1)  # type: ignore[call-arg, arg-type]
    Model.fit(1)  # type: ignore[call-arg, arg-type]
    executor.submit(bare, "one")  # type: ignore[arg-type]
    executor.submit(bare, 1, factor=2.0)  # type: ignore[call-arg]


def results_of_the_wrong_type(executor: AscendExecutor) -> None:
    number: int = bare(1)  # type: ignore[assignment]
    number = bare.submit(1).result()  # type: ignore[assignment]
    number = executor.submit(bare, 1).result()  # type: ignore[assignment]
    number = next(bare.map([1]))  # type: ignore[assignment]
    text: str = later(1)  # type: ignore[assignment]
    print(number, text)
