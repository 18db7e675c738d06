"""What tasks write, line by line: while they run and after, none lost and none twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

from ascend import AscendExecutor
from tests.cluster.test_calls import by_value


@by_value
def count(lines, pause=0.0, width=0):
    import sys
    import time

    for number in range(lines):
        print(f"line {number}" + "x" * width, file=(sys.stdout, sys.stderr)[number % 2], flush=True)
        time.sleep(pause)
    print("no end", end="")
    return lines


def expected(lines, width=0):
    return [*(f"line {number}" + "x" * width for number in range(lines)), "no end"]


def test_lines_come_while_the_task_runs(executor):
    future = executor.submit(count, 40, 0.1)
    seen = [(line, future.done()) for line in future.logs(follow=True)]
    assert [line for line, _ in seen] == expected(40)
    assert not any(done for _, done in seen[:20])


def test_a_pod_that_ends_at_once_has_all_its_lines(executor):
    futures = [executor.submit(count, number) for number in (0, 1, 3000)]
    assert [future.result() for future in futures] == [0, 1, 3000]
    assert [list(future.logs()) for future in futures] == [expected(0), expected(1), expected(3000)]


def test_lines_are_shown_with_the_name_of_their_task_when_several_run(kubernetes, capsys):
    with AscendExecutor(progress=False) as executor:
        futures = [executor.submit(count, 20, 0.1) for _ in range(2)]
        for future in futures:
            future.result()
    lines = capsys.readouterr().out.splitlines()
    labelled = [line for line in lines if re.match(r"count#[12]: line \d+", line)]
    assert len(labelled) >= 38
    assert len([line for line in lines if line.endswith("no end")]) == 2


def test_an_answer_in_the_output_is_no_line_of_the_users(executor):
    @by_value
    def talk():
        print("before")
        print("without an end", end="")
        return b"x" * 1_000_000

    future = executor.submit(talk)
    assert len(future.result()) == 1_000_000
    assert list(future.logs()) == ["before", "without an end"]


def test_a_log_that_is_rotated_is_read_to_its_end(executor):
    # The kubelet begins a new file beyond 10 MiB, and looks every ten seconds.
    lines, width = 3000, 8000
    future = executor.submit(count, lines, 0.008, width)
    heads = [re.match(r"line (\d+)x", line) for line in future.logs(follow=True)]
    numbers = [int(head[1]) if head else -1 for head in heads]
    assert future.result() == lines
    # The client keeps the last megabyte, and has seen every line of it in order.
    assert numbers == [*range(lines), -1]


def test_the_last_lines_of_a_crash_are_quoted(executor):
    @by_value
    def crash():
        import os

        print("the last words", flush=True)
        os.abort()

    exception = executor.submit(crash).exception()
    assert "the last words" in str(exception)


def test_who_wants_no_lines_on_the_terminal_still_has_them(make_executor, capsys):
    future = make_executor(stream_logs=False).submit(count, 3)
    assert future.result() == 3
    assert list(future.logs()) == expected(3)
    assert "line" not in capsys.readouterr().out


def test_the_timeline_says_where_the_time_went(executor):
    future = executor.submit(count, 10, 0.1)
    future.result()
    assert future.timeline["run"].seconds >= 1
    assert future.timeline["start"].seconds > 0
    assert abs(future.timeline["queue"].started - time.time()) < 120


def test_the_output_of_a_task_that_failed_is_kept_in_its_storage(make_executor, bucket, kubernetes):
    @by_value
    def fail(words):
        print(words)
        raise ValueError(words)

    executor = make_executor(storage=bucket, project="kept", user="ada")
    failing, fine = executor.submit(fail, "the last words"), executor.submit(count, 3)
    assert type(failing.exception()) is ValueError
    assert fine.result() == 3
    executor.shutdown()
    environ = {**os.environ, "ASCEND_STORAGE": bucket, "ASCEND_PROJECT": "kept", "ASCEND_USER": "ada"}
    shown = {}
    for future in (failing, fine):
        command = [sys.executable, "-m", "ascend", "jobs", "logs", f"asc-{future.task_id}"]
        result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        shown[future] = result.stdout if result.returncode == 0 else result.stderr
    assert shown[failing] == "the last words\n"
    assert "there is no Job" in shown[fine]
