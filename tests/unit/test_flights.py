"""What many ask for at once: made once, with one outcome for all, remembered as long as it is worth it."""

from __future__ import annotations

import threading

import pytest

from ascend.building.flights import Flights
from ascend.building.uv_program import UnsolvableError
from ascend.errors import BuildTimeoutError, ConfigError, EnvironmentBuildError, RegistryError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Maker:
    """Makes what the test says, and ends when it says so; every call is counted."""

    def __init__(self, *outcomes):
        self.outcomes, self.calls = list(outcomes), 0
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def __call__(self, tell):
        self.calls += 1
        tell("begun")
        self.begun.set()
        assert self.may_end.wait(60)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Waiter(threading.Thread):
    """Asks for the same in a thread of its own."""

    def __init__(self, flights, maker):
        super().__init__()
        self.flights, self.maker = flights, maker
        self.said, self.heard, self.outcome = [], threading.Event(), None

    def report(self, line):
        self.said.append(line)
        self.heard.set()

    def run(self):
        try:
            self.outcome = self.flights.get("key", self.maker, self.report)
        except BaseException as exc:
            self.outcome = exc


def together(outcome):
    """Return the first who asks and one more who waits, with what each of them got."""
    flights, maker = Flights(failed=60.0), Maker(outcome)
    maker.may_end.clear()
    pair = Waiter(flights, maker), Waiter(flights, maker)
    for each in pair:
        each.start()
        assert each.heard.wait(60)
    maker.may_end.set()
    for each in pair:
        each.join()
    assert maker.calls == 1
    return pair


def test_all_who_ask_at_once_get_what_the_first_makes_and_hear_its_progress():
    first, waiter = together("made")
    assert (first.outcome, waiter.outcome) == ("made", "made")
    assert (first.said, waiter.said) == (["begun"], ["begun"])


@pytest.mark.parametrize("kind", [EnvironmentBuildError, RegistryError, ConfigError, BuildTimeoutError])
def test_all_who_wait_get_the_same_error_each_its_own(kind):
    first, waiter = together(kind("no"))
    assert (type(first.outcome), type(waiter.outcome)) == (kind, kind)
    assert (str(first.outcome), str(waiter.outcome)) == ("no", "no")
    assert first.outcome is not waiter.outcome


def test_an_error_that_is_none_of_ascend_reaches_all_who_wait():
    first, waiter = together(ZeroDivisionError("a mistake"))
    assert isinstance(first.outcome, ZeroDivisionError)
    assert isinstance(waiter.outcome, ZeroDivisionError)


def test_an_error_of_the_system_is_one_of_the_environment():
    first, waiter = together(OSError("no room"))
    assert type(first.outcome) is type(waiter.outcome) is EnvironmentBuildError
    assert "no room" in str(waiter.outcome)


def test_only_the_thread_that_is_interrupted_ends():
    first, waiter = together(KeyboardInterrupt())
    assert isinstance(first.outcome, KeyboardInterrupt)
    assert type(waiter.outcome) is EnvironmentBuildError


def test_a_failure_is_remembered_as_long_as_was_said():
    clock = Clock()
    flights, maker = Flights(failed=60.0, clock=clock), Maker(RegistryError("down"), "made")
    for now in (0.0, 59.0):
        clock.now = now
        with pytest.raises(RegistryError):
            flights.get("key", maker, print)
    assert maker.calls == 1
    clock.now = 60.0
    assert flights.get("key", maker, print) == "made"


def test_a_failure_is_tried_again_at_once_unless_it_was_said():
    flights, maker = Flights(), Maker(EnvironmentBuildError("down"), "made")
    with pytest.raises(EnvironmentBuildError):
        flights.get("key", maker, print)
    assert flights.get("key", maker, print) == "made"


def test_what_cannot_be_solved_is_not_tried_again():
    clock = Clock()
    flights, maker = Flights(failed=60.0, clock=clock), Maker(UnsolvableError("no"), "made")
    for clock.now in (0.0, 1e9):
        with pytest.raises(UnsolvableError):
            flights.get("key", maker, print)
    assert maker.calls == 1


def test_what_was_made_is_made_again_when_it_is_too_old_or_forgotten():
    clock = Clock()
    flights, maker = Flights(kept=3600.0, clock=clock), Maker("first", "second", "third")
    assert [flights.get("key", maker, print) for _ in range(2)] == ["first"] * 2
    clock.now = 3600.0
    assert flights.get("key", maker, print) == "second"
    flights.forget("key")
    assert flights.get("key", maker, print) == "third"
