"""`AscendExecutor.map`: order, chunks, back-pressure, timeouts, and what happens to the calls that are left."""

import gc
import itertools
import operator
import weakref

import pytest

from ascend.errors import SerializationError, TaskCrashedError


def test_results_come_in_the_order_of_the_items(executor, gate):
    def first_waits(number, wait):
        return wait(number) if number == 0 else number

    results = executor.map(first_waits, range(4), itertools.repeat(gate.wait))
    gate.open()

    assert list(results) == [0, 1, 2, 3]


def test_the_shortest_iterable_ends_it(executor):
    assert list(executor.map(pow, [2, 3, 4], itertools.count(1))) == [2, 9, 64]


def test_no_items_are_no_results(executor):
    assert list(executor.map(pow, [], [])) == []


def test_the_same_map_twice_gives_the_same_results(executor):
    assert list(executor.map(operator.neg, range(2))) == [0, -1]
    assert list(executor.map(operator.neg, range(2))) == [0, -1]


@pytest.mark.parametrize("chunksize", [2, 3, 100])
def test_chunks_change_nothing_but_the_number_of_tasks(executor, chunksize):
    def call(number, other):
        import os

        return number * other, os.environ["ASCEND_TASK_ID"]

    results = list(executor.map(call, range(5), range(5), chunksize=chunksize))

    assert [result for result, _ in results] == [0, 1, 4, 9, 16]
    assert len({task for _, task in results}) == -(-5 // chunksize)


def test_an_exception_in_a_chunk_is_raised_at_that_chunk(executor):
    results = executor.map(operator.truediv, [1, 1, 1, 1], [1, 1, 0, 1], chunksize=2)

    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("chunksize", [0, -1])
def test_a_chunk_has_at_least_one_item(executor, chunksize):
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(pow, [1], [1], chunksize=chunksize)


@pytest.mark.parametrize(
    ("buffersize", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (2.0, TypeError)]
)
def test_a_buffer_has_at_least_one_place(executor, buffersize, error):
    with pytest.raises(error, match="buffersize"):
        executor.map(pow, [1], [1], buffersize=buffersize)


def test_an_unknown_keyword_is_refused(executor):
    with pytest.raises(TypeError):
        executor.map(pow, [1], [1], buffer_size=1)


def test_without_a_buffer_all_items_are_taken_at_once(executor):
    items = iter(range(3))
    results = executor.map(operator.neg, items)

    assert list(items) == []
    assert list(results) == [0, -1, -2]


def test_a_buffer_takes_an_item_only_when_there_is_a_place(executor):
    taken = []
    items = (taken.append(number) or number for number in itertools.count())

    results = executor.map(operator.neg, items, buffersize=2)

    assert taken == [0, 1]
    assert next(results) == 0
    assert taken in ([0, 1], [0, 1, 2])
    assert next(results) == -1
    assert len(taken) in {3, 4}
    results.close()


def test_a_buffer_and_chunks_go_together(executor):
    taken = []
    items = (taken.append(number) or number for number in itertools.count())

    results = executor.map(operator.neg, items, chunksize=3, buffersize=1)

    assert taken == [0, 1, 2]
    assert [next(results) for _ in range(4)] == [0, -1, -2, -3]
    assert len(taken) in {6, 9}
    results.close()


def test_a_buffer_gives_all_results_of_a_finite_iterable(executor):
    assert list(executor.map(operator.neg, range(5), buffersize=2)) == [0, -1, -2, -3, -4]
    assert list(executor.map(operator.neg, [], buffersize=2)) == []


def test_the_timeout_counts_from_the_call_and_cancels_what_is_left(make_executor, gate, eventually):
    executor = make_executor(max_parallel=1)

    results = executor.map(gate.wait, range(3), timeout=0.2)
    with pytest.raises(TimeoutError):
        next(results)
    eventually(gate.reached)
    gate.open()
    executor.shutdown()

    assert len(gate.reached()) == 1


def test_a_timeout_of_zero_is_one(executor, gate):
    with pytest.raises(TimeoutError):
        next(executor.map(gate.wait, [1], timeout=0))


@pytest.mark.parametrize("chunksize", [1, 2])
def test_what_is_left_when_the_iterator_is_closed_is_cancelled(make_executor, gate, eventually, chunksize):
    executor = make_executor(max_parallel=1)

    def call(number, wait):
        return number if number < 2 else wait(number)

    results = executor.map(call, range(12), itertools.repeat(gate.wait), chunksize=chunksize)
    assert next(results) == 0
    results.close()
    gate.open()
    executor.shutdown()

    assert len(gate.reached()) <= 1 + chunksize


def test_an_exception_ends_the_iterator_and_cancels_what_is_left(make_executor, tmp_path):
    executor = make_executor(max_parallel=1)

    def call(number, folder):
        import pathlib

        pathlib.Path(folder, str(number)).touch()
        return 1 / number

    folder = tmp_path / "ran"
    folder.mkdir()
    results = executor.map(call, [0, *range(1, 20)], itertools.repeat(str(folder)))
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    executor.shutdown()

    assert len(list(folder.iterdir())) < 20


def test_an_item_that_cannot_be_pickled_is_raised_in_its_place(executor):
    results = executor.map(id, [1, (number for number in [1])])

    assert isinstance(next(results), int)
    with pytest.raises(SerializationError):
        next(results)


def test_a_crash_is_raised_in_its_place(executor):
    def crash(number):
        import os

        if number:
            os._exit(number)
        return number

    results = executor.map(crash, [0, 5])

    assert next(results) == 0
    with pytest.raises(TaskCrashedError, match="code 5"):
        next(results)


def test_an_iterable_that_raises_is_raised_to_the_caller(executor):
    def items():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        executor.map(operator.neg, items())


def test_an_iterable_that_raises_later_is_raised_by_the_iterator(executor):
    def items():
        yield 1
        yield 2
        raise LookupError("no more")

    results = executor.map(operator.neg, items(), buffersize=2)
    with pytest.raises(LookupError, match="no more"):
        list(results)


@pytest.mark.parametrize("chunksize", [1, 3])
def test_the_iterator_keeps_no_result_that_it_gave(executor, eventually, chunksize):
    class Result:
        def __init__(self, number):
            self.number = number

    results = executor.map(Result, range(3), chunksize=chunksize)
    for number in range(3):
        result = next(results)
        assert result.number == number
        gone = weakref.ref(result)
        del result
        eventually(lambda gone=gone: gc.collect() is not None and gone() is None, "the end of the result")


def test_an_iterator_that_nobody_takes_from_does_not_keep_the_program(make_executor):
    executor = make_executor()
    executor.map(operator.neg, range(3))
    executor.shutdown()
