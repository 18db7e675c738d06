from __future__ import annotations

import pytest

from ascend.building.steps import Step, find_step, step_at, steps_of

DOCKERFILE = """\
# syntax=docker/dockerfile:1

FROM python:3.12 AS base
# a comment
RUN apt-get update \\
    # a comment in between

 && apt-get install \\
    git
run echo one
COPY <<first.txt <<-"SECOND" /files/
RUN is no step here
first.txt
	FROM neither
	SECOND
RUN --mount=type=secret,id=netrc pip install six
"""


def test_steps_have_the_lines_where_they_begin():
    assert steps_of(DOCKERFILE) == (
        Step(3, "FROM python:3.12 AS base"),
        Step(5, "RUN apt-get update && apt-get install git"),
        Step(10, "run echo one"),
        Step(11, 'COPY <<first.txt <<-"SECOND" /files/'),
        Step(16, "RUN --mount=type=secret,id=netrc pip install six"),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("RUN apt-get update  && apt-get install     git", 5),
        ("RUN echo one", 10),
        ("RUN pip install six", 16),
        ("RUN pip install", None),
    ],
)
def test_a_step_is_found_as_builders_show_it(text, line):
    found = find_step(DOCKERFILE, text)
    assert (found.line if found else None) == line


def test_a_dockerfile_may_have_an_escape_of_its_own():
    assert steps_of("# escape=`\nFROM a\nRUN dir C:\\\nRUN b `\n  c") == (
        Step(2, "FROM a"),
        Step(3, "RUN dir C:\\"),
        Step(4, "RUN b c"),
    )


def test_a_dockerfile_that_ends_in_the_middle_of_a_step_has_that_step():
    assert steps_of("FROM a\nRUN b \\\n") == (Step(1, "FROM a"), Step(2, "RUN b"))
    assert steps_of("\\\n\nFROM a\n\\") == (Step(1, "FROM a"),)
    assert steps_of("RUN <<EOF\nnever ended") == (Step(1, "RUN <<EOF"),)


def test_two_angles_in_the_middle_of_a_word_begin_no_here_document():
    assert steps_of("RUN echo $((1<<2))\nENV a=<<b\nRUN b") == (
        Step(1, "RUN echo $((1<<2))"),
        Step(2, "ENV a=<<b"),
        Step(3, "RUN b"),
    )


def test_a_long_step_is_cut_where_it_is_shown():
    assert str(Step(7, "RUN true")) == "line 7: RUN true"
    assert str(Step(7, f"RUN {'x' * 500}")).endswith("xxx…")


def test_a_line_belongs_to_the_step_that_begins_before_it():
    assert step_at(DOCKERFILE, 8) == Step(5, "RUN apt-get update && apt-get install git")
    assert step_at(DOCKERFILE, 2) is None
