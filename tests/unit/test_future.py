"""`AscendFuture`: a standard Future in every respect, and what it knows besides."""

import asyncio
import concurrent.futures
import logging
import operator
import signal
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from pathlib import Path

import pytest

from ascend import AscendFuture, as_completed, wait
from ascend.errors import TaskKilledError


@pytest.fixture
def single(make_executor):
    """Return an executor with one slot."""
    return make_executor(max_parallel=1)


def test_it_is_a_future_of_the_standard_library(executor):
    future = executor.submit(pow, 2, 2)

    assert isinstance(future, Future)
    assert future.result(timeout=60) == 4
    assert future.exception() is None
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert "finished" in repr(future)


def test_it_can_be_made_without_an_executor_as_tests_of_users_do():
    future = AscendFuture()
    future.set_result(1)

    assert (future.result(), future.task_id, future.run_id, list(future.logs())) == (1, "", "", [])
    assert not future.kill()


def test_it_knows_its_task_and_its_run(executor):
    first, second = executor.submit(pow, 1, 1), executor.submit(pow, 1, 1)

    assert first.run_id == second.run_id == executor.run_id
    assert first.task_id != second.task_id
    assert first.task_id.startswith(first.run_id)
    assert (first.result(), first.attempts) == (1, 1)


def test_wait_and_as_completed_know_it(executor):
    futures = [executor.submit(operator.neg, number) for number in range(3)]

    assert wait(futures, timeout=60).not_done == set()
    assert sorted(future.result() for future in as_completed(futures)) == [-2, -1, 0]


def test_waiting_for_the_first_does_not_wait_for_the_last(executor, gate):
    slow, quick = executor.submit(gate.wait), executor.submit(pow, 1, 1)

    done, rest = wait([slow, quick], timeout=60, return_when=concurrent.futures.FIRST_COMPLETED)

    assert (done, rest) == ({quick}, {slow})


def test_a_result_that_does_not_come_in_time_is_a_timeout_and_nothing_more(executor, gate):
    future = executor.submit(gate.wait, 5)

    with pytest.raises(TimeoutError):
        future.result(timeout=0.05)
    gate.open()

    assert future.result(timeout=60) == 5


def test_nobody_else_may_settle_it(executor):
    future = executor.submit(pow, 2, 2)
    future.result()

    with pytest.raises(InvalidStateError):
        future.set_result(5)


# cancel


def test_a_pending_call_can_be_cancelled_and_never_runs(single, gate, tmp_path):
    single.submit(gate.wait)
    future = single.submit((tmp_path / "ran").touch)

    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result()
    gate.open()
    single.shutdown()
    assert not (tmp_path / "ran").exists()


def test_whoever_waits_hears_of_a_cancellation_at_once(single, gate):
    single.submit(gate.wait)
    futures = [single.submit(pow, 1, 1) for _ in range(3)]
    for future in futures:
        future.cancel()

    assert wait(futures, timeout=0).not_done == set()
    assert len(list(as_completed(futures, timeout=0))) == 3


def test_a_running_call_cannot_be_cancelled(executor, gate):
    future = executor.submit(gate.wait, 7)

    assert not future.cancel()
    gate.open()

    assert future.result() == 7


def test_what_shutdown_cancels_arrives_in_as_completed(single, gate):
    running = single.submit(gate.wait, 1)
    futures = [single.submit(pow, 1, 1) for _ in range(3)]

    single.shutdown(wait=False, cancel_futures=True)

    assert all(future.cancelled() for future in as_completed(futures, timeout=10))
    gate.open()
    assert running.result() == 1


def test_a_callback_of_a_cancelled_future_is_called_once(single, gate):
    single.submit(gate.wait)
    called = []
    future = single.submit(pow, 1, 1)
    future.add_done_callback(called.append)

    future.cancel()
    future.cancel()

    assert called == [future]


def test_submitting_and_cancelling_in_a_race_ends_every_future(make_executor):
    executor = make_executor(max_parallel=2)
    futures = []
    made = threading.Semaphore(0)

    def cancel_all():
        for number in range(500):
            made.acquire()
            futures[number].cancel()

    threads = [threading.Thread(target=cancel_all)]
    for thread in threads:
        thread.start()
    for number in range(500):
        futures.append(executor.submit(operator.neg, number))
        made.release()
    for thread in threads:
        thread.join()

    assert wait(futures, timeout=60).not_done == set()
    for number, future in enumerate(futures):
        assert future.cancelled() or future.result() == -number
    executor.shutdown()


# kill


def test_a_running_task_can_be_killed_and_its_process_goes(executor, gate, eventually):
    future = executor.submit(gate.wait)
    eventually(gate.reached)

    assert future.kill()

    with pytest.raises(TaskKilledError):
        future.result(timeout=60)
    eventually(lambda: not Path(f"/proc/{gate.reached()[0]}").exists(), "the end of the process")
    assert not future.kill()
    assert executor.submit(pow, 2, 2).result() == 4


def test_a_task_may_be_killed_at_any_moment_of_its_start(executor):
    for _ in range(10):
        future = executor.submit(signal.pause)
        assert future.kill()
        # It waits for a slot while the two before it are still ending.
        with pytest.raises((TaskKilledError, CancelledError)):
            future.result(timeout=60)


def test_killing_a_pending_task_cancels_it(single, gate):
    single.submit(gate.wait)
    future = single.submit(pow, 1, 1)

    assert future.kill()
    assert future.cancelled()


def test_a_killed_task_frees_its_slot(single, gate):
    first = single.submit(gate.wait)
    second = single.submit(pow, 2, 2)

    first.kill()

    assert second.result(timeout=60) == 4


# logs, explain, timeline


def test_the_lines_of_a_task_are_there_after_its_end(executor):
    future = executor.submit(print, "one\ntwo")
    future.result()

    assert list(future.logs()) == ["one", "two"]
    assert list(future.logs(follow=True)) == ["one", "two"]


def test_whoever_follows_gets_lines_while_the_task_runs(executor, gate):
    def talk(wait):
        print("before")
        wait()
        print("after")

    future = executor.submit(talk, gate.wait)
    lines = future.logs(follow=True)

    assert next(lines) == "before"
    assert list(future.logs()) == ["before"]
    gate.open()
    assert list(lines) == ["after"]


def test_following_ends_for_a_task_that_was_cancelled(single, gate):
    single.submit(gate.wait)
    future = single.submit(pow, 1, 1)
    lines = []
    follower = threading.Thread(target=lambda: lines.extend(future.logs(follow=True)))
    follower.start()

    future.cancel()
    follower.join(30)

    assert not follower.is_alive()
    assert lines == []


def test_following_ends_for_a_task_that_was_killed(executor, gate, eventually):
    future = executor.submit(gate.wait)
    eventually(gate.reached)
    future.kill()

    assert list(future.logs(follow=True)) == []


def test_it_says_what_it_is_waiting_for(single, gate):
    running, pending = single.submit(gate.wait), single.submit(pow, 1, 1)
    cancelled, failed = single.submit(pow, 1, 1), single.submit(operator.truediv, 1, 0)
    cancelled.cancel()

    assert "slot" in pending.explain()
    assert "phase" in running.explain()
    assert "cancelled" in cancelled.explain()
    gate.open()
    wait([running, failed])
    assert "done" in running.explain()
    assert "ZeroDivisionError" in failed.explain()


def test_the_timeline_of_a_pending_task_is_its_wait(single, gate):
    single.submit(gate.wait)
    future = single.submit(pow, 1, 1)

    assert [phase.name for phase in future.timeline.phases] == ["queue"]


def test_the_timeline_of_a_cancelled_task_stands_still(single, gate, eventually):
    single.submit(gate.wait)
    future = single.submit(pow, 1, 1)
    future.cancel()
    ended = future.timeline.seconds

    eventually(gate.reached)

    assert future.timeline.seconds == ended


# callbacks


def test_a_callback_gets_the_future_also_after_its_end(executor):
    called = []
    future = executor.submit(pow, 2, 2)
    future.result()

    future.add_done_callback(called.append)

    assert called == [future]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_callback_raises_is_logged_and_harms_nothing(executor, caplog, error):
    def callback(_):
        raise error

    caplog.set_level(logging.ERROR)
    future = executor.submit(pow, 2, 2)
    called = threading.Event()
    future.add_done_callback(callback)
    future.add_done_callback(lambda _: called.set())

    assert future.result() == 4
    assert called.wait(60)
    assert executor.submit(pow, 2, 3).result(timeout=60) == 8
    assert error.__name__ in caplog.text


def test_a_callback_may_submit(executor):
    second = Future()

    def submit(first):
        second.set_result(executor.submit(pow, first.result(), 2))

    executor.submit(pow, 2, 2).add_done_callback(submit)

    assert second.result(timeout=60).result(timeout=60) == 16


def test_a_callback_may_wait_for_other_futures(single):
    results = Future()

    def wait_for_others(_):
        others = [single.submit(operator.neg, number) for number in range(3)]
        results.set_result([other.result(timeout=60) for other in others])

    single.submit(pow, 1, 1).add_done_callback(wait_for_others)

    assert results.result(timeout=60) == [0, -1, -2]


def test_a_callback_may_shut_the_executor_down(executor):
    ended = threading.Event()

    def end(_):
        executor.shutdown(wait=True)
        ended.set()

    future = executor.submit(pow, 2, 2)
    future.add_done_callback(end)

    assert ended.wait(60)
    assert future.result() == 4
    with pytest.raises(RuntimeError):
        executor.submit(pow, 1, 1)
    executor.shutdown()


def test_a_callback_may_cancel_and_kill_others(executor, gate, eventually):
    other, pending = executor.submit(gate.wait), None
    eventually(gate.reached)
    first = executor.submit(pow, 1, 1)
    pending = executor.submit(gate.wait)
    first.add_done_callback(lambda _: (pending.kill(), other.kill()))

    assert wait([other, pending], timeout=60).not_done == set()


# asyncio


def test_it_can_be_awaited(executor):
    async def main():
        return await asyncio.wrap_future(executor.submit(pow, 2, 5))

    assert asyncio.run(main()) == 32


def test_the_executor_serves_an_event_loop(executor):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, pow, 2, number) for number in range(3)))

    assert asyncio.run(main()) == [1, 2, 4]


def test_an_exception_reaches_the_one_who_awaits(executor):
    async def main():
        await asyncio.get_running_loop().run_in_executor(executor, operator.truediv, 1, 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_cancelling_what_awaits_a_pending_call_cancels_the_call(single, gate):
    blocker = single.submit(gate.wait)
    future = single.submit(pow, 2, 2)

    async def main():
        task = asyncio.ensure_future(asyncio.wrap_future(future))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    gate.open()

    assert future.cancelled()
    assert blocker.result() is None
