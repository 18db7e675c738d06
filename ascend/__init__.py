"""Run Python functions on Kubernetes: the public names, each loaded when it is first used."""

# Importing typing for it would cost every task ten milliseconds, and __future__ two: see `ascend._core.bytecode`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import as_completed, wait

    from ascend._core.decorator import AscendFunction, ascend
    from ascend._core.executor import AscendExecutor
    from ascend._core.future import AscendFuture
    from ascend._core.preflight.report import CallReport
    from ascend.errors import AscendError
    from ascend.hookspecs import hookimpl
    from ascend.model import Secret, Volume

__version__ = "0.1.0"

__all__ = [
    "AscendError",
    "AscendExecutor",
    "AscendFunction",
    "AscendFuture",
    "CallReport",
    "Secret",
    "Volume",
    "__version__",
    "as_completed",
    "ascend",
    "hookimpl",
    "wait",
]

_HOMES = {
    "AscendError": "ascend.errors",
    "AscendExecutor": "ascend._core.executor",
    "AscendFunction": "ascend._core.decorator",
    "AscendFuture": "ascend._core.future",
    "CallReport": "ascend._core.preflight.report",
    "Secret": "ascend.model",
    "Volume": "ascend.model",
    "as_completed": "concurrent.futures",
    "ascend": "ascend._core.decorator",
    "hookimpl": "ascend.hookspecs",
    "wait": "concurrent.futures",
}


def __getattr__(name: str) -> object:
    # The runner imports this package in every pod: whatever is not asked for must cost nothing.
    home = _HOMES.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module  # noqa: PLC0415 - a task that uses no name here pays nothing

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
