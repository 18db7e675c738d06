"""No future hangs, wherever pickling or unpickling fails, on either side; and no other future notices.

Each of the four things that travel (function, argument, result, exception) raises, exits or crashes at each of the
two moments. A crash while the client pickles or unpickles ends the client, so these two are not here.
"""

import importlib
import operator
import pickle
from concurrent.futures import wait

import pytest

from ascend.errors import (
    CallLoadError,
    OutcomeLoadError,
    RemoteExecutionError,
    SerializationError,
    TaskCrashedError,
)

BOUND = 60

ERRORS = [RuntimeError, SystemExit, KeyboardInterrupt]


def exit_at(moment, how):
    """Return a class whose instances raise or crash when they are pickled or unpickled."""

    def go_wrong(how):
        import os

        if how == "crash":
            os.abort()
        if how == "leave":
            os._exit(5)
        raise how("on purpose")

    class GoesWrongError(Exception):
        def __init__(self):
            super().__init__("goes wrong")

        def __reduce__(self):
            return go_wrong(how) if moment == "pickle" else (go_wrong, (how,))

        def __call__(self, *_):
            return None

    return GoesWrongError


def outcome(executor, function, *args):
    """Return what becomes of a call, once it is sure that another call was not harmed."""
    future, other = executor.submit(function, *args), executor.submit(operator.neg, 1)
    assert not wait([future, other], timeout=BOUND).not_done
    assert other.result() == -1
    return future.exception(timeout=BOUND)


@pytest.fixture
def executor(make_executor):
    """Return an executor that takes all calls of a test at once."""
    return make_executor(max_parallel=4)


# The way out: function and argument.


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("what", ["function", "argument"])
def test_an_error_while_a_call_is_pickled_here(executor, what, error):
    thing = exit_at("pickle", error)()
    exception = outcome(executor, *((thing,) if what == "function" else (id, thing)))

    assert isinstance(exception, (SerializationError, error))
    assert "on purpose" in str(exception)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("what", ["function", "argument"])
def test_an_error_while_a_call_is_unpickled_there(executor, what, error):
    thing = exit_at("unpickle", error)()
    exception = outcome(executor, *((thing,) if what == "function" else (id, thing)))

    assert type(exception) is CallLoadError
    assert f"{error.__name__}: on purpose" in str(exception)


@pytest.mark.parametrize(("how", "end"), [("leave", (5, None)), ("crash", (None, "SIGABRT"))])
@pytest.mark.parametrize("what", ["function", "argument"])
def test_a_crash_while_a_call_is_unpickled_there(executor, what, how, end):
    thing = exit_at("unpickle", how)()
    exception = outcome(executor, *((thing,) if what == "function" else (id, thing)))

    assert type(exception) is TaskCrashedError
    assert (exception.exit_code, exception.signal) == end


def test_a_module_that_is_not_there_while_a_call_is_unpickled(executor):
    class ByReference:
        def __reduce__(self):
            return importlib.import_module, ("nowhere_to_be_found",)

    exception = outcome(executor, id, ByReference())

    assert type(exception) is CallLoadError
    assert "nowhere_to_be_found" in str(exception)


# The way back: result and exception.


def give(cls, what):
    # What a task needs of this module travels by value, or the module would be imported there.
    if what == "result":
        return cls

    def fail():
        raise cls

    return fail


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_while_a_result_is_pickled_there(executor, error):
    exception = outcome(executor, give(exit_at("pickle", error), "result"))

    assert type(exception) is error
    assert any("while pickling the result" in note for note in exception.__notes__)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_while_an_exception_is_pickled_there(executor, error):
    exception = outcome(executor, give(exit_at("pickle", error), "exception"))

    assert type(exception) is RemoteExecutionError
    assert exception.remote_message == "goes wrong"
    assert "on purpose" in str(exception)


@pytest.mark.parametrize(("how", "end"), [("leave", (5, None)), ("crash", (None, "SIGABRT"))])
@pytest.mark.parametrize("what", ["result", "exception"])
def test_a_crash_while_an_answer_is_pickled_there(executor, what, how, end):
    exception = outcome(executor, give(exit_at("pickle", how), what))

    assert type(exception) is TaskCrashedError
    assert (exception.exit_code, exception.signal) == end


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_while_a_result_is_unpickled_here(executor, error):
    exception = outcome(executor, give(exit_at("unpickle", error), "result"))

    assert type(exception) is OutcomeLoadError
    assert f"{error.__name__}: on purpose" in str(exception)
    assert isinstance(exception.__cause__, error)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_while_an_exception_is_unpickled_here(executor, error):
    exception = outcome(executor, give(exit_at("unpickle", error), "exception"))

    assert type(exception) is RemoteExecutionError
    assert exception.remote_message == "goes wrong"
    assert f"{error.__name__}: on purpose" in str(exception)


def test_a_result_that_takes_long_to_unpickle_does_not_hold_the_others_back(executor, tmp_path):
    def wait_for(path):
        import pathlib
        import time

        while not pathlib.Path(path).exists():
            time.sleep(0.01)
        return "at last"

    class Slow:
        def __reduce__(self):
            return wait_for, (str(tmp_path / "go"),)

    slow = executor.submit(Slow)

    assert executor.submit(operator.neg, 1).result(timeout=BOUND) == -1
    (tmp_path / "go").touch()
    assert slow.result(timeout=BOUND) == "at last"


def test_many_failures_at_once_end_all_futures(executor):
    broken = [exit_at("pickle", RuntimeError)(), exit_at("unpickle", SystemExit)(), exit_at("unpickle", "crash")()]
    futures = [executor.submit(id, thing) for thing in broken * 3]

    assert not wait(futures, timeout=BOUND).not_done
    kinds = [type(future.exception()) for future in futures]
    assert kinds == [SerializationError, CallLoadError, TaskCrashedError] * 3
    assert isinstance(futures[0].exception(), pickle.PicklingError)


def test_a_failing_initializer_that_crashes_ends_all_futures(make_executor):
    executor = make_executor(initializer=exit_at("unpickle", "crash")())

    futures = [executor.submit(operator.neg, number) for number in range(3)]

    assert not wait(futures, timeout=BOUND).not_done
    assert {type(future.exception()) for future in futures} == {TaskCrashedError}
