"""Whole ways: a plugin on both sides, requirements, and the user's project, all on the local cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ascend import hookimpl
from ascend._builtin.local import LocalCluster
from ascend.errors import EnvironmentBuildError

# A plugin of another distribution: plugins/ascend-example, found by its entry points.


class RecordingCluster(LocalCluster):
    """The local cluster, which keeps the Jobs that it was given."""

    name = "recording"

    def __init__(self):
        super().__init__()
        self.jobs = []

    def create_job(self, manifest):
        self.jobs.append(manifest)
        super().create_job(manifest)


class Recording:
    """A plugin that serves one such cluster."""

    def __init__(self):
        self.cluster = RecordingCluster()

    @hookimpl
    def ascend_cluster(self, name):
        return self.cluster if name == "recording" else None

    @property
    def pod(self):
        return self.cluster.jobs[-1]["spec"]["template"]["spec"]

    @property
    def variables(self):
        return {each["name"]: each.get("value") for each in self.pod["containers"][0]["env"]}


@pytest.fixture
def recording():
    return Recording()


@pytest.fixture
def nimbus(tmp_path, monkeypatch):
    root = tmp_path / "nimbus"
    root.mkdir()
    monkeypatch.setenv("NIMBUS_ROOT", str(root))
    return root


def test_a_large_call_and_its_answer_travel_through_a_plugins_storage(make_executor, recording, nimbus):
    executor = make_executor(cluster="recording", storage="nimbus://bucket", plugins=[recording])
    data = os.urandom(5_000_000)
    future = executor.submit(lambda given: given[::-1], data)
    assert future.result() == data[::-1]
    assert recording.variables["ASCEND_CALL_URL"].startswith("nimbus://bucket/projects/")
    assert recording.variables["ASCEND_OUTCOME_URL"].startswith("nimbus://bucket/projects/")
    executor.shutdown()
    assert [path for path in nimbus.rglob("jobs/*/*") if path.is_file()] == []


def test_an_answer_alone_may_need_the_storage(make_executor, recording, nimbus):
    executor = make_executor(cluster="recording", storage="nimbus://bucket", plugins=[recording])
    assert len(executor.submit(os.urandom, 100_000).result()) == 100_000
    assert "ASCEND_CALL" in recording.variables
    with pytest.raises(ValueError, match="invalid literal"):
        executor.submit(int, "x" * 100_000).result()


CLOUD = """
[plugins.nimbus]
service_account = "research"
zone = "north"
cost_centre = "physics"
"""


def test_node_types_and_job_changes_of_a_plugin_reach_the_manifest(make_executor, recording):
    Path("ascend.toml").write_text(CLOUD)
    executor = make_executor(cluster="recording", plugins=[recording], node_type="nimbus-gpu-small", cpu="1")
    assert executor.submit(abs, -1).result() == 1
    assert recording.cluster.jobs[-1]["metadata"]["labels"]["nimbus.example/cost-centre"] == "physics"
    assert recording.pod["serviceAccountName"] == "research"
    assert recording.pod["nodeSelector"] == {"nimbus.example/pool": "gpu-small", "nimbus.example/zone": "north"}
    assert recording.pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert recording.pod["containers"][0]["resources"]["requests"] == {"nvidia.com/gpu": "1", "cpu": "1"}


def test_a_plugin_leaves_profiles_alone_that_do_not_name_it(make_executor, recording):
    assert make_executor(cluster="recording", plugins=[recording]).submit(abs, -1).result() == 1
    assert "serviceAccountName" not in recording.pod
    assert "nodeSelector" not in recording.pod


# Needs that say something of the Job.


def test_the_image_of_a_task_is_for_this_python(make_executor, recording):
    executor = make_executor(cluster="recording", plugins=[recording])
    executor.submit(pow, 2, 3).result()
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert recording.pod["containers"][0]["image"] == f"python:{minor}-slim"
    executor.with_options(base_image="registry.example/team:{python}").submit(pow, 2, 3).result()
    assert recording.pod["containers"][0]["image"] == f"registry.example/team:{minor}"


def test_a_patch_of_the_job_comes_after_the_plugins(make_executor, recording):
    class Dns:
        @hookimpl
        def ascend_modify_job(self, manifest):
            manifest["spec"]["template"]["spec"].update({"dnsPolicy": "Default", "hostname": "here"})

    patch = {"spec": {"template": {"spec": {"hostname": None, "dnsPolicy": "None"}}}}
    executor = make_executor(cluster="recording", plugins=[recording, Dns()], job_patch=patch)
    assert executor.submit(pow, 2, 3).result() == 8
    assert recording.pod["dnsPolicy"] == "None"
    assert "hostname" not in recording.pod


# Requirements.


def test_requirements_are_installed_once_and_shared(make_executor):
    # By value, since this file's own imports are not installed there.
    def where_and_which():
        import iniconfig

        return sys.prefix, iniconfig.__file__

    first = make_executor(requirements=["iniconfig>=2"]).submit(where_and_which)
    prefix, file = first.result()
    assert prefix != sys.prefix
    assert file.startswith(prefix)
    (environment,) = Path(os.environ["ASCEND_CACHE_DIR"], "environments").glob("*/ready.json")
    made = json.loads(environment.read_text())
    second = make_executor(requirements=["IniConfig >=2"]).submit(where_and_which)
    assert second.result()[0] == prefix
    assert json.loads(environment.read_text()) == made
    assert [phase.name for phase in second.timeline.phases[:3]] == ["queue", "environment", "pack"]


def test_what_cannot_be_installed_fails_every_future_that_needs_it_and_no_other(make_executor):
    executor = make_executor()
    wanting = executor.with_options(requirements=["iniconfig==2.0.0", "iniconfig==1.1.1"])
    failed = [wanting.submit(abs, -1) for _ in range(3)]
    for future in failed:
        with pytest.raises(EnvironmentBuildError, match="cannot be installed") as caught:
            future.result()
        # What was asked for, and the resolver's own words.
        assert "iniconfig==1.1.1, iniconfig==2.0.0" in str(caught.value)
        assert "unsatisfiable" in str(caught.value)
    assert executor.submit(abs, -1).result() == 1
    assert len({id(future.exception()) for future in failed}) == 3


# The user's project.

PROJECT = {
    "pyproject.toml": "[project]\nname = 'forecast'\nversion = '1'\n",
    "forecast/__init__.py": "",
    "forecast/data/limits.txt": "3 7\n",
    "forecast/model.py": """\
from __future__ import annotations
import os
from dataclasses import dataclass
from pathlib import Path
from forecast import tools

LIMITS = Path(__file__).parent / "data" / "limits.txt"

@dataclass
class Range:
    low: int
    high: int

def limits() -> Range:
    return tools.parse(LIMITS.read_text())

def fail(number):
    return number / 0  # the line to be seen

def facts():
    return {"process": os.getpid(), "file": __file__, "name": limits.__module__}
""",
    "forecast/tools.py": """\
def parse(text):
    # Imported where it is needed, so that nothing has loaded it when the call is made.
    from forecast import late
    from forecast.model import Range
    return Range(*late.numbers(text))
""",
    "forecast/late.py": "def numbers(text):\n    return map(int, text.split())\n",
}

CALLER = """\
import os, sys, traceback
sys.path.insert(0, PROJECT)
from ascend import AscendExecutor
from forecast import model

with AscendExecutor(cluster="local", progress=False) as executor:
    answer = executor.submit(model.limits).result()
    print(answer, type(answer) is model.Range)
    facts = executor.submit(model.facts).result()
    print(facts["name"], facts["process"] != os.getpid(), facts["file"] != model.__file__)
    print(executor.submit(isinstance, model.Range(1, 2), model.Range).result())
    try:
        executor.submit(model.fail, 1).result()
    except ZeroDivisionError:
        traceback.print_exc(file=sys.stdout)
"""


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "work" / "forecast-project"
    for name, content in PROJECT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_a_project_is_imported_by_reference_from_any_folder(client, project):
    done = client.run(f"PROJECT = {str(project)!r}\n{CALLER}")
    assert done.code == 0, done.err
    answer, facts, same, *traceback = done.out.splitlines()
    assert answer == "Range(low=3, high=7) True"
    assert facts == "forecast.model True True"
    assert same == "True"
    assert "    return number / 0  # the line to be seen" in traceback
    number = PROJECT["forecast/model.py"].splitlines().index("    return number / 0  # the line to be seen") + 1
    assert any(re.search(rf'forecast[/\\]model.py", line {number}, in fail', line) for line in traceback)
    assert traceback[-1] == "ZeroDivisionError: division by zero"


def test_a_project_may_change_between_two_runs(client, project):
    code = f"PROJECT = {str(project)!r}\n{CALLER}"
    assert client.run(code).out.startswith("Range(low=3, high=7)")
    (project / "forecast/data/limits.txt").write_text("4 8")
    assert client.run(code).out.startswith("Range(low=4, high=8)")


WITHOUT_STORAGE = """\
import os, random
from dataclasses import replace
from ascend import hookimpl
from ascend._builtin.local import LocalCluster
from ascend.errors import SerializationError

class WithoutStorage(LocalCluster):
    @property
    def traits(self):
        return replace(super().traits, storage_url=None, output_outcome=200_000)

class Serves:
    @hookimpl
    def ascend_cluster(self, name):
        return WithoutStorage() if name == "bare" else None

def answer(length):
    print("no end of line", end="")
    return random.Random(length).randbytes(length)

def fail(length):
    raise ValueError(random.Random(length).randbytes(length).hex())

with AscendExecutor(cluster="bare", plugins=[Serves()], progress=False) as executor:
    print(executor.submit(model.limits).result())
    future = executor.submit(answer, 100_000)
    print(future.result() == random.Random(100_000).randbytes(100_000), list(future.logs()))
    print(executor.submit(fail, 30_000).exception().args[0] == random.Random(30_000).randbytes(30_000).hex())
    error = executor.submit(answer, 1_000_000).exception()
    print(type(error) is SerializationError, "ASCEND_STORAGE=" in str(error))
"""


def test_without_a_storage_source_and_answers_of_some_size_travel_too(client, project):
    begin = CALLER.partition("with AscendExecutor")[0]
    done = client.run(f"PROJECT = {str(project)!r}\n{begin}{WITHOUT_STORAGE}")
    assert done.code == 0, done.err
    # The display writes what the tasks wrote in between.
    lines = [line for line in done.out.splitlines() if line != "no end of line"]
    assert lines == ["Range(low=3, high=7)", "True ['no end of line']", "True", "True True"]


SCRIPT = """\
import types
from ascend import AscendExecutor
import helper
from helpers.deep import below

scale = 10

class Point:
    def __init__(self, x):
        self.x = x

def scaled(point):
    return Point(helper.double(point.x) * scale + below(1))

if __name__ == "__main__":
    made = types.ModuleType("made")
    exec("import helper\\ndef quadruple(x):\\n    return helper.double(helper.double(x))\\n", made.__dict__)
    with AscendExecutor(cluster="local", progress=False) as executor:
        point = executor.submit(scaled, Point(2)).result()
        print(point.x, type(point) is Point)
        print(executor.submit(lambda x: helper.double(x) + scale, 1).result())
        print(executor.submit(made.quadruple, 3).result())
        print(list(executor.map(below, [1, 2])))
"""


@pytest.mark.parametrize("way", ["as a file", "with -m"])
def test_a_script_finds_the_modules_beside_it(tmp_path, way):
    folder = tmp_path / "scripts"
    (folder / "helpers").mkdir(parents=True)
    (folder / "script.py").write_text(SCRIPT)
    (folder / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    # A package without an __init__.py.
    (folder / "helpers" / "deep.py").write_text("def below(x):\n    return -x\n")
    arguments = ["script.py"] if way == "as a file" else ["-m", "script"]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["39 True", "12", "12", "[-1, -2]"]


def test_secrets_of_the_project_stay_at_home(client, project):
    (project / ".env").write_text("PASSWORD=1")
    (project / "forecast/data/key.pem").write_text("key")
    (project / ".gitignore").write_text("scratch/\n")
    (project / "forecast/scratch").mkdir()
    (project / "forecast/scratch/large.bin").write_bytes(b"x")
    code = f"""
import sys
sys.path.insert(0, {str(project)!r})
from ascend import AscendExecutor
from forecast import model
def files():
    from pathlib import Path
    from forecast import model
    root = Path(model.__file__).parent.parent
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
with AscendExecutor(cluster="local", progress=False) as executor:
    print(*executor.submit(files).result(), sep="\\n")
"""
    done = client.run(code)
    assert done.code == 0, done.err
    shipped = [name for name in done.out.splitlines() if "__pycache__" not in name]
    assert {"forecast/model.py", "forecast/late.py", "forecast/data/limits.txt"} <= set(shipped)
    assert not [name for name in shipped if name.endswith((".env", ".pem", ".bin"))]
