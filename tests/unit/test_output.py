"""What a task writes: whole lines, in order, from wherever they come; and how much of it is kept."""

import threading

import pytest

from ascend._core.output import Output, displayed


def lines_of(executor, function, *args):
    future = executor.submit(function, *args)
    future.result(timeout=60)
    return list(future.logs())


# Through a process.


def test_both_streams_come_in_the_order_in_which_they_were_written(executor):
    def write():
        import sys

        for number in range(50):
            print("line", number, file=(sys.stdout, sys.stderr)[number % 2])

    assert lines_of(executor, write) == [f"line {number}" for number in range(50)]


def test_programs_descriptors_and_compiled_code_are_in_that_order_too(executor):
    def write():
        import ctypes
        import os
        import subprocess
        import sys

        libc = ctypes.CDLL(None)
        for number in range(3):
            print("print", number)
            os.write(1, b"write %d\n" % number)
            os.write(2, b"write to 2\n")
            subprocess.run(["echo", "echo", str(number)], check=True)
            libc.printf(b"printf %d\n", number)
            libc.fflush(None)
            sys.stderr.write("end\n")

    expected = [
        line
        for number in range(3)
        for line in (f"print {number}", f"write {number}", "write to 2", f"echo {number}", f"printf {number}", "end")
    ]
    assert lines_of(executor, write) == expected


def test_what_compiled_code_still_holds_at_the_end_is_not_lost(executor):
    def write():
        import ctypes

        ctypes.CDLL(None).printf(b"not flushed\n")

    assert lines_of(executor, write) == ["not flushed"]


def test_a_line_written_in_pieces_is_one_line(executor, gate):
    def write(wait):
        import sys

        sys.stdout.write("one ")
        sys.stdout.flush()
        sys.stdout.write("line\n")

    assert lines_of(executor, write, gate.wait) == ["one line"]


def test_a_last_line_without_an_end_is_a_line(executor):
    def write():
        print("whole")
        print("rest", end="")

    assert lines_of(executor, write) == ["whole", "rest"]


def test_empty_lines_and_blanks_are_kept(executor):
    assert lines_of(executor, print, "\n  a\n\n") == ["", "  a", "", ""]


def test_a_hundred_thousand_lines_are_all_there_and_in_order(executor):
    def write():
        import sys

        sys.stdout.reconfigure(line_buffering=False)
        for number in range(100_000):
            print(number)

    quiet = executor.with_options(stream_logs=False)

    assert lines_of(quiet, write) == [str(number) for number in range(100_000)]


def test_what_is_no_utf8_is_shown_as_well_as_can_be(executor):
    def write():
        import os

        os.write(1, b"caf\xe9 \xe2\x82\xac\n")

    assert lines_of(executor, write) == ["caf\ufffd \u20ac"]


def test_text_beyond_ascii_needs_no_setting_of_the_machine(executor, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("LANG", "C")

    assert lines_of(executor, print, "\u20ac \U0001f600") == ["\u20ac \U0001f600"]


def test_a_character_of_many_bytes_is_never_cut(executor):
    def write():
        print("\u20ac" * 100_000)

    assert lines_of(executor, write) == ["\u20ac" * 100_000]


def test_lines_are_shown_while_they_come_unless_that_is_not_wanted(make_executor, capfd):
    make_executor(stream_logs=True).submit(print, "shown").result()
    make_executor(stream_logs=False).submit(print, "hidden").result()
    make_executor().shutdown()

    shown = capfd.readouterr()

    assert "shown" in shown.out + shown.err
    assert "hidden" not in shown.out + shown.err


def test_a_line_says_whose_it_is_only_when_several_tasks_run(make_executor, capfd, gate, eventually):
    executor = make_executor(stream_logs=True)

    def talk(text, wait):
        print(text)
        wait()

    executor.submit(print, "alone").result()
    futures = [executor.submit(talk, "together", gate.wait) for _ in range(2)]
    eventually(lambda: len(gate.reached()) == 2)
    gate.open()
    for future in futures:
        future.result()
    executor.shutdown()

    lines = "".join(capfd.readouterr()).splitlines()
    assert "alone" in lines
    assert any("talk" in line for line in lines if "together" in line)


# What is shown of a line.


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("windows\r", "windows"),
        ("10%\r50%\r100%", "100%"),
        ("10%\r50%\r", "50%"),
        ("", ""),
        ("\r", ""),
    ],
)
def test_of_a_line_that_rewrites_itself_the_last_state_is_shown(line, shown):
    assert displayed(line) == shown


# What is kept.


def test_lines_can_be_read_again_and_again():
    output = Output()
    output.add(["one", "two"])

    assert list(output.read(follow=False)) == list(output.read(follow=False)) == ["one", "two"]


def test_the_last_lines_are_the_tail():
    output = Output()
    output.add([str(number) for number in range(5)])

    assert output.tail(2) == ("3", "4")
    assert output.tail(10) == ("0", "1", "2", "3", "4")
    assert Output().tail(3) == ()


def test_beyond_a_million_characters_the_oldest_lines_go():
    output = Output()
    for number in range(30):
        output.add([f"{number:02}" + "x" * 99_998])

    lines = list(output.read(follow=False))

    assert lines[0] == "... 20 earlier lines are no longer kept"
    assert [line[:2] for line in lines[1:]] == [str(number) for number in range(20, 30)]


def test_one_line_is_kept_however_long_it_is():
    output = Output()
    output.add(["short", "x" * 3_000_000])

    assert output.tail(5) == ("x" * 3_000_000,)


def test_whoever_follows_gets_what_comes_and_ends_at_the_end():
    output = Output()
    output.add(["before"])
    seen = []
    follower = threading.Thread(target=lambda: seen.extend(output.read(follow=True)))
    follower.start()
    for number in range(100):
        output.add([str(number)])
    output.end()
    follower.join(30)

    assert seen == ["before", *map(str, range(100))]


def test_a_follower_that_is_slow_is_told_what_it_missed():
    output = Output()
    output.add(["first"])
    reader = output.read(follow=True)
    assert next(reader) == "first"
    for number in range(30):
        output.add([f"{number:02}" + "x" * 99_998])
    output.end()

    lines = list(reader)

    assert "20 earlier lines" in lines[0]
    assert len(lines) == 11
