from __future__ import annotations

import io
import json
import sys
from functools import partial
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from benchmarks import picture
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.measure import (
    FULL,
    ChildError,
    Options,
    Row,
    Table,
    alternate,
    document,
    environ,
    last_json,
    machine,
)
from benchmarks.report import figure, show

TINY = Options(runs=1, calls=1, tasks=3, seconds=0.1, imports=1, pending=20, array_bytes=80_000, soak=20, peers=False)


def table(better="lower"):
    rows = [Row("ascend", [1.0, 2.0, 9.0]), Row("peer", [4.0, 4.0]), Row("absent", [], "not installed")]
    return Table("a title", "ms", rows, better=better, notes=["a note"])


def test_a_row_knows_median_and_spread():
    row = Row("ascend", [3.0, 1.0, 2.0])

    assert (row.median, row.spread) == (2.0, (1.0, 3.0))


def test_a_row_without_values_has_neither():
    row = Row("peer", [], "not installed")

    assert (row.median, row.spread) == (None, None)


def test_the_ratio_is_our_median_over_the_others():
    ours, peer, absent = table().rows

    assert [table().ratio(row) for row in (ours, peer, absent)] == [None, 0.5, None]


def test_runs_alternate_so_that_drift_hits_all():
    order: list[str] = []

    alternate({name: partial(order.append, name) for name in "abc"}, 3)

    assert "".join(order) == "abccbaabc"


def test_a_peer_that_fails_is_named_and_not_asked_again():
    asked = []

    def fail():
        asked.append(1)
        raise ChildError("exit code 1\nValueError: broken")

    results, failures = alternate({"ascend": lambda: 1, "peer": fail}, 3)

    assert results == {"ascend": [1, 1, 1], "peer": []}
    assert failures == {"peer": "failed: ValueError: broken"}
    assert len(asked) == 1


def test_a_failure_of_ours_is_raised():
    def fail():
        raise ChildError("broken")

    with pytest.raises(ChildError):
        alternate({"ascend: as argument": fail}, 1)


def test_the_last_line_of_a_process_is_its_answer():
    assert last_json([sys.executable, "-c", "print('noise'); print('[1, 2]')"]) == [1, 2]


def test_a_process_that_fails_says_why():
    with pytest.raises(ChildError, match="no such luck"):
        last_json([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_processes_are_not_slowed_down_by_the_settings_of_this_one():
    assert not {name for name in environ() if name.startswith("ASCEND_") or name == "PYTHONDONTWRITEBYTECODE"}


def test_the_facts_of_the_machine_do_not_identify_it():
    assert set(machine()) == {"system", "architecture", "cores", "python", "versions"}


def test_the_document_holds_every_value_and_is_json():
    written = json.loads(json.dumps(document(FULL, {"call": [table()]})))

    rows = written["benchmarks"]["call"][0]["rows"]
    assert [row["values"] for row in rows] == [[1.0, 2.0, 9.0], [4.0, 4.0], []]
    assert [row["ratio"] for row in rows] == [None, 0.5, None]
    assert rows[2]["note"] == "not installed"
    assert written["options"]["soak"] == 10_000


def test_what_is_absent_is_shown_as_absent():
    stream = io.StringIO()

    show(table(), Console(file=stream, width=100, markup=False))

    lines = stream.getvalue().splitlines()
    assert lines[0] == "a title (ms, lower is better)"
    assert any(line.split() == ["absent", "-", "-", "0"] for line in lines)
    assert any(line.split() == ["peer", "4.00", "4.00", "-", "4.00", "2", "0.50"] for line in lines)
    assert "  absent: not installed" in lines
    assert "  a note" in lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0.00"),
        (0.00432, "0.0043"),
        (0.1234, "0.12"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
    ],
)
def test_figures_have_the_digits_that_say_something(value, text):
    assert figure(value) == text


@pytest.mark.parametrize("name", sorted(BENCHMARKS.keys() - {"environments", "kubernetes"}))
def test_every_benchmark_runs_without_peers(name):
    tables = BENCHMARKS[name](TINY)

    assert tables
    for each in tables:
        assert all(row.values or row.note == "this system does not show it" for row in each.rows), each


def test_an_unknown_benchmark_is_refused_and_the_known_are_named(capsys):
    with pytest.raises(SystemExit):
        main(["speed"])

    assert "call, rate, import, pending, array, soak, kubernetes, environments" in capsys.readouterr().err


def test_the_command_writes_what_it_measured(tmp_path, capsys):
    file = tmp_path / "figures.json"

    main(["pending", "--quick", "--runs", "1", "--json", str(file)])

    assert "pending futures" in capsys.readouterr().out
    assert list(json.loads(file.read_text(encoding="utf-8"))["benchmarks"]) == ["pending"]


def test_a_picture_has_a_bar_for_each_row_with_values(tmp_path, monkeypatch):
    measured = {"benchmarks": {"one": [table().__dict__ | {"rows": [row.__dict__ for row in table().rows]}]}}
    (tmp_path / "it.json").write_text(json.dumps(measured))
    monkeypatch.setattr(sys, "argv", ["picture", str(tmp_path / "it.json"), "a title", str(tmp_path / "it.svg")])

    picture.main()

    tree = ET.parse(tmp_path / "it.svg")
    texts = [each.text for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a title (ms)", "ascend", "2.0", "peer", "4.0"]
    widths = [each.get("width") for each in tree.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert float(widths[1]) == pytest.approx(2 * float(widths[0]), abs=0.2)


def test_a_picture_of_a_table_that_is_not_there_names_those_that_are(tmp_path, monkeypatch):
    (tmp_path / "it.json").write_text(json.dumps({"benchmarks": {"one": [{"title": "a title"}]}}))
    monkeypatch.setattr(sys, "argv", ["picture", str(tmp_path / "it.json"), "another", str(tmp_path / "it.svg")])

    with pytest.raises(SystemExit, match="has no table 'another'; it has 'a title'"):
        picture.main()
