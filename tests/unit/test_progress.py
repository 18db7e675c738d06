from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from contextlib import redirect_stderr, redirect_stdout

import pytest

from ascend._core.progress.board import Board
from ascend._core.progress.display import LinesDisplay, StatusDisplay, make_display
from ascend.model import Needs, Task

PREAMBLE = """
import os, sys, threading, time
from ascend._core.progress.display import make_display
from ascend.model import Needs, Task

def task(number, function="train"):
    return Task(f"r-{number}", "r", f"asc-r-{number}", function, "u", "p", Needs())

def drawn():
    # Two pictures: what is shown now was drawn after this was called.
    from ascend._core.progress import region as progress_region
    surface, seen = progress_region.the_region()._surface, []
    done, draw = threading.Event(), surface.draw
    def spy(board):
        draw(board)
        seen.append(1)
        if len(seen) == 2:
            done.set()
    surface.draw = spy
    assert done.wait(30)
    surface.draw = draw
"""


def task(number: int, function: str = "train") -> Task:
    return Task(f"r-{number}", "r", f"asc-r-{number}", function, "u", "p", Needs())


def on_terminal(code: str, *, stdout: str = "terminal") -> tuple[str, str]:
    """Run *code* with a terminal as standard error, and as standard output too unless that is a pipe."""
    import pty

    main, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", "PYTHONUTF8": "1"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)],
        stdin=subprocess.DEVNULL,
        stdout=end if stdout == "terminal" else subprocess.PIPE,
        stderr=end,
        env=environment,
    )
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(main)
    piped = process.communicate()[0]
    assert process.returncode == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n"), (piped or b"").decode()


def screen(shown: str) -> list[str]:
    """Return the lines that stand on the terminal in the end: an emulation of what rich uses."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\??[\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b"):
            if part.endswith("A"):
                row = max(row - int(part[2:-1] or 1), 0)
            elif part.endswith("K"):
                lines[row] = ""
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


terminal = pytest.mark.skipif(sys.platform == "win32", reason="the standard library has no pseudo-terminal there")


def test_without_a_terminal_there_are_only_lines() -> None:
    with redirect_stderr(io.StringIO()) as errors, redirect_stdout(io.StringIO()) as output:
        display = make_display(None)
        display.submitted(task(1), None)
        display.phase(task(1), "run")
        display.note("resolving")
        display.lines(None, ["epoch 1", "epoch 2"])
        display.lines("train", ["epoch 3"])
        display.finished(task(1), "succeeded")
        display.close()
    assert output.getvalue() == "epoch 1\nepoch 2\ntrain: epoch 3\n"
    assert errors.getvalue() == ""


def test_switched_off_it_still_prints_lines_of_tasks() -> None:
    with redirect_stdout(io.StringIO()) as output:
        make_display(False).lines(None, ["epoch 1"])
    assert output.getvalue() == "epoch 1\n"


def test_asked_for_without_a_terminal_it_writes_status_lines() -> None:
    with redirect_stderr(io.StringIO()) as errors:
        display = make_display(True)
        assert isinstance(display, StatusDisplay)
        display.submitted(task(1), None)
        for phase in ("queue", "environment", "pack", "run"):
            display.phase(task(1), phase)
        display.finished(task(1), "failed")
    assert errors.getvalue() == "train: preparing its environment\ntrain: running\ntrain: failed\n"


def test_status_lines_of_a_map_end_with_its_counts() -> None:
    with redirect_stderr(io.StringIO()) as errors:
        display = make_display(True)
        for number in range(40):
            display.submitted(task(number, "score"), "score-1")
        display.group("score-1", 40)
        for number in range(40):
            display.phase(task(number, "score"), "run")
            display.finished(task(number, "score"), "failed" if number == 7 else "succeeded")
    assert errors.getvalue().splitlines()[-1] == "map score: 40/40 done, 1 failed"
    assert len(errors.getvalue().splitlines()) < 40


def test_a_map_that_ran_faster_than_it_was_submitted_has_its_line() -> None:
    with redirect_stderr(io.StringIO()) as errors:
        display = make_display(True)
        for number in range(3):
            display.submitted(task(number, "score"), "score-1")
            display.finished(task(number, "score"), "succeeded")
        display.group("score-1", 3)
    assert errors.getvalue().splitlines()[-1] == "map score: 3/3 done"


def test_lines_of_many_threads_stay_whole() -> None:
    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            for character in text:
                super().write(character)
            return len(text)

    display, output = LinesDisplay(), Slow()

    def repeat(name: str) -> None:
        for _ in range(20):
            display.lines(name, ["x" * 50])

    with redirect_stdout(output):
        threads = [threading.Thread(target=repeat, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(output.getvalue().splitlines()) == sorted(f"{name}: {'x' * 50}" for name in "abcd" for _ in range(20))


@pytest.mark.parametrize("progress", [None, True, False])
def test_a_reader_that_has_gone_harms_nobody(progress: bool | None) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as broken, redirect_stdout(broken), redirect_stderr(broken):  # noqa: PTH123
        display = make_display(progress)
        display.submitted(task(1), None)
        display.phase(task(1), "run")
        display.lines(None, ["x" * 100_000])
        display.note("resolving")
        display.finished(task(1), "succeeded")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)


def test_a_closed_standard_output_harms_nobody() -> None:
    closed = io.StringIO()
    closed.close()
    with redirect_stdout(closed):
        LinesDisplay().lines(None, ["epoch 1"])


def test_a_narrow_encoding_loses_no_line() -> None:
    raw = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(raw, encoding="ascii", newline="\n")):
        LinesDisplay().lines(None, ["größer"])
        assert raw.getvalue() == b"gr\\xf6\\xdfer\n"


def test_the_board_names_the_oldest_and_counts_the_rest() -> None:
    board = Board()
    for number in range(40):
        board.submitted(task(number, f"f{number}"), None, owner=1)
    rows, more, bars = board.snapshot(10)
    assert ([row.function for row in rows], more, bars) == ([f"f{number}" for number in range(10)], 30, [])


def test_the_board_keeps_nothing_of_what_has_finished() -> None:
    board = Board()
    for number in range(100):
        board.submitted(task(number), "g", owner=1)
    board.group("g", 100)
    last = [board.finished(task(number), "succeeded") for number in range(100)]
    assert last == [False] * 99 + [True]
    assert board.snapshot(10) == ([], 0, [])
    assert board.bar("g") is None


def test_the_board_forgets_one_owner_only() -> None:
    board = Board()
    board.submitted(task(1, "mine"), None, owner="a")
    board.submitted(task(2, "theirs"), "g", owner="b")
    assert not board.forget("a")
    assert board.forget("b")


@terminal
def test_a_terminal_shows_a_pending_task_and_then_nothing_of_it() -> None:
    shown, _ = on_terminal("""
        display = make_display(None)
        display.submitted(task(1), None)
        display.phase(task(1), "run")
        drawn()
        display.finished(task(1), "succeeded")
        print("the end")
    """)
    assert re.search(r"train.*run.* 0 s", shown)
    assert screen(shown) == ["the end"]
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


@terminal
def test_a_terminal_shows_ten_tasks_and_a_bar_for_a_map() -> None:
    shown, _ = on_terminal("""
        display = make_display(None)
        for number in range(40):
            display.submitted(task(number, f"f{number}"), None)
        for number in range(100, 140):
            display.submitted(task(number, "score"), "score-1")
        display.group("score-1", 40)
        display.finished(task(100, "score"), "succeeded")
        display.finished(task(101, "score"), "failed")
        display.phase(task(102, "score"), "run")
        drawn()
        display.close()
    """)
    assert "f9" in shown
    assert "f10" not in shown
    assert "... and 30 more" in shown
    assert re.search(r"score.*2/40 done, 1 running, 1 failed, \d+:\d\d left", shown)


@terminal
def test_lines_and_prints_go_above_what_is_live() -> None:
    shown, _ = on_terminal("""
        display = make_display(None)
        display.submitted(task(1), None)
        drawn()
        threads = [
            threading.Thread(target=lambda name=name: [display.lines(name, [f"line {n}"]) for n in range(50)])
            for name in "abcd"
        ]
        for thread in threads: thread.start()
        for number in range(50):
            print("print", number)
            print("error", number, file=sys.stderr)
        for thread in threads: thread.join()
        drawn()
        print("not ended", end="")
        display.finished(task(1), "succeeded")
    """)
    expected = [f"{name}: line {n}" for name in "abcd" for n in range(50)]
    expected += [f"{what} {number}" for what in ("print", "error") for number in range(50)]
    assert sorted(screen(shown)) == sorted([*expected, "not ended"])


@terminal
def test_user_text_is_no_markup_and_keeps_its_colours() -> None:
    shown, _ = on_terminal("""
        display = make_display(None)
        display.submitted(task(1, "[bold]f[/]"), None)
        drawn()
        display.lines(None, ["[red]x[/red] :smile: 1.5", "\\x1b[31mloss\\x1b[0m", "y" * 150])
        display.finished(task(1), "succeeded")
    """)
    assert "[bold]f[/]" in shown
    assert screen(shown)[0] == "[red]x[/red] :smile: 1.5"
    assert "\x1b[31mloss" in shown
    assert "y" * 150 in shown


@terminal
def test_lines_go_to_the_file_that_standard_output_is() -> None:
    shown, piped = on_terminal(
        """
        display = make_display(None)
        display.submitted(task(1), None)
        drawn()
        display.lines(None, ["epoch 1"])
        print("printed")
        sys.stdout.flush()
        display.finished(task(1), "succeeded")
        """,
        stdout="pipe",
    )
    assert piped == "epoch 1\nprinted\n"
    assert screen(shown) == []


@terminal
def test_two_displays_share_the_terminal() -> None:
    shown, _ = on_terminal("""
        one, two = make_display(None), make_display(True)
        one.submitted(task(1, "first"), None)
        two.submitted(task(2, "second"), None)
        drawn()
        one.close()
        drawn()
        two.finished(task(2, "second"), "succeeded")
        print("the end")
    """)
    assert re.search(r"first[^\x07]*second", shown)
    assert screen(shown) == ["the end"]


@terminal
def test_nothing_of_it_stays_when_nothing_is_pending() -> None:
    on_terminal("""
        display = make_display(None)
        out, err = sys.stdout, sys.stderr
        for number in range(3):
            display.submitted(task(number), None)
            drawn()
            assert sys.stdout is not out
            kept = sys.stdout
            ticker = next(each for each in threading.enumerate() if each.name == "ascend-display")
            display.finished(task(number), "succeeded")
            ticker.join(30)
            assert (sys.stdout, sys.stderr) == (out, err)
            assert threading.active_count() == 1
            print("kept", file=kept)
    """)


@terminal
def test_a_quick_call_shows_nothing() -> None:
    shown, _ = on_terminal("""
        display = make_display(None)
        display.submitted(task(1), None)
        display.finished(task(1), "succeeded")
        display.submitted(task(2), None)
        display.finished(task(2), "succeeded")
    """)
    assert shown == ""


@terminal
def test_a_forked_child_leaves_the_terminal_to_its_parent() -> None:
    shown, _ = on_terminal("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        display = make_display(None)
        display.submitted(task(1), None)
        drawn()
        child = os.fork()
        if not child:
            display.lines(None, ["of the child"])
            display.submitted(task(2, "childs"), None)
            display.finished(task(2, "childs"), "succeeded")
            display.close()
            assert type(sys.stdout).__name__ == "TextIOWrapper"
            os._exit(len([each for each in threading.enumerate() if each.name == "ascend-display"]))
        assert os.waitpid(child, 0)[1] == 0
        drawn()
        display.finished(task(1), "succeeded")
    """)
    assert "of the child" in shown
    assert "childs" not in shown


@terminal
def test_an_interpreter_that_ends_early_restores_the_cursor() -> None:
    shown, _ = on_terminal("""
        display = make_display(None)
        display.submitted(task(1), None)
        drawn()
    """)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_a_notebook_updates_one_output() -> None:
    # A stand-in for IPython, as a process that has a kernel sees it.
    code = """
        import json, types
        calls = []
        class Handle:
            def update(self, data, raw): calls.append(["update", data["text/plain"]])
        def display(data, raw, display_id):
            calls.append(["display", data["text/plain"]])
            return Handle()
        ipython = types.ModuleType("IPython")
        ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
        sys.modules["IPython"] = ipython
        sys.modules["IPython.display"] = types.ModuleType("IPython.display")
        sys.modules["IPython.display"].display = display
        shown = make_display(None)
        shown.submitted(task(1), None)
        for number in range(2, 6):
            shown.submitted(task(number, "score"), "g")
        shown.group("g", 4)
        drawn()
        shown.finished(task(2, "score"), "succeeded")
        drawn()
        shown.close()
        assert "rich" not in sys.modules
        print(json.dumps(calls))
    """
    output = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    calls = json.loads(output)
    assert [kind for kind, _ in calls].count("display") == 1
    assert re.match(r"train  queue  \d+ s\nscore  ░+  0/4 done$", calls[0][1])
    assert re.search(r"score  █+░+  1/4 done, 0:\d\d left", calls[-2][1])
    assert calls[-1] == ["update", ""]
