"""What cloudpickle pickles comes back the same without it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import cloudpickle
import pytest

from ascend._core.pickling import LightCloudpickle

VERSION = cloudpickle.__version__
SHARED = [0]


def travelled(value):
    buffers = []
    data = cloudpickle.dumps(value, 5, buffer_callback=buffers.append)
    return LightCloudpickle(VERSION).loads(data, [buffer.raw() for buffer in buffers])


def by_value(source, name):
    """Return a function of a module that nobody can import."""
    namespace = {"__name__": "__main__"}
    exec(source, namespace)
    return namespace[name]


@pytest.mark.parametrize(
    ("source", "arguments", "expected"),
    [
        ("f = lambda x: x + 1", (1,), 2),
        ("def f(a, b=2, *, c=3, **d): return a, b, c, d", (1,), (1, 2, 3, {})),
        ("def f(n): return 1 if n < 2 else n * f(n - 1)", (5,), 120),
        ("import os.path\ndef f(name): return os.path.join('a', name)", ("b",), f"a{os.sep}b"),
        ("K = {'k': 1}\ndef g(): return K['k']\ndef f(): return g()", (), 1),
        ("def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\nf = even", (10,), True),
        ("def make(x):\n  def inner(y): return x + y\n  return inner\nf = make(3)", (4,), 7),
        ("def make():\n  def inner(n): return n if n == 0 else inner(n - 1)\n  return inner\nf = make()", (3,), 0),
        ("def f():\n  yield from range(3)", (), [0, 1, 2]),
        ("class C:\n  def m(self): return type(self).__name__\ndef f(): return C().m()", (), "C"),
        ("import dataclasses\n@dataclasses.dataclass\nclass D:\n  x: int = 1\ndef f(): return D().x", (), 1),
    ],
)
def test_a_function_by_value_does_what_it_did(source, arguments, expected):
    function = travelled(by_value(source, "f"))
    value = function(*arguments)
    assert (list(value) if isinstance(expected, list) else value) == expected


def test_a_function_keeps_what_describes_it():
    function = by_value("def f(a: int, b: str = 'x', *, c=1) -> bool:\n  'doc'", "f")
    function.note = "own"
    mine, theirs = travelled(function), pickle.loads(cloudpickle.dumps(function))
    for name in (
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__annotations__",
        "__defaults__",
        "__kwdefaults__",
    ):
        assert getattr(mine, name) == getattr(theirs, name)
    assert mine.note == "own"
    assert mine.__code__ == function.__code__


def test_functions_of_one_module_share_its_globals_and_cells():
    source = "n = 0\ndef up():\n  global n\n  n += 1\ndef now(): return n"
    up, now = travelled((by_value(source, "up"), None))[0], None
    namespace = {"__name__": "__main__"}
    exec(source, namespace)
    up, now = travelled((namespace["up"], namespace["now"]))
    up()
    assert now() == 1


def test_what_can_be_imported_is_the_same_object():
    assert travelled(json.dumps) is json.dumps
    assert travelled(json) is json


def test_an_empty_cell_stays_empty():
    function = by_value("def make():\n  def inner(): return later\n  return inner\n  later = 1\nf = make()", "f")
    with pytest.raises(NameError):
        travelled(function)()


def test_an_unknown_version_of_cloudpickle_rebuilds_functions_itself():
    data = cloudpickle.dumps(by_value("f = lambda: 1", "f"))
    assert LightCloudpickle("99.0").loads(data, ())() == 1


def test_large_buffers_stay_outside():
    array = bytearray(b"x" * 100)
    buffers = []
    data = pickle.dumps(pickle.PickleBuffer(array), 5, buffer_callback=buffers.append)
    assert bytes(LightCloudpickle(VERSION).loads(data, [buffer.raw() for buffer in buffers])) == bytes(array)


def test_neither_pickle_nor_cloudpickle_is_imported_for_a_function_by_value():
    data = cloudpickle.dumps(by_value("def f(x, y=2): return x * y", "f"))
    program = (
        "import sys; from ascend._core.pickling import LightCloudpickle\n"
        f"serializer = LightCloudpickle({VERSION!r})\n"
        f"f = serializer.loads({data!r}, ())\n"
        "serializer.dumps([1], None)\n"
        "print(f(21), sorted({'pickle', 'cloudpickle', 're', 'typing'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "42 []\n"
