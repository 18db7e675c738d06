"""Where in a call lies what cannot be pickled."""

from __future__ import annotations

import functools
import sqlite3
import threading
from dataclasses import dataclass
from typing import Any

import cloudpickle
import pytest

from ascend._core.culprit import find_culprit

CONNECTION: Any = None


def dumps(value):
    return cloudpickle.dumps(value)


def culprit(fn, *args, **kwargs):
    return find_culprit(fn, args, kwargs, dumps)


class Model:
    def __init__(self):
        self.name = "model"
        self._lock = threading.Lock()

    def fit(self): ...


class Holder:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("first", "second")

    def __init__(self, first, second):
        self.first, self.second = first, second


@dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    lock: Any


class Rude:
    def __reduce__(self):
        raise SystemExit("no")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "args[0] (a _thread.lock)"),
        ([1, [2, threading.Lock()]], "args[0][1][1] (a _thread.lock)"),
        ({"a": {("b", 1): threading.Lock()}}, "args[0]['a'][('b', 1)] (a _thread.lock)"),
        ({threading.Lock()}, "an item of args[0] (a _thread.lock)"),
        (Model(), "args[0]._lock (a _thread.lock)"),
        (Holder(model=Model()), "args[0].model._lock (a _thread.lock)"),
        (Slotted(1, threading.Lock()), "args[0].second (a _thread.lock)"),
        (Frozen("x", threading.Lock()), "args[0].lock (a _thread.lock)"),
        ([0] * 5000 + [Model()] + [0] * 5000, "args[0][5000]._lock (a _thread.lock)"),
        (Model().fit, "args[0].__self__._lock (a _thread.lock)"),
        (functools.partial(print, 1, key=Model()), "args[0].keywords['key']._lock (a _thread.lock)"),
        ((0 for _ in ()), "args[0] (a generator)"),
    ],
)
def test_the_path_leads_to_the_smallest_part(value, path):
    assert culprit(print, 1, value).replace("args[1]", "args[0]") == path


def test_a_keyword_argument_is_named():
    assert culprit(print, good=1, bad=threading.Lock()) == "kwargs['bad'] (a _thread.lock)"


def test_a_closure_variable_is_named():
    session = Holder(adapters={"x": threading.Lock()})

    def train():
        return session

    assert culprit(train).endswith("train: closure variable 'session'.adapters['x'] (a _thread.lock)")


def test_a_global_is_named_also_where_an_inner_function_uses_it():
    space: dict[str, Any] = {"conn": sqlite3.connect(":memory:"), "unused": threading.Lock(), "__name__": "__main__"}
    try:
        exec("def query():\n    return [(lambda: conn)() for _ in ()]", space)
        assert culprit(space["query"]) == "query: global 'conn' (a sqlite3.Connection)"
    finally:
        space["conn"].close()


def test_an_attribute_named_like_a_global_is_not_blamed():
    space: dict[str, Any] = {"lock": threading.Lock(), "bad": threading.RLock(), "__name__": "__main__"}
    exec("def run(x):\n    return x.lock, bad", space)
    assert culprit(space["run"]) == "run: global 'bad' (a _thread.RLock)"


def test_defaults_are_named():
    def run(a, b=threading.Lock(), *, c=1):  # noqa: B008 - such functions exist
        return a, b, c

    assert "default of 'b' (a _thread.lock)" in culprit(run)


def test_a_cycle_does_not_hide_the_culprit():
    parent = Holder()
    parent.child = Holder(parent=parent)
    parent.lock = threading.Lock()
    assert culprit(print, parent) == "args[0].lock (a _thread.lock)"


def test_a_class_that_exits_while_it_is_pickled_is_only_a_culprit():
    assert culprit(print, [Rude()]) == f"args[0][0] (a {__name__}.Rude)"


def test_a_call_that_can_be_pickled_has_no_culprit():
    assert culprit(print, 1, a=[{}]) is None


def test_what_is_nested_too_deep_ends():
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    assert culprit(print, nested).startswith("args[0]")
    while nested:  # so that its end does not recurse
        nested = nested.pop()


def test_the_search_is_bounded():
    tried = []

    def refuse(value):
        tried.append(value)
        raise TypeError

    wide = [[[Holder(a=n, b=m) for n in range(20)] for m in range(20)] for _ in range(20)]
    assert find_culprit(print, (wide,), {}, refuse)
    assert len(tried) <= 500


def test_ctrl_c_ends_the_search():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_culprit(print, (1,), {}, interrupt)
