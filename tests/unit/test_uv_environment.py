from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ascend._builtin.uv_environment import UvEnvironments
from ascend.building.uv_program import answer_settings, uv_environ
from ascend.errors import EnvironmentBuildError
from ascend.model import Environment, Image

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
STOCK = f"python:{PYTHON}-slim"

# Needs nothing from an index, notes each build, and waits with it while a file named "gate" is there.
BACKEND = """
import os, time, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.environ["BUILDS"], "a") as file:
        file.write("built\\n")
    while os.path.exists(os.environ["BUILDS"] + ".gate"):
        time.sleep(0.02)
    name = "tiny_project-1.0-py3-none-any.whl"
    info = "tiny_project-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.write(os.path.join(here, "tiny_project.py"), "tiny_project.py")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny-project\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny-project"
version = "1.0"
"""
ENSURE = """
import sys
from pathlib import Path
from ascend._builtin.uv_environment import UvEnvironments
from ascend.model import Environment

environment = Environment(tuple(sys.argv[4:]), sys.argv[2], sys.argv[3])
print(UvEnvironments(Path(sys.argv[1])).ensure(environment, print).reference)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that takes as long to build as the test wants; `builds` counts."""
    folder = tmp_path / "tiny project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "tiny_project.py").write_text("answer = 42\n")
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "environments"


def environment(*requirements):
    return Environment(requirements, PYTHON, STOCK)


def local(project):
    return f"tiny-project @ {project.as_uri()}"


def python_of(image):
    assert image.reference.startswith("env:")
    return Path(image.reference.removeprefix("env:"))


def run_there(image, code):
    return subprocess.run([python_of(image), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def ensure_elsewhere(root, *requirements):
    program = [sys.executable, "-c", ENSURE, str(root), PYTHON, STOCK, *requirements]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_requirements_can_be_imported_there(root, project):
    image = UvEnvironments(root).ensure(environment(local(project)), print)
    assert run_there(image, "import tiny_project; print(tiny_project.answer)") == "42"


def test_an_environment_has_this_minor_version_and_nothing_of_ours(root, project):
    image = UvEnvironments(root).ensure(environment(local(project)), print)
    assert run_there(image, "import sys; print('%d.%d' % sys.version_info[:2])") == PYTHON
    with pytest.raises(subprocess.CalledProcessError):
        run_there(image, "import pytest")


def test_requirements_come_from_an_index(root):
    image = UvEnvironments(root).ensure(environment("six>=1.16"), print)
    assert run_there(image, "import six; print(six.__name__)") == "six"


def test_no_requirements_are_an_empty_environment(root):
    image = UvEnvironments(root).ensure(environment(), print)
    assert run_there(image, "import os; print(len(os.listdir(os.path.dirname(os.__file__))) > 0)") == "True"


def test_the_same_requirements_are_installed_once(root, project):
    first = UvEnvironments(root).ensure(environment(local(project)), print)
    lines: list[str] = []
    assert UvEnvironments(root).ensure(environment(local(project)), lines.append) == first
    assert lines == []


def test_spelling_and_order_do_not_matter(root):
    builder = UvEnvironments(root)
    one = builder.ensure(environment("six>=1.16, <2", "Iniconfig"), print)
    other = UvEnvironments(root).ensure(environment("iniconfig", "SIX<2,>=1.16"), print)
    assert one == other


def test_what_a_local_path_holds_is_part_of_what_it_stands_for(root, project):
    first = UvEnvironments(root).ensure(environment(local(project)), print)
    (project / "tiny_project.py").write_text("answer = 'another'\n")
    second = UvEnvironments(root).ensure(environment(local(project)), print)
    assert first != second
    assert run_there(second, "import tiny_project; print(tiny_project.answer)") == "another"


def test_index_settings_make_another_environment(root, monkeypatch):
    first = UvEnvironments(root).ensure(environment(), print)
    monkeypatch.setenv("UV_PRERELEASE", "allow")
    assert UvEnvironments(root).ensure(environment(), print) != first


def test_each_use_is_noted(root):
    image = UvEnvironments(root).ensure(environment(), print)
    marker = python_of(image).parents[2] / "ready.json"
    os.utime(marker, (0, 0))
    UvEnvironments(root).ensure(environment(), print)
    assert marker.stat().st_mtime > 0


def test_the_marker_says_what_was_installed(root, project):
    image = UvEnvironments(root).ensure(environment(local(project)), print)
    marker = json.loads((python_of(image).parents[2] / "ready.json").read_text())
    assert marker["lock"] == marker["requirements"] == [local(project)]


def test_environments_lie_below_the_cache_folder_of_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("ASCEND_CACHE_DIR", str(tmp_path / "cache"))
    assert python_of(UvEnvironments().ensure(environment(), print)).is_relative_to(tmp_path / "cache/environments")


def test_an_image_that_is_not_used_is_mentioned(root):
    lines: list[str] = []
    UvEnvironments(root).ensure(Environment((), PYTHON, "registry.example/team/image:1"), lines.append)
    assert "registry.example/team/image:1 is not used here" in lines[0]


def test_an_environment_whose_python_is_gone_is_made_again(root):
    image = UvEnvironments(root).ensure(environment(), print)
    python_of(image).unlink()
    assert python_of(UvEnvironments(root).ensure(environment(), print)).exists()


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        (("six==99",), "no version of six==99"),
        (("six==1.16", "six==1.17"), "unsatisfiable"),
        (("not a requirement",), "'not a requirement' is no requirement"),
    ],
)
def test_the_error_holds_the_resolvers_words(root, requirements, words):
    with pytest.raises(EnvironmentBuildError, match=words):
        UvEnvironments(root).ensure(environment(*requirements), print)
    assert not list(root.glob("*/*"))


def test_a_package_that_does_not_build_is_an_error_with_its_words(root, project):
    (project / "backend.py").write_text("raise RuntimeError('this project is broken')\n")
    with pytest.raises(EnvironmentBuildError, match="this project is broken"):
        UvEnvironments(root).ensure(environment(local(project)), print)
    assert not list(root.glob("*/*"))


def test_what_has_no_solution_is_not_asked_again(root):
    builder = UvEnvironments(root)
    lines: list[str] = []
    for _ in range(3):
        with pytest.raises(EnvironmentBuildError, match="six==99"):
            builder.ensure(environment("six==99"), lines.append)
    assert lines == ["installing six==99"]


def test_a_failure_of_the_machine_is_tried_again(root, project):
    builder = UvEnvironments(root)
    root.write_text("in the way")
    with pytest.raises(EnvironmentBuildError, match="environments"):
        builder.ensure(environment(local(project)), print)
    root.unlink()
    assert python_of(builder.ensure(environment(local(project)), print)).exists()


def test_a_python_that_is_not_there_is_an_error(root):
    with pytest.raises(EnvironmentBuildError, match=r"3\.3"):
        UvEnvironments(root).ensure(Environment((), "3.3", STOCK), print)


def test_two_processes_at_once_make_one_environment(root, project, tmp_path):
    gate = tmp_path / "builds.gate"
    gate.touch()
    processes = [ensure_elsewhere(root, local(project)) for _ in range(2)]
    # Both have got as far as they can: one builds, the other says that it waits.
    wait_for((tmp_path / "builds").exists)
    gate.unlink()
    references = {process.communicate(timeout=60)[0].splitlines()[-1] for process in processes}
    assert len(references) == 1
    assert run_there(Image(references.pop()), "import tiny_project; print(tiny_project.answer)") == "42"
    assert len([path for path in root.glob("*/*") if path.is_dir()]) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_an_installation_that_was_killed_is_made_again(root, project, tmp_path):
    gate = tmp_path / "builds.gate"
    gate.touch()
    process = ensure_elsewhere(root, local(project))
    wait_for((tmp_path / "builds").exists)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    # Its uv lives on, and goes on writing while the next one installs.
    gate.unlink()
    image = UvEnvironments(root).ensure(environment(local(project)), print)
    assert run_there(image, "import tiny_project; print(tiny_project.answer)") == "42"


def test_settings_of_pip_are_carried_over():
    environ = uv_environ(
        {
            "PIP_CERT": "/certificates.pem",
            "PIP_INDEX_URL": "https://index.example/simple",
            "PIP_EXTRA_INDEX_URL": "https://one.example  https://other.example",
            "PIP_FIND_LINKS": "/wheels https://links.example",
            "HOME": "/home/somebody",
        }
    )
    assert environ == {
        "SSL_CERT_FILE": "/certificates.pem",
        "UV_INDEX_URL": "https://index.example/simple",
        "UV_EXTRA_INDEX_URL": "https://one.example https://other.example",
        "UV_FIND_LINKS": "/wheels,https://links.example",
        "PIP_CERT": "/certificates.pem",
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://one.example  https://other.example",
        "PIP_FIND_LINKS": "/wheels https://links.example",
        "HOME": "/home/somebody",
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize("ours", ["UV_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_settings_of_uv_win_over_those_of_pip(ours):
    environ = uv_environ({"PIP_INDEX_URL": "https://pip.example", ours: "https://uv.example"})
    assert answer_settings(environ) == {ours: "https://uv.example"}


def test_uv_is_not_led_to_another_environment():
    assert uv_environ({"VIRTUAL_ENV": "/a", "UV_SYSTEM_PYTHON": "1", "UV_PYTHON": "3.9"}) == {"NO_COLOR": "1"}
