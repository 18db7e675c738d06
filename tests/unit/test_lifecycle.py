"""Ends: of an executor, of the interpreter, of the client by Ctrl-C or by force, and what a forked child may do."""

import gc
import operator
import os
import signal
import threading
import weakref
from concurrent.futures import wait
from pathlib import Path

import pytest

from ascend import AscendExecutor
from ascend.errors import TaskError, TaskKilledError

PRELUDE = """
import os, signal, sys, threading, time
from ascend import AscendExecutor, ascend

def nap(seconds, value=None):
    print("begun", os.getpid(), flush=True)
    time.sleep(seconds)
    return value

"""


def begun(process):
    """Return the process id of the next task that the program says has begun."""
    for line in process.stdout:
        if "begun" in line:
            return int(line.rsplit(" ", 1)[1])
    pytest.fail(f"nothing began: {process.stderr.read()}")


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


# shutdown


@pytest.mark.parametrize("cancel_futures", [False, True])
@pytest.mark.parametrize("wait_for_it", [False, True])
def test_shutdown_in_all_four_ways(make_executor, gate, eventually, wait_for_it, cancel_futures):
    executor = make_executor(max_parallel=1)
    running, pending = executor.submit(gate.wait, 1), executor.submit(operator.neg, 2)
    eventually(gate.reached)
    if wait_for_it:
        threading.Timer(0.1, gate.open).start()

    executor.shutdown(wait=wait_for_it, cancel_futures=cancel_futures)

    assert running.done() == wait_for_it
    assert pending.cancelled() == cancel_futures
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 1, 1)
    gate.open()
    assert running.result(timeout=60) == 1
    if not cancel_futures:
        assert pending.result(timeout=60) == -2


def test_shutdown_may_be_called_again_and_before_anything_was_submitted(executor):
    executor.shutdown()
    executor.shutdown(wait=False)
    executor.shutdown(cancel_futures=True)


def test_shutdown_without_waiting_can_be_waited_for_later(executor, gate):
    future = executor.submit(gate.wait, 1)
    executor.shutdown(wait=False)
    gate.open()
    executor.shutdown(wait=True)

    assert future.result(timeout=0) == 1


def test_the_end_of_a_with_block_waits(make_executor):
    with make_executor() as executor:
        futures = [executor.submit(operator.neg, number) for number in range(3)]

    assert [future.result(timeout=0) for future in futures] == [0, -1, -2]


def test_an_exception_in_a_with_block_still_waits(make_executor):
    futures = []

    def work():
        with make_executor() as executor:
            futures.append(executor.submit(operator.neg, 1))
            raise LookupError

    with pytest.raises(LookupError):
        work()

    assert futures[0].result(timeout=0) == -1


def test_after_ctrl_c_a_with_block_stops_its_tasks(make_executor, gate):
    futures = []

    def work():
        with make_executor(max_parallel=1) as executor:
            futures.extend(executor.submit(gate.wait) for _ in range(2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()

    assert isinstance(futures[0].exception(timeout=0), TaskKilledError)
    assert futures[1].cancelled()


def test_shutdown_from_many_threads_at_once(executor):
    future = executor.submit(operator.neg, 1)
    threads = [threading.Thread(target=executor.shutdown) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not any(thread.is_alive() for thread in threads)
    assert future.result(timeout=0) == -1


def test_submitting_while_another_thread_shuts_down_ends_every_future(make_executor):
    for _ in range(5):
        executor = make_executor()
        futures = []

        def submit(executor=executor, futures=futures):
            try:
                for number in range(4):
                    futures.append(executor.submit(operator.neg, number))
            except RuntimeError:
                return

        thread = threading.Thread(target=submit)
        thread.start()
        executor.shutdown(wait=True)
        thread.join()
        assert not wait(futures, timeout=60).not_done


def test_a_callback_may_wait_for_the_end_of_another_executor(make_executor, gate):
    one, other = make_executor(), make_executor()
    slow = other.submit(gate.wait, 1)
    was_done = []
    ended = threading.Event()

    def end_the_other(_):
        other.shutdown(wait=True)
        was_done.append(slow.done())
        ended.set()

    one.submit(pow, 1, 1).add_done_callback(end_the_other)
    other_thread = threading.Timer(0.5, gate.open)
    other_thread.start()

    assert ended.wait(60)
    assert was_done == [True]
    other_thread.join()


# garbage


def test_an_executor_that_nobody_holds_completes_its_work_and_goes(leaves_nothing, eventually):
    executor = AscendExecutor(cluster="local", progress=False)
    run = weakref.ref(executor._run)
    futures = [executor.submit(operator.neg, number) for number in range(3)]
    del executor

    assert [future.result(timeout=60) for future in futures] == [0, -1, -2]
    del futures
    eventually(lambda: gc.collect() is not None and run() is None, "the end of the run")


def test_an_executor_that_was_never_used_goes_without_a_trace(leaves_nothing):
    AscendExecutor(cluster="local", progress=False)
    gc.collect()


# the end of the interpreter


def test_the_interpreter_waits_for_pending_work(client):
    ended = client.run(
        PRELUDE
        + """
executor = AscendExecutor(progress=False, max_parallel=1)
for number in range(3):
    executor.submit(nap, 0.1, number).add_done_callback(lambda f: print("result", f.result(), flush=True))
print("end of the program", flush=True)
"""
    )

    assert (ended.code, ended.err) == (0, "")
    lines = [line for line in ended.out.splitlines() if "begun" not in line]
    assert lines == ["end of the program", "result 0", "result 1", "result 2"]
    assert client.folders() == []


def test_nothing_can_be_submitted_while_the_interpreter_ends(client):
    ended = client.run(
        PRELUDE
        + """
executor = AscendExecutor(progress=False)

def again(future):
    try:
        executor.submit(pow, 1, 1)
    except RuntimeError as error:
        print(error, flush=True)

executor.submit(nap, 0.5).add_done_callback(again)
"""
    )

    assert "cannot schedule new futures after interpreter shutdown" in ended.out
    assert ended.code == 0


def test_an_exception_of_the_program_does_not_keep_it_from_ending(client):
    ended = client.run(
        PRELUDE + "executor = AscendExecutor(progress=False)\nexecutor.submit(nap, 0.1)\nraise LookupError(1)\n"
    )

    assert ended.code == 1
    assert "LookupError: 1" in ended.err
    assert client.folders() == []


# Ctrl-C


def test_ctrl_c_in_a_with_block_ends_the_program_and_its_tasks(client, eventually):
    process = client.start(
        PRELUDE
        + """
with AscendExecutor(progress=False, max_parallel=2) as executor:
    futures = [executor.submit(nap, 600) for _ in range(4)]
    futures[0].result()
"""
    )
    pids = [begun(process), begun(process)]

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert "KeyboardInterrupt" in err
    assert process.returncode == -signal.SIGINT
    assert all(is_gone(pid) for pid in pids)
    assert client.folders() == []


def test_ctrl_c_without_a_with_block_ends_the_program_and_its_tasks(client):
    process = client.start(PRELUDE + "executor = AscendExecutor(progress=False)\nexecutor.submit(nap, 600).result()\n")
    pid = begun(process)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)

    assert is_gone(pid)
    assert client.folders() == []


def test_ctrl_c_while_the_interpreter_waits_at_its_end_stops_the_tasks(client):
    process = client.start(PRELUDE + "executor = AscendExecutor(progress=False)\nexecutor.submit(nap, 600)\n")
    pid = begun(process)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)

    assert is_gone(pid)
    assert client.folders() == []


def test_ctrl_c_in_a_decorated_call_stops_it_and_the_program_goes_on(client, eventually):
    process = client.start(
        PRELUDE
        + """
@ascend
def decorated():
    return nap(600)

try:
    decorated()
except KeyboardInterrupt:
    print("interrupted", flush=True)

@ascend
def quick():
    return 42

print("then", quick(), flush=True)
"""
    )
    pid = begun(process)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert out.splitlines()[-2:] == ["interrupted", "then 42"], err
    assert process.returncode == 0
    assert is_gone(pid)


def test_a_second_ctrl_c_leaves_at_once_also_when_a_callback_hangs(client):
    process = client.start(
        PRELUDE
        + """
with AscendExecutor(progress=False) as executor:
    future = executor.submit(nap, 600)
    future.add_done_callback(lambda _: (print("stuck", flush=True), time.sleep(2)))
    future.result()
"""
    )
    pid = begun(process)

    process.send_signal(signal.SIGINT)
    next(line for line in process.stdout if "stuck" in line)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)

    assert process.returncode != 0
    assert is_gone(pid)


# by force


def test_a_client_that_is_killed_leaves_no_process_and_no_folder(client, eventually):
    process = client.start(
        PRELUDE
        + """
import subprocess

def with_a_child():
    child = subprocess.Popen(["sleep", "600"])
    print("begun", child.pid, flush=True)
    return nap(600)

executor = AscendExecutor(progress=False, max_parallel=2)
futures = [executor.submit(with_a_child), executor.submit(nap, 600), executor.submit(nap, 600)]
futures[0].result()
"""
    )
    pids = [begun(process) for _ in range(3)]
    assert len(client.folders()) == 1

    process.kill()
    process.wait()

    eventually(lambda: all(is_gone(pid) for pid in pids), "the end of the tasks")
    eventually(lambda: client.folders() == [], "the end of the folder")


def test_what_a_killed_client_left_is_removed_by_the_next_one(client):
    process = client.start(
        PRELUDE
        + """
executor = AscendExecutor(progress=False)
executor.submit(pow, 1, 1).result()
print("begun 0", flush=True)
time.sleep(600)
"""
    )
    begun(process)
    process.kill()
    process.wait()
    left = client.folders()

    assert client.run(PRELUDE + "print(AscendExecutor(progress=False).submit(pow, 2, 2).result())").out == "4\n"
    assert len(left) == 1
    assert client.folders() == []


# fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_gets_an_error_and_never_hangs(client):
    ended = client.run(
        PRELUDE
        + """
import warnings
warnings.simplefilter("ignore")

# What a task writes would come in the middle of what the child does.
executor = AscendExecutor(progress=False, max_parallel=1, stream_logs=False)
running, pending = executor.submit(nap, 1, 1), executor.submit(pow, 2, 2)
next(running.logs(follow=True))
pid = os.fork()
if pid == 0:
    for call in (lambda: executor.submit(pow, 1, 1), running.result, pending.result):
        try:
            call()
        except RuntimeError as error:
            print("child:", "forked" in str(error), flush=True)
    executor.shutdown()
    sys.exit(0)
print("status", os.waitpid(pid, 0)[1], flush=True)
print("parent:", running.result(), pending.result(), flush=True)
"""
    )

    lines = [line for line in ended.out.splitlines() if "begun" not in line]
    assert lines == ["child: True", "child: True", "child: True", "status 0", "parent: 1 4"], ended.err
    assert client.folders() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_many_threads_submit_never_hangs(client):
    ended = client.run(
        PRELUDE
        + """
import warnings
warnings.simplefilter("ignore")

executor = AscendExecutor(progress=False, max_parallel=1)
futures = []
thread = threading.Thread(target=lambda: futures.extend(executor.submit(pow, 1, 1) for _ in range(300)))
thread.start()
statuses = []
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            executor.submit(pow, 1, 1)
        except RuntimeError:
            os._exit(3)
        os._exit(4)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
thread.join()
executor.shutdown(cancel_futures=True)
print(statuses, flush=True)
"""
    )

    assert ended.out.splitlines()[-1] == "[3, 3, 3, 3, 3]", ended.err


# the reader of our output goes away


def test_a_reader_that_leaves_costs_no_result(client):
    process = client.start(
        PRELUDE
        + """
def talk():
    for number in range(3000):
        print("line", number, flush=number % 10 == 0)
    return "answer"

executor = AscendExecutor(progress=False, stream_logs=True)
futures = [executor.submit(talk) for _ in range(2)]
sys.stderr.write(f"{[future.result() for future in futures]}\\n")
sys.stderr.flush()
executor.shutdown()
os._exit(0)
"""
    )
    process.stdout.close()
    err = process.stderr.read()
    process.wait(30)

    assert "['answer', 'answer']" in err


def test_a_task_error_is_a_broken_executor_and_the_executor_is_not_broken(executor):
    exception = executor.submit(os._exit, 1).exception(timeout=60)

    assert isinstance(exception, TaskError)
    assert not executor._broken
    assert executor.submit(pow, 2, 2).result() == 4


def test_the_working_folder_of_the_client_may_disappear(client, tmp_path):
    ended = client.run(
        PRELUDE
        + f"""
executor = AscendExecutor(progress=False)
os.mkdir({str(tmp_path / "here")!r})
os.chdir({str(tmp_path / "here")!r})
os.rmdir({str(tmp_path / "here")!r})
print(executor.submit(pow, 2, 2).result(timeout=30), flush=True)
"""
    )

    assert ended.out == "4\n", ended.err


def test_the_threads_of_many_short_lived_executors_end(leaves_nothing):
    for number in range(10):
        with AscendExecutor(cluster="local", progress=False) as executor:
            if number % 2:
                assert executor.submit(operator.neg, number).result() == -number


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_that_ends_its_copy_leaves_the_parents_run_alone(client):
    ran = client.run("""
import os, sys
from ascend import AscendExecutor

if __name__ == "__main__":
    with AscendExecutor(progress=False) as executor:
        executor.submit(abs, -1).result()
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
        print(executor.submit(abs, -2).result(timeout=60))
""")

    assert (ran.out, ran.code) == ("2\n", 0), ran.err


def test_executors_that_are_collected_as_garbage_anywhere_deadlock_nothing(client):
    ran = client.run("""
import gc
from ascend import AscendExecutor

if __name__ == "__main__":
    gc.set_threshold(1)
    for _ in range(30):
        executor = AscendExecutor(progress=True)
        executor.me = executor
    del executor
    print("done")
""")

    assert (ran.out, ran.code) == ("done\n", 0), ran.err


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_in_a_map_stops_its_running_tasks(client):
    ran = client.run("""
import os, signal, threading, time
from ascend import AscendExecutor

if __name__ == "__main__":
    executor = AscendExecutor(progress=False, max_parallel=2)
    results = executor.map(time.sleep, [300] * 4)
    threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGINT]).start()
    try:
        next(results)
    except KeyboardInterrupt:
        print(executor.submit(abs, -1).result(timeout=60))
    executor.shutdown()
""")

    assert (ran.out, ran.code) == ("1\n", 0), ran.err
