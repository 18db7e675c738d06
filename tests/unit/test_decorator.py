"""`@ascend`: what a decorated function is, how it is called, and how it travels."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest

from ascend import AscendExecutor, AscendFunction, AscendFuture, Volume, ascend, hookimpl
from ascend._core import decorator
from ascend.errors import ConfigError
from ascend.model import JOINED

MODULE = '''
import asyncio, functools, os
from ascend import ascend

@ascend
def double(x):
    """Doubles."""
    return x * 2

renamed = double

def _hidden(x):
    return x + 100

shown = ascend(_hidden)

@ascend(cpu=1)
def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)

@ascend
def nested(x):
    return double(x), os.getpid(), process()

@ascend
def process():
    return os.getpid()

@ascend
def is_double(function):
    import decorated_module
    return function is double is decorated_module.double

@ascend
def give():
    return double

@ascend
async def later(x):
    await asyncio.sleep(0)
    return x

@ascend
async def around():
    # In a task, and inside a running event loop.
    return later(20) + 1

def logged(function):
    @functools.wraps(function)
    def call(*args):
        return ["logged", function(*args)]
    return call

@ascend
@logged
def above(x):
    return x

@logged
@ascend
def below(x):
    return x

class Model:
    def __init__(self, base):
        self.base = base

    @ascend(memory="1Gi")
    def add(self, x):
        return self.base + x

    @ascend
    async def add_later(self, x):
        return self.base + x

    @ascend
    @staticmethod
    def static(x):
        return x + 1

    @ascend
    @classmethod
    def named(cls, x):
        return cls.__name__, x

    @staticmethod
    @ascend
    def static_inside(x):
        return x + 1

    @classmethod
    @ascend
    def named_inside(cls, x):
        return cls.__name__, x

class Child(Model):
    @ascend
    def add(self, x):
        return 10 * super().add(x)
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a module with decorated functions that tasks can import too."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "decorated_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield importlib.import_module("decorated_module")
    del sys.modules["decorated_module"]


@pytest.fixture
def local(monkeypatch, leaves_nothing):
    """Have decorated functions run on the local cluster, by an executor of this test's own."""
    monkeypatch.setenv("ASCEND_CLUSTER", "local")
    monkeypatch.setenv("ASCEND_PROGRESS", "0")
    monkeypatch.setenv("ASCEND_MAX_PARALLEL", "2")
    assert decorator._shared is None
    yield
    if decorator._shared is not None:
        decorator._shared.shutdown()
    decorator._forget_in_child()


@pytest.fixture
def in_task(monkeypatch):
    """Make this process look like that of a task; nothing may be sent anywhere."""
    monkeypatch.setenv("ASCEND_TASK_ID", "run-1")
    yield
    assert decorator._shared is None


class Recorder:
    """A plugin that notes the needs of every task."""

    def __init__(self):
        self.needs = []

    @hookimpl
    def ascend_modify_job(self, manifest, task):
        self.needs.append(task.needs)


# What it is.


def plain(number: int, *, scale: float = 1.0) -> str:
    """Say a number."""
    return f"{number * scale}"


@pytest.mark.parametrize("decorate", [ascend, ascend(), ascend(cpu=1), ascend(timeout=None)])
def test_it_decorates_bare_and_with_options(decorate):
    decorated = decorate(plain)
    assert isinstance(decorated, AscendFunction)
    assert decorated.__wrapped__ is plain


def test_it_looks_like_the_function_that_it_wraps():
    decorated = ascend(plain)
    for attribute in (*functools.WRAPPER_ASSIGNMENTS, "__wrapped__"):
        if hasattr(plain, attribute):
            assert getattr(decorated, attribute) == getattr(plain, attribute, plain)
    assert inspect.signature(decorated) == inspect.signature(plain)
    assert inspect.unwrap(decorated) is plain
    assert inspect.getdoc(decorated) == "Say a number."
    assert "plain" in repr(decorated)
    assert callable(decorated)


def test_attributes_of_the_function_are_there_too():
    def marked():
        pass

    marked.slow = True
    assert ascend(marked).slow is True


def test_a_bound_method_has_the_signature_without_self(module):
    assert list(inspect.signature(module.Model(1).add).parameters) == ["x"]
    assert list(inspect.signature(module.Model.add).parameters) == ["self", "x"]
    assert list(inspect.signature(module.Model.named).parameters) == ["x"]


@pytest.mark.parametrize("wrong", [int, SimpleNamespace, "train", 3])
@pytest.mark.parametrize("decorate", [ascend, ascend(cpu=1)])
def test_what_is_no_function_is_refused(decorate, wrong):
    with pytest.raises(TypeError, match="functions and methods"):
        decorate(wrong)


# Options.


@pytest.mark.parametrize(
    ("misspelt", "meant"), [("memmory", "memory"), ("cpus", "cpu"), ("requirement", "requirements")]
)
def test_an_unknown_option_is_refused_at_decoration_with_the_nearest_name(misspelt, meant):
    with pytest.raises(TypeError, match=f"{misspelt}.*{meant}"):

        @ascend(**{misspelt: "4Gi"})
        def function():
            pass


def test_a_value_that_does_not_fit_is_refused_at_decoration():
    with pytest.raises(ConfigError, match="timeout"):

        @ascend(timeout=-1)
        def function():
            pass


def test_options_of_a_derived_function_are_checked_as_well():
    with pytest.raises(TypeError, match="memory"):
        ascend(plain).with_options(memmory="4Gi")
    with pytest.raises(ConfigError, match="memory"):
        ascend(plain).with_options(memory="much")


@pytest.mark.parametrize("project", [True, False])
def test_older_code_may_say_whether_it_is_a_project(project):
    assert ascend(project=project)(plain).__ascend_needs__.project is None
    assert ascend(plain).with_options(project=project).__ascend_needs__.project is None
    assert ascend(project="demo")(plain).__ascend_needs__.project == "demo"


def test_all_options_of_the_original_are_known():
    decorated = ascend(
        cpu="2",
        memory="4Gi",
        timeout=3600,
        stream_logs=False,
        requirements=["torch==2.6.0"],
        node_type="nc8as_t4_v3",
        base_image="python:3.12",
        project=True,
    )(plain)
    needs = decorated.__ascend_needs__
    assert (needs.cpu, needs.memory, needs.timeout, needs.stream_logs) == ("2", "4Gi", 3600.0, False)
    assert (needs.requirements, needs.node_type, needs.base_image) == (("torch==2.6.0",), "nc8as_t4_v3", "python:3.12")


def test_with_options_leaves_the_function_as_it_was():
    decorated = ascend(cpu=1, memory="1Gi")(plain)
    derived = decorated.with_options(cpu=2)
    assert (derived.__ascend_needs__.cpu, derived.__ascend_needs__.memory) == ("2", "1Gi")
    assert decorated.__ascend_needs__.cpu == "1"
    assert derived.__wrapped__ is plain


def test_variables_are_joined_key_by_key():
    decorated = ascend(env={"A": "1", "B": "1"})(plain)
    assert decorated.with_options(env={"B": "2"}).__ascend_needs__.env == {"A": "1", "B": "2"}


def test_volumes_are_joined_key_by_key():
    decorated = ascend(volumes={"/a": Volume("a"), "/b": Volume("a")})(plain)
    needs = decorated.with_options(volumes={"/b": Volume(memory="1Gi")}).__ascend_needs__
    assert needs.volumes == {"/a": Volume("a"), "/b": Volume(memory="1Gi")}


def test_labels_are_joined_key_by_key():
    decorated = ascend(labels={"a": "1", "b": "1"}, queue="low")(plain)
    needs = decorated.with_options(labels={"b": "2"}, queue="high").__ascend_needs__
    assert (needs.labels, needs.queue) == ({"a": "1", "b": "2"}, "high")


def test_the_same_needs_are_joined_by_functions_as_by_executors():
    assert decorator._JOINED == JOINED


def test_a_function_decorated_twice_has_the_options_of_both():
    needs = ascend(cpu=2)(ascend(cpu=1, memory="1Gi")(plain)).__ascend_needs__
    assert (needs.cpu, needs.memory) == ("2", "1Gi")


def test_needs_come_from_profile_executor_decorator_and_options_in_that_order(make_executor, monkeypatch):
    for name in ("ASCEND_CPU", "ASCEND_TIMEOUT", "ASCEND_MEMORY", "ASCEND_RETRIES", "ASCEND_GPUS"):
        monkeypatch.setenv(name, {"ASCEND_MEMORY": "1Gi"}.get(name, "1"))
    recorder = Recorder()
    executor = make_executor(plugins=[recorder], timeout=2, memory="2Gi", retries=2, gpus=2)

    @ascend(memory="3Gi", retries=3, gpus=3)
    def decorated():
        pass

    executor.submit(decorated).result()
    executor.submit(decorated.with_options(retries=4, gpus=4)).result()
    executor.with_options(gpus=5).submit(decorated.with_options(retries=4, gpus=4)).result()
    executor.with_options(gpus=5).with_options(cpu=5).submit(plain, 1).result()
    seen = [(needs.cpu, needs.timeout, needs.memory, needs.retries, needs.gpus) for needs in recorder.needs]
    assert seen == [
        ("1", 2.0, "3Gi", 3, 3),
        ("1", 2.0, "3Gi", 4, 4),
        ("1", 2.0, "3Gi", 4, 5),
        ("5", 2.0, "2Gi", 2, 5),
    ]


def test_a_map_and_a_bound_method_have_the_needs_of_the_function_too(make_executor, module):
    recorder = Recorder()
    executor = make_executor(plugins=[recorder])
    assert list(executor.map(module.Model(1).add, [1, 2])) == [2, 3]
    assert list(executor.map(module.Model(1).add, [1, 2], chunksize=2)) == [2, 3]
    assert executor.submit(functools.partial(module.Model(1).add, 1)).result() == 2
    assert {needs.memory for needs in recorder.needs} == {"1Gi"}


# How it is called.


def test_a_call_blocks_until_the_cluster_has_answered(local, module):
    assert module.double(21) == 42
    assert module.double(x=21) == 42
    assert module.process() != os.getpid()


def test_its_other_ways_to_call(local, module):
    future = module.double.submit(21)
    assert isinstance(future, AscendFuture)
    assert future.result() == 42
    assert list(module.double.map([1, 2, 3], chunksize=2)) == [2, 4, 6]
    assert list(module.double.map([1, 2], buffersize=1, timeout=60)) == [2, 4]
    assert module.process.local() == os.getpid()
    assert module.process.__wrapped__() == os.getpid()
    assert module.process.with_options(timeout=60)() != os.getpid()


def test_what_the_function_raises_is_raised(local):
    @ascend
    def fail():
        raise LookupError("nothing here")

    with pytest.raises(LookupError, match="nothing here"):
        fail()


def test_a_timeout_of_the_decorator_is_kept(local):
    @ascend(timeout=0.2)
    def stuck():
        threading.Event().wait()

    with pytest.raises(TimeoutError, match=r"0\.2 s"):
        stuck()


def test_methods_travel_with_their_object(local, module):
    model = module.Model(40)
    assert model.add(2) == 42
    assert model.add.submit(2).result() == 42
    assert list(model.add.map([1, 2])) == [41, 42]
    assert model.add.local(2) == 42
    assert model.add.with_options(cpu=1)(2) == 42
    assert module.Model.add(model, 2) == 42
    assert model.add_later(2) == 42
    assert module.Child(4).add(2) == 60


@pytest.mark.parametrize("name", ["static", "static_inside"])
def test_static_methods(local, module, name):
    assert getattr(module.Model, name)(1) == 2
    assert getattr(module.Model(0), name)(1) == 2
    assert getattr(module.Model, name).submit(1).result() == 2


@pytest.mark.parametrize("name", ["named", "named_inside"])
def test_class_methods(local, module, name):
    assert getattr(module.Model, name)(1) == ("Model", 1)
    assert getattr(module.Child, name)(1) == ("Child", 1)
    assert getattr(module.Child(0), name)(x=1) == ("Child", 1)


def test_class_methods_have_the_other_ways_to_call_when_decorated_above(local, module):
    assert module.Child.named.submit(1).result() == ("Child", 1)
    assert list(module.Child(0).named.map([1])) == [("Child", 1)]
    assert module.Child.named.local(1) == ("Child", 1)


def test_coroutine_functions_are_awaited_there(local, module):
    assert module.later(3) == 3
    assert module.later.submit(3).result() == 3
    assert list(module.later.map([1, 2])) == [1, 2]
    assert module.around() == 21


def test_coroutine_functions_run_here_with_and_without_a_loop(module):
    assert module.later.local(3) == 3

    async def main():
        return module.later.local(3)

    assert asyncio.run(main()) == 3


def test_a_call_can_be_awaited_without_blocking_the_loop(local, module):
    async def main():
        return await asyncio.gather(*(asyncio.wrap_future(module.double.submit(n)) for n in range(3)))

    assert asyncio.run(main()) == [0, 2, 4]


def test_many_threads_may_call_at_once(local, module):
    barrier = threading.Barrier(10)
    runs = set()

    def worker(number):
        barrier.wait(60)
        runs.add(module.double.submit(0).run_id)
        return [module.double(10 * number + step) for step in range(2)]

    with ThreadPoolExecutor(10) as threads:
        results = list(threads.map(worker, range(10)))
    assert results == [[20 * number, 20 * number + 2] for number in range(10)]
    assert len(runs) == 1


def test_all_decorated_functions_of_a_process_share_one_executor(local, module):
    futures = [module.double.submit(1), module.later.submit(1), module.Model(1).add.submit(1)]
    assert len({future.run_id for future in futures}) == 1
    assert all(future.done() or future.result() for future in futures)


def test_decorating_makes_no_executor():
    code = (
        "import sys, threading\n"
        "from ascend import ascend\n"
        "@ascend(cpu=1, requirements=['torch'])\n"
        "def f(): pass\n"
        "from ascend._core import decorator\n"
        "assert decorator._shared is None\n"
        "assert 'ascend._core.executor' not in sys.modules\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Inside a task.


def test_inside_a_task_it_simply_runs(local, module):
    doubled, process, inner_process = module.nested(4)
    assert doubled == 8
    assert process == inner_process != os.getpid()
    assert module.factorial(5) == 120


def test_inside_a_task_options_are_not_looked_at(in_task):
    # What checks them may not be installed there.
    decorated = ascend(cpu="nonsense", unheard_of=True)(plain)
    assert decorated(2) == "2.0"
    assert decorated.with_options(memory="nonsense")(2) == "2.0"


def test_inside_a_task_a_coroutine_function_runs_in_a_running_loop(in_task, module):
    assert module.around() == 21
    assert module.later(1) == 1


# How it travels.


def test_from_a_module_it_travels_by_reference_and_is_itself_there(local, module):
    assert module.is_double(module.double)
    assert module.is_double(module.renamed)
    assert module.give() is module.double
    assert pickle.loads(pickle.dumps(module.double)) is module.double
    assert len(pickle.dumps(module.double)) < 200
    assert b"x * 2" not in cloudpickle.dumps(module.double)


def test_a_function_under_another_name_travels(local, module):
    assert module.renamed(1) == 2
    assert module.shown(1) == 101


def test_on_top_of_and_below_another_decorator(local, module):
    assert module.above(1) == ["logged", 1]
    assert module.below(1) == ["logged", 1]


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_bound_methods_pickle_and_stay_bound(module, dumps):
    model = module.Model(40)
    back = pickle.loads(dumps(model.add))
    assert back.local(2) == 42
    assert back.__wrapped__.__self__.base == 40
    assert pickle.loads(dumps(module.Model.add)) is module.Model.add
    assert pickle.loads(dumps(module.Child.named)).local(1) == ("Child", 1)
    assert pickle.loads(dumps(module.Model.static)).local(1) == 2


def test_options_are_kept_by_pickling(module):
    for function in (module.double.with_options(cpu=7), module.Model(1).add.with_options(cpu=7)):
        assert pickle.loads(pickle.dumps(function)).__ascend_needs__.cpu == "7"
    assert pickle.loads(pickle.dumps(module.Model(1).add)).__ascend_needs__.memory == "1Gi"


def test_a_closure_travels_by_value(local):
    offset = 3

    @ascend
    def add(number):
        return number + offset

    assert add(4) == 7
    assert ascend(lambda x: x + offset)(1) == 4
    back = pickle.loads(cloudpickle.dumps(add.with_options(cpu=7)))
    assert back.local(4) == 7
    assert back.__ascend_needs__.cpu == "7"


MAIN = """
import asyncio
from ascend import ascend

@ascend
def double(x):
    return x * 2

@ascend
def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)

def even(n):
    return n == 0 or odd(n - 1)

@ascend
def odd(n):
    return n != 0 and even(n - 1)

@ascend
async def later(x):
    await asyncio.sleep(0)
    return double(x)

class Model:
    def __init__(self, base):
        self.base = base
    @ascend
    def add(self, x):
        return self.base + double(x)
    @ascend
    @staticmethod
    def static(x):
        return x
    @ascend
    @classmethod
    def named(cls, x):
        return cls.__name__, x

if __name__ == "__main__":
    print(double(2), factorial(5), odd(3), later(2))
    print(Model(1).add(2), Model.static(3), Model.named(4), Model(0).named(5))
    print(double.submit(3).result(), list(double.map([1, 2])), list(map(Model(1).add, [1])))
    exec(compile(CELL, "<cell 1>", "exec"), globals())
    print(in_a_cell(2), type(in_a_cell).__name__)
    exec(compile(CELL, "<cell 2>", "exec"), {"__name__": "cells", "double": double})
"""
CELL = """
from ascend import ascend
@ascend
def in_a_cell(x):
    return double(x) + 1
assert in_a_cell(1) == 3
"""


def test_from_a_script_and_from_a_notebook_it_travels_by_value(client):
    done = client.run(f"CELL = {CELL!r}\n{MAIN}")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "4 120 True 4",
        "5 3 ('Model', 4) ('Model', 5)",
        "6 [2, 4] [3]",
        "5 AscendFunction",
    ]


def test_a_module_made_by_hand_travels_by_value(local):
    code = "from ascend import ascend\n@ascend\ndef made(x):\n    return x + 1\n"
    module = type(sys)("made_by_hand")
    sys.modules["made_by_hand"] = module
    try:
        exec(code, module.__dict__)
        assert module.made(1) == 2
    finally:
        del sys.modules["made_by_hand"]


# Ctrl-C.

FOREVER = """
import os, pathlib, threading
from ascend import ascend

@ascend
def forever(path):
    pathlib.Path(path).write_text(str(os.getpid()))
    threading.Event().wait()

try:
    forever({path!r})
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_stops_the_work_and_returns(client, eventually, tmp_path):
    path = tmp_path / "pid"
    process = client.start(FOREVER.format(path=str(path)))
    pid = int(eventually(lambda: path.exists() and path.read_text(), "the start of the task"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "interrupted"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode != 0
    eventually(lambda: not _lives(pid), "the end of the task")
    assert client.folders() == []


def _lives(pid):
    try:
        os.kill(pid, 0)
        # Nobody may be there to reap it.
        return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_the_executor_of_another_process_is_not_shared(local, module):
    assert isinstance(decorator.shared_executor(), AscendExecutor)
    assert decorator.shared_executor() is decorator.shared_executor()
