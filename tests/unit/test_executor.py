"""`AscendExecutor`: what may be submitted, what reaches the task, and what is kept of it."""

import asyncio
import concurrent.futures
import gc
import operator
import os
import threading
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ascend import AscendExecutor
from ascend.errors import InitializerError, PluginError, SerializationError


class Thing:
    """Something that can be watched as it disappears."""


def test_it_is_an_executor_of_the_standard_library(executor):
    assert isinstance(executor, concurrent.futures.Executor)
    assert executor.submit(pow, 2, 5).result() == 32


@pytest.mark.parametrize(("function", "argument", "expected"), [(int, "7", 7), (str, 7, "7"), (len, "four", 4)])
def test_a_callable_without_a_signature_can_be_submitted(executor, function, argument, expected):
    assert executor.submit(function, argument).result() == expected


def test_submit_takes_no_name_of_its_own_from_the_call(executor):
    given = {"self": 1, "fn": 2, "timeout": 3, "requirements": 4, "args": 5, "kwargs": 6, "name": 7}

    assert executor.submit(dict, **given).result() == given


def test_partials_methods_and_callable_objects_can_be_submitted(executor):
    class Adder:
        def __init__(self, amount):
            self.amount = amount

        def __call__(self, number):
            return number + self.amount

        def twice(self, number):
            return number + 2 * self.amount

    calls = [partial(pow, 2), Adder(1), Adder(1).twice, operator.neg]

    assert [future.result() for future in [executor.submit(call, 5) for call in calls]] == [32, 6, 7, -5]


def test_a_coroutine_function_is_awaited_there(executor):
    async def answer(value):
        await asyncio.sleep(0)
        return value

    assert executor.submit(answer, 42).result() == 42


def test_the_same_call_twice_gives_two_answers(executor):
    assert executor.submit(pow, 2, 2).result() == 4
    assert executor.submit(pow, 2, 2).result() == 4


def test_none_and_a_returned_exception_are_values(executor):
    assert executor.submit(print, end="").result() is None
    assert isinstance(executor.submit(ValueError, "returned").result(), ValueError)


@pytest.mark.parametrize("size", [1_000, 200_000])
def test_an_argument_and_a_result_of_any_size_travel(executor, size):
    data = os.urandom(size)

    assert executor.submit(bytearray.__add__, bytearray(data), b"!").result() == data + b"!"


def test_large_buffers_come_back_writable(executor):
    array = executor.submit(operator.add, np.arange(50_000.0), 1).result()
    array += 1

    assert array[0] == 2.0
    assert array[-1] == 50_001.0


def test_an_argument_that_cannot_be_pickled_harms_no_other_call(executor):
    before = executor.submit(pow, 2, 3)
    broken = executor.submit(id, threading.Lock())
    after = executor.submit(pow, 2, 4)

    with pytest.raises(SerializationError) as caught:
        broken.result(timeout=60)

    assert "'_thread.lock'" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)
    assert [before.result(), after.result()] == [8, 16]


def test_a_function_that_cannot_be_pickled_is_the_same_error(executor):
    lock = threading.Lock()

    assert isinstance(executor.submit(lambda: lock).exception(timeout=60), SerializationError)


def test_a_future_as_an_argument_is_refused_like_anything_else_that_cannot_be_pickled(executor):
    assert isinstance(executor.submit(id, executor.submit(pow, 1, 1)).exception(timeout=60), SerializationError)


def test_the_executor_keeps_no_argument_once_the_task_was_dispatched(executor, gate, eventually):
    thing = Thing()
    gone = weakref.ref(thing)
    future = executor.submit(lambda wait, _: wait(), gate.wait, [thing.__dict__, _Watched(thing)])
    del thing

    eventually(gate.reached)
    eventually(lambda: gc.collect() is not None and gone() is None, "the end of the argument")

    assert future.running()


class _Watched:
    """Keeps a thing alive here, and nothing of it travels."""

    def __init__(self, thing):
        self.thing = thing

    def __reduce__(self):
        return (int, ())


def test_the_executor_keeps_no_argument_that_could_not_be_pickled(executor, eventually):
    thing = Thing()
    gone = weakref.ref(thing)
    future = executor.submit(lambda *_: None, thing, threading.Lock())
    del thing
    concurrent.futures.wait([future], timeout=60)
    del future

    eventually(lambda: gc.collect() is not None and gone() is None, "the end of the argument")


def test_the_executor_keeps_no_argument_of_a_cancelled_call(make_executor, gate, eventually):
    executor = make_executor(max_parallel=1)
    executor.submit(gate.wait)
    thing = Thing()
    gone = weakref.ref(thing)
    future = executor.submit(id, thing)
    del thing

    assert future.cancel()

    eventually(lambda: gc.collect() is not None and gone() is None, "the end of the argument")


def test_a_result_lives_as_long_as_its_future(executor, eventually):
    class Result:
        pass

    future = executor.submit(Result)
    gone = weakref.ref(future.result())
    assert gone() is not None

    del future

    eventually(lambda: gc.collect() is not None and gone() is None, "the end of the result")


def test_variables_reach_the_task_and_no_setting_of_the_client_does(make_executor, monkeypatch):
    monkeypatch.setenv("ASCEND_STORAGE_SECRET", "hidden")
    executor = make_executor(env={"COLOUR": "blue", "SHAPE": "round"})

    def variables():
        import os

        return {name: value for name, value in os.environ.items() if name in {"COLOUR", "SHAPE"} or "ASCEND" in name}

    future = executor.with_options(env={"SHAPE": "flat"}).submit(variables)

    assert future.result() == {"COLOUR": "blue", "SHAPE": "flat", "ASCEND_TASK_ID": future.task_id}


def test_tasks_do_not_see_each_others_files(executor):
    def write(text):
        import pathlib
        import tempfile

        path = pathlib.Path("result.txt")
        existed = path.exists() or pathlib.Path(tempfile.gettempdir(), "result.txt").exists()
        path.write_text(text)
        pathlib.Path(tempfile.gettempdir(), "result.txt").write_text(text)
        return existed, path.read_text(), str(pathlib.Path.cwd()), tempfile.gettempdir()

    first, second = executor.map(write, ["one", "two"])

    assert first[:2] == (False, "one")
    assert second[:2] == (False, "two")
    assert len({*first[2:], *second[2:]}) == 4
    assert not any(Path(folder).exists() for folder in (*first[2:], *second[2:]))


def test_standard_input_is_empty(executor):
    def read():
        import sys

        return sys.stdin.read()

    assert executor.submit(read).result() == ""


def test_no_more_tasks_run_than_there_are_slots(make_executor, gate, eventually):
    executor = make_executor(max_parallel=2)
    futures = [executor.submit(gate.wait, number) for number in range(5)]

    eventually(lambda: len(gate.reached()) == 2)
    assert [future.running() for future in futures] == [True, True, False, False, False]

    gate.open()
    assert [future.result() for future in futures] == [0, 1, 2, 3, 4]


def test_executors_live_side_by_side(make_executor):
    futures = [make_executor().submit(pow, 2, number) for number in range(3)]

    assert [future.result() for future in futures] == [1, 2, 4]
    assert len({future.run_id for future in futures}) == 3


def test_many_threads_may_submit_at_once(make_executor):
    executor = make_executor(max_parallel=4)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda number: executor.submit(operator.neg, number), range(24)))

    assert [future.result() for future in futures] == [-number for number in range(24)]
    assert len({future.task_id for future in futures}) == 24


def test_a_view_shares_the_run_and_its_shutdown(executor):
    view = executor.with_options(env={"A": "1"})

    assert view.submit(os.getenv, "A").result() == "1"
    assert executor.submit(os.getenv, "A").result() is None
    assert view.run_id == executor.run_id

    view.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(pow, 1, 1)


def test_a_view_of_a_view_keeps_what_the_first_one_said(executor):
    view = executor.with_options(env={"A": "1"}).with_options(retries=1).with_options(env={"B": "2"})

    def both():
        import os

        return os.environ["A"], os.environ["B"]

    assert view.submit(both).result() == ("1", "2")


def test_a_view_keeps_the_run_alive_after_the_executor_is_gone(make_executor):
    view = AscendExecutor(cluster="local", progress=False).with_options(retries=0)
    gc.collect()

    assert view.submit(pow, 2, 3).result() == 8
    view.shutdown()


def test_an_unknown_option_is_refused_with_the_nearest_name(executor):
    with pytest.raises(TypeError, match="timeout"):
        executor.with_options(timeot=3)


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    with pytest.raises(TypeError, match="max_parallel"):
        AscendExecutor(cluster="local", max_paralel=3)


def test_the_initializer_runs_before_the_call_in_its_process(make_executor):
    def initialize(value):
        import sys

        sys.initialized_with = value

    def read():
        import sys

        return sys.initialized_with

    assert make_executor(initializer=initialize, initargs=("this",)).submit(read).result() == "this"


def test_an_initializer_that_is_none_is_a_type_error():
    with pytest.raises(TypeError, match="callable"):
        AscendExecutor(cluster="local", initializer="no")


def test_a_failing_initializer_ends_the_executor_for_new_calls(make_executor, gate):
    executor = make_executor(initializer=operator.truediv, initargs=(1, 0), max_parallel=1)
    futures = [executor.submit(gate.wait) for _ in range(3)]

    for future in futures:
        with pytest.raises(InitializerError, match="ZeroDivisionError"):
            future.result(timeout=60)
    assert len({id(future.exception()) for future in futures}) == 3
    with pytest.raises(InitializerError):
        executor.submit(pow, 1, 1)


def test_a_task_that_crashes_is_tried_again(make_executor, tmp_path):
    executor = make_executor(retries=3)

    def crash_twice(path):
        import os
        import pathlib

        tries = pathlib.Path(path).stat().st_size + 1 if pathlib.Path(path).exists() else 1
        pathlib.Path(path).write_text("x" * tries)
        print("try", tries)
        if tries < 3:
            os._exit(1)
        return tries

    future = executor.submit(crash_twice, str(tmp_path / "tries"))

    assert future.result() == 3
    assert future.attempts == 3
    assert list(future.logs()) == ["try 1", "try 2", "try 3"]


def test_an_exception_of_the_function_is_an_answer_and_not_tried_again(make_executor, tmp_path):
    def count(path):
        import pathlib

        # A second try would find the folder there.
        pathlib.Path(path).mkdir()
        raise LookupError

    future = make_executor(retries=3).submit(count, str(tmp_path / "tries"))

    assert isinstance(future.exception(), LookupError)
    assert future.attempts == 1


def test_the_phases_of_a_task_come_in_order_and_without_gaps(executor):
    future = executor.submit(pow, 2, 2)
    future.result()

    phases = future.timeline.phases

    assert [phase.name for phase in phases] == ["queue", "pack", "start", "load", "run", "return"]
    assert all(phase.seconds >= 0 for phase in phases)
    starts = [phase.started for phase in phases]
    assert starts == sorted(starts)
    assert sum(phase.seconds for phase in phases) == pytest.approx(future.timeline.seconds, abs=0.01)
    assert future.timeline == future.timeline


def test_what_lies_in_storage_lies_below_project_user_and_job(make_executor, tmp_path, gate, eventually):
    storage = tmp_path / "storage"
    executor = make_executor(storage=storage.as_uri(), project="weather", user="ada")

    future = executor.submit(lambda wait, _: (wait(), bytes(os.urandom(9000))), gate.wait, os.urandom(200_000))
    eventually(gate.reached)
    files = [path.relative_to(storage).as_posix() for path in storage.rglob("*") if path.is_file()]
    gate.open()
    future.result()

    job = f"projects/weather/users/ada/jobs/asc-{future.task_id}"
    assert f"{job}/call" in files
    assert all(name == f"{job}/call" or name.startswith("projects/weather/users/ada/source/") for name in files)
    executor.shutdown()
    assert not [path for path in storage.rglob("jobs/*/*") if path.is_file()]


def test_of_a_task_that_failed_what_it_wrote_stays_in_storage_and_nothing_else(make_executor, tmp_path):
    storage = tmp_path / "storage"
    executor = make_executor(storage=storage.as_uri(), project="weather", user="ada")

    def fail(data):
        print("first")
        print("last")
        raise ValueError(len(data))

    failing, silent = executor.submit(fail, bytes(200_000)), executor.submit(divmod, 1, 0)
    assert type(failing.exception()) is ValueError
    assert type(silent.exception()) is ZeroDivisionError
    (log,) = [path for path in storage.rglob("jobs/*/*") if path.is_file()]
    name = f"projects/weather/users/ada/jobs/asc-{failing.task_id}/log"
    assert log.relative_to(storage).as_posix() == name
    assert log.read_text() == "first\nlast"


def test_storage_is_empty_after_a_large_answer_and_after_a_crash(make_executor, tmp_path):
    storage = tmp_path / "storage"
    executor = make_executor(storage=storage.as_uri())

    futures = [executor.submit(os.urandom, 9000), executor.submit(lambda _: os._exit(1), os.urandom(200_000))]
    concurrent.futures.wait(futures, timeout=60)
    executor.shutdown()

    assert len(futures[0].result()) == 9000
    assert not [path for path in storage.rglob("jobs/*/*") if path.is_file()]


def test_an_executor_may_be_made_inside_a_task(executor):
    def call(count):
        from ascend import AscendExecutor

        with AscendExecutor(cluster="local", progress=False) as inner:
            return list(inner.map(abs, range(-count, 0)))

    assert executor.submit(call, 2).result(timeout=60) == [2, 1]


def test_inside_a_bare_task_an_executor_says_what_it_lacks(executor):
    def call():
        import sys

        # As if nothing were installed.
        sys.modules["pluggy"] = None
        from ascend import AscendExecutor

        AscendExecutor(cluster="local")

    with pytest.raises(PluginError, match="inside a task needs ascend among the task's requirements"):
        executor.submit(call).result(timeout=60)


def test_a_temporary_folder_that_cannot_be_used_is_named(client, tmp_path):
    (tmp_path / "file").touch()
    script = f"""
import tempfile
from ascend import AscendExecutor

tempfile.tempdir = {str(tmp_path / "file")!r}
if __name__ == "__main__":
    with AscendExecutor(progress=False) as executor:
        print(repr(executor.submit(abs, -1).exception(timeout=60)))
"""
    ran = client.run(script)

    assert ran.code == 0, ran.err
    assert ran.out.startswith("ClusterError")
    assert "TMPDIR" in ran.out
