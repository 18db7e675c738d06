"""What the caller gets when a function raises: the exception itself, as from the standard executors."""

import concurrent.futures
import sys
import traceback

import pytest

from ascend.errors import RemoteExecutionError


def raised_by(executor, function, *args):
    exception = executor.submit(function, *args).exception(timeout=60)
    assert exception is not None
    return exception


def test_it_is_raised_as_itself(executor):
    with pytest.raises(ZeroDivisionError, match=r"^division by zero$"):
        executor.submit(lambda: 1 / 0).result(timeout=60)


def test_its_remote_traceback_is_shown_as_by_a_process_pool(executor):
    def outer():
        def inner():
            raise ValueError("the message")

        inner()

    exception = raised_by(executor, outer)
    text = "".join(traceback.format_exception(exception))

    assert isinstance(exception.__cause__, concurrent.futures.process._RemoteTraceback)
    assert 'raise ValueError("the message")' in text
    assert "in inner" in text
    assert "The above exception was the direct cause" in text
    assert "runner" not in text
    assert text.count('"""') == 2


def test_its_traceback_does_not_grow_with_every_result(executor):
    future = executor.submit(int, "no number")
    lengths = set()
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            future.result()
        lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))

    assert len(lengths) <= 3
    assert max(lengths) < 12


def test_every_future_has_an_exception_of_its_own(executor):
    first, second = (raised_by(executor, int, "no number") for _ in range(2))

    assert first is not second


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("base"), StopIteration(1)]
)
def test_what_is_no_exception_but_can_be_raised_is_an_answer_too(executor, error):
    def fail():
        raise error

    exception = raised_by(executor, fail)

    assert type(exception) is type(error)
    assert exception.args == error.args
    assert executor.submit(pow, 2, 2).result() == 4


def test_leaving_the_program_is_an_answer_too(executor):
    assert raised_by(executor, sys.exit, "good bye").code == "good bye"


def test_a_class_of_a_function_or_a_script_keeps_its_identity(executor):
    class TooHotError(Exception):
        def __init__(self, degrees, *, limit):
            super().__init__(f"{degrees} is over {limit}")
            self.degrees = degrees

    def fail():
        raise TooHotError(50, limit=40)

    with pytest.raises(TooHotError, match="50 is over 40") as caught:
        executor.submit(fail).result(timeout=60)
    assert caught.value.degrees == 50


def test_causes_contexts_and_notes_come_along(executor):
    def fail():
        try:
            try:
                {}["key"]
            except KeyError:
                raise TypeError("context")  # noqa: B904 - the context is what is tested
        except TypeError as error:
            error.add_note("a note")
            raise ValueError("caused") from error

    exception = raised_by(executor, fail)

    assert isinstance(exception.__cause__, TypeError)
    assert exception.__cause__.__notes__ == ["a note"]
    assert isinstance(exception.__cause__.__context__, KeyError)
    assert "fail" in "".join(traceback.format_exception(exception))


def test_a_group_comes_with_all_its_members(executor):
    def fail():
        raise ExceptionGroup("all", [ValueError(1), ExceptionGroup("some", [OSError(2, "no such file")])])

    exception = raised_by(executor, fail)

    assert exception.message == "all"
    assert exception.subgroup(OSError).exceptions[0].exceptions[0].errno == 2
    with pytest.raises(ExceptionGroup):
        executor.submit(fail).result()


def test_an_exception_that_cannot_be_pickled_there_comes_as_text(executor):
    class HoldsALockError(Exception):
        def __init__(self, message):
            import threading

            super().__init__(message)
            self.lock = threading.Lock()

    def fail():
        raise HoldsALockError("the message")

    exception = raised_by(executor, fail)

    assert type(exception) is RemoteExecutionError
    assert exception.remote_type.endswith("HoldsALockError")
    assert exception.remote_message == "the message"
    assert 'raise HoldsALockError("the message")' in exception.remote_traceback
    assert "cannot be pickled there" in str(exception)
    assert "the message" in str(exception)


def test_an_exception_that_cannot_be_unpickled_here_comes_as_text(executor):
    def refuse(value):
        raise TypeError(f"I refuse {value}")

    class DoesNotComeBackError(Exception):
        def __reduce__(self):
            return refuse, (1,)

    def fail():
        raise DoesNotComeBackError("the message")

    exception = raised_by(executor, fail)

    assert type(exception) is RemoteExecutionError
    assert exception.remote_message == "the message"
    assert "I refuse 1" in str(exception)
    assert executor.submit(pow, 2, 2).result() == 4


def test_an_exception_whose_cause_cannot_be_pickled_still_comes_as_itself(executor):
    def fail():
        import threading

        cause = ValueError("cause")
        cause.lock = threading.Lock()
        raise KeyError("the message") from cause

    exception = raised_by(executor, fail)

    assert type(exception) is KeyError
    assert "ValueError: cause" in "".join(traceback.format_exception(exception))


def test_an_exception_whose_text_cannot_be_made_comes_as_itself(executor):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("mute")

    def fail():
        raise MuteError(1)

    assert type(raised_by(executor, fail)) is MuteError


def test_an_exception_with_a_class_only_the_task_knows_comes_as_itself_or_as_text(executor):
    def fail():
        namespace = {}
        exec("class OnlyThereError(Exception): pass", namespace)
        raise namespace["OnlyThereError"]("the message")

    exception = raised_by(executor, fail)

    assert "OnlyThereError" in (type(exception).__qualname__ + str(exception))
    assert "the message" in str(exception)


def test_a_large_exception_travels_through_storage(executor):
    def fail():
        raise ValueError("x" * 100_000)

    assert len(str(raised_by(executor, fail))) == 100_000


def test_too_deep_a_recursion_is_a_recursion_error(executor):
    def endless(number):
        return endless(number + 1)

    assert type(raised_by(executor, endless, 0)) is RecursionError


@pytest.mark.parametrize("kind", ["lock", "generator"])
def test_a_result_that_cannot_be_pickled_is_an_error_with_a_note(executor, kind):
    def make(kind):
        import threading

        return threading.Lock() if kind == "lock" else (number for number in [])

    exception = raised_by(executor, make, kind)

    assert isinstance(exception, TypeError)
    assert any("while pickling the result" in note for note in exception.__notes__)
    assert executor.submit(pow, 2, 2).result() == 4


def test_a_result_that_holds_a_class_of_a_script_keeps_its_identity(client):
    program = """
from ascend import AscendExecutor

class Point:
    def __init__(self, x): self.x = x

class NoPoint(Exception): pass

def make(): return [Point(3), Point]
def fail(): raise NoPoint(4)

if __name__ == "__main__":
    with AscendExecutor(progress=False) as executor:
        point, cls = executor.submit(make).result()
        assert type(point) is Point is cls and point.x == 3
        try:
            executor.submit(fail).result()
        except NoPoint as exc:
            print("caught", exc.args)
"""
    assert client.run(program).out == "caught (4,)\n"
