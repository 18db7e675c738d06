"""What the caller gets when the process of a task dies, hangs or leaves something behind."""

import os
import signal
from pathlib import Path

import pytest

from ascend import hookimpl
from ascend.errors import OutOfMemoryError, TaskCrashedError, TaskError, TaskLostError, TaskTimeoutError


def died(executor, function, *args):
    exception = executor.submit(function, *args).exception(timeout=60)
    assert isinstance(exception, TaskError), exception
    return exception


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_a_process_that_exits_is_a_crash_with_its_code(executor, code):
    def leave(code):
        import os

        print("the last words")
        os._exit(code)

    exception = died(executor, leave, code)

    assert type(exception) is TaskCrashedError
    assert (exception.exit_code, exception.signal) == (code, None)
    assert exception.last_lines == ("the last words",)
    assert f"code {code}" in str(exception)
    assert "the last words" in str(exception)
    assert "leave" in str(exception)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_process_that_a_signal_ends_is_a_crash_with_its_name(executor, name):
    def end(number):
        import os

        os.kill(os.getpid(), number)

    exception = died(executor, end, getattr(signal, name))

    assert (exception.exit_code, exception.signal) == (None, name)
    assert name in str(exception)


def test_a_crash_in_compiled_code_says_where_python_was(executor):
    def dereference_nothing():
        import ctypes

        ctypes.string_at(0)

    exception = died(executor, dereference_nothing)

    assert exception.signal == "SIGSEGV"
    assert any("in dereference_nothing" in line for line in exception.last_lines)


def test_abort_is_a_crash(executor):
    assert died(executor, os.abort).signal == "SIGABRT"


def test_a_crash_harms_no_other_task(executor, gate, eventually):
    running = executor.submit(gate.wait, 1)
    eventually(gate.reached)
    crashed = executor.submit(os._exit, 3)
    later = executor.submit(pow, 2, 2)

    assert isinstance(crashed.exception(timeout=60), TaskCrashedError)
    assert later.result(timeout=60) == 4
    gate.open()
    assert running.result(timeout=60) == 1


def test_only_the_last_lines_are_in_the_message(executor):
    def talk():
        import os

        for number in range(1000):
            print("line", number)
        os._exit(1)

    exception = died(executor, talk)

    assert exception.last_lines[-1] == "line 999"
    assert len(exception.last_lines) < 100


def test_a_task_that_needs_more_memory_than_it_was_given_is_out_of_memory(make_executor):
    def fill():
        import time

        print("begun")
        data = bytearray(os.urandom(1) * 600_000_000)
        time.sleep(60)
        return len(data)

    exception = died(make_executor(memory="200Mi"), fill)

    assert type(exception) is OutOfMemoryError
    assert "200Mi" in str(exception)
    assert exception.signal == "SIGKILL"
    assert exception.last_lines == ("begun",)


def test_a_task_within_its_memory_is_left_alone(make_executor):
    assert make_executor(memory="1Gi").submit(lambda: len(bytearray(10_000_000))).result() == 10_000_000


def test_a_function_that_runs_too_long_is_stopped_and_says_where_it_was(make_executor):
    executor = make_executor(timeout=0.5)

    def hang():
        import time

        print("hanging")
        time.sleep(600)

    future = executor.submit(hang)

    with pytest.raises(TaskTimeoutError, match=r"0\.5 s") as caught:
        future.result(timeout=60)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.task_id == future.task_id
    lines = list(future.logs())
    assert lines[0] == "hanging"
    assert any("in hang" in line for line in lines)


def test_a_function_that_ignores_everything_is_stopped_all_the_same(make_executor):
    def hang():
        import signal
        import time

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        while True:
            try:
                time.sleep(1)
            except BaseException:
                continue

    assert type(died(make_executor(timeout=0.5), hang)) is TaskTimeoutError


def test_a_function_within_its_timeout_is_left_alone(make_executor):
    assert make_executor(timeout=60).submit(pow, 2, 2).result() == 4


def test_a_timeout_is_not_tried_again(make_executor, gate):
    future = make_executor(timeout=0.3, retries=3).submit(gate.wait)

    assert isinstance(future.exception(timeout=60), TaskTimeoutError)
    assert future.attempts == 1


def test_a_task_whose_retries_are_used_up_is_a_crash(make_executor):
    future = make_executor(retries=1).submit(os._exit, 4)

    assert future.exception(timeout=60).exit_code == 4
    assert future.attempts == 2


# What a task leaves behind.


def test_what_a_task_started_ends_with_it(executor, eventually):
    def start():
        import subprocess
        import sys

        child = "import subprocess as s, time; print(s.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
        process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
        return process.pid, int(process.stdout.readline())

    pids = executor.submit(start).result(timeout=60)

    for pid in pids:
        eventually(lambda pid=pid: _is_gone(pid), f"the end of {pid}")


def test_what_a_crashed_task_started_ends_with_it(executor, eventually):
    def start():
        import os
        import subprocess

        print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
        os.abort()

    (line, *_) = died(executor, start).last_lines

    eventually(lambda: _is_gone(int(line)), "the end of the child")


def _is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_process_that_escaped_does_not_hold_the_answer_back(executor):
    def escape():
        import subprocess

        return subprocess.Popen(["sleep", "600"], start_new_session=True).pid

    pid = executor.submit(escape).result(timeout=60)

    os.kill(pid, signal.SIGKILL)


def test_a_thread_that_runs_on_does_not_hold_the_answer_back(executor):
    def leave_a_thread():
        import threading
        import time

        threading.Thread(target=time.sleep, args=(600,)).start()
        return "done"

    assert executor.submit(leave_a_thread).result(timeout=60) == "done"


def test_an_exit_function_runs_and_its_output_comes(executor):
    def register():
        import atexit

        atexit.register(print, "good bye")

    future = executor.submit(register)
    future.result(timeout=60)

    assert list(future.logs()) == ["good bye"]


def test_a_failing_exit_function_does_not_change_the_answer(executor):
    def register():
        import atexit
        import os

        atexit.register(os._exit, 7)
        return "answer"

    assert executor.submit(register).result(timeout=60) == "answer"


def test_a_task_may_use_processes_of_its_own(executor):
    def spread():
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
            return list(pool.map(abs, [-1, -2]))

    assert executor.submit(spread).result(timeout=60) == [1, 2]


def test_a_forked_child_that_returns_from_the_function_gives_no_second_answer(executor):
    def fork():
        import os

        pid = os.fork()
        if pid == 0:
            return "child"
        os.waitpid(pid, 0)
        return "parent"

    assert executor.submit(fork).result(timeout=60) == "parent"


def test_a_task_may_remove_its_folder(executor):
    def remove():
        import pathlib
        import shutil

        shutil.rmtree(pathlib.Path.cwd())
        return "removed"

    assert executor.submit(remove).result(timeout=60) == "removed"


@pytest.mark.parametrize("how", ["close", "replace", "descriptors"])
def test_a_task_may_do_to_its_output_what_it_likes(executor, how):
    def spoil(how):
        import io
        import os
        import sys

        if how == "close":
            sys.stdout.close()
            sys.stderr.close()
        elif how == "replace":
            sys.stdout = io.StringIO()
            sys.stderr = None
        else:
            os.close(1)
            os.close(2)
        return how

    assert executor.submit(spoil, how).result(timeout=60) == how


class Numbers:
    """A plugin that writes what Kubernetes takes and the local cluster cannot read."""

    @hookimpl
    def ascend_modify_job(self, manifest):
        manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": 2_000_000_000}}


def test_a_job_that_cannot_be_followed_is_lost_and_not_waited_for(make_executor):
    executor = make_executor(plugins=[Numbers()])

    with pytest.raises(TaskLostError, match="AttributeError"):
        executor.submit(abs, -1).result(timeout=60)


def test_a_timeout_of_months_is_one(executor):
    assert executor.with_options(timeout=90 * 86_400).submit(abs, -1).result(timeout=60) == 1


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_function_may_close_its_streams(executor, stream):
    def close():
        import ctypes  # noqa: F401 - with it, the runner flushes the streams itself
        import sys

        getattr(sys, stream).close()
        return 5

    assert executor.with_options(timeout=60).submit(close).result(timeout=60) == 5
