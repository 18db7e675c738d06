"""What is reported of a call before it travels, seen from programs in little projects of their own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from textwrap import dedent

import cloudpickle
import numpy as np
import pytest

from ascend._core.preflight.report import explain_call
from ascend._core.references import pickled_modules
from ascend._core.source.tracker import Source
from ascend.model import Needs

EXPLAIN = """
import json, cloudpickle
from ascend._core.preflight.report import explain_call
from ascend._core.source.tracker import SourceTracker
from ascend.model import Needs

def dumps(fn, args, kwargs):
    buffers = []
    data = cloudpickle.dumps((None, fn, args, kwargs), protocol=5, buffer_callback=buffers.append)
    return data, [buffer.raw() for buffer in buffers]

def explain(fn, *args, **needs):
    report = explain_call(fn, args, {}, needs=Needs(**needs), source=SourceTracker().current(), dumps=dumps)
    print(json.dumps(report.to_dict()))
"""


def dumps(fn, args, kwargs):
    buffers: list = []
    data = cloudpickle.dumps((None, fn, args, kwargs), protocol=5, buffer_callback=buffers.append)
    return data, [buffer.raw() for buffer in buffers]


def start(folder, *arguments):
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=env, capture_output=True, check=False)


@pytest.fixture
def explain(tmp_path):
    def run(files, script):
        for name, content in {"pyproject.toml": "", **files, "main.py": EXPLAIN + dedent(script)}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(content), encoding="utf-8")
        done = start(tmp_path, "main.py")
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout.decode().splitlines()[-1])

    return run


def test_a_function_of_the_project_goes_by_reference_and_is_proved(explain):
    report = explain({"pkg/__init__.py": "def f(x): ...", "pkg/data.csv": "1"}, "import pkg; explain(pkg.f, 1)")
    assert report["function"] == "pkg.f"
    assert report["travels"] == "by reference to the module pkg"
    assert report["modules"] == [{"name": "pkg", "files": 2, "size": 14, "why": "loaded"}]
    assert report["proved"]
    assert report["problems"] == []
    assert report["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_a_function_of_a_script_goes_by_value(explain):
    report = explain({}, "def f(): ...\nexplain(f)")
    assert report["travels"] == "by value"
    assert report["proved"]


def test_large_arguments_are_counted_as_buffers():
    report = explain_call(len, (np.zeros(10_000),), {}, needs=Needs(), source=Source(), dumps=dumps)
    assert report.buffers_size == 80_000
    assert report.call_size < 1_000
    assert report.proved


def test_a_distribution_that_is_not_required_is_a_problem_with_its_remedy(explain):
    files = {"pkg/__init__.py": "import numpy\ndef f(): ..."}
    report = explain(files, "import pkg; explain(pkg.f, requirements=('click',))")
    assert report["missing"] == ["numpy"]
    assert f"numpy=={np.__version__}" in report["problems"][0]
    assert not report["proved"]
    assert "No module named 'numpy'" in report["failure"]


def test_a_required_distribution_is_there_in_any_spelling(explain):
    files = {"pkg/__init__.py": "import numpy, markdown_it\ndef f(): ..."}
    report = explain(files, "import pkg; explain(pkg.f, requirements=('NumPy>=1', 'Markdown.It_Py'))")
    assert {each["name"] for each in report["distributions"]} == {"numpy", "markdown-it-py"}
    assert report["missing"] == []
    assert report["proved"]


def test_what_a_requirement_requires_is_not_missing(explain):
    report = explain({"pkg.py": "import mdurl\ndef f(): ..."}, "import pkg; explain(pkg.f, requirements=('rich',))")
    assert report["missing"] == []
    assert report["proved"]


def test_without_requirements_what_is_missing_is_a_note(explain):
    report = explain({"pkg.py": "import numpy\ndef f(): ..."}, "import pkg; explain(pkg.f)")
    assert report["missing"] == ["numpy"]
    assert report["problems"] == []
    assert "requirements is empty" in report["notes"][0]


def test_a_base_image_may_bring_what_is_not_required(explain):
    script = "import pkg; explain(pkg.f, base_image='registry/image')"
    report = explain({"pkg.py": "import numpy\ndef f(): ..."}, script)
    assert report["problems"] == []
    assert report["notes"] == ["base_image must bring numpy"]


def test_only_what_the_function_leads_to_counts_as_imported(explain):
    files = {"pkg/__init__.py": "", "pkg/used.py": "def f(): ...", "pkg/cli.py": "import click"}
    report = explain(files, "import pkg.used; explain(pkg.used.f, requirements=('numpy',))")
    assert report["distributions"] == []
    assert report["problems"] == []


def test_imports_inside_a_function_of_a_script_count(explain):
    script = """
        def helper():
            import numpy
        def f():
            return helper()
        explain(f, requirements=("click",))
    """
    assert explain({}, script)["missing"] == ["numpy"]


def test_a_module_that_a_script_uses_as_a_value_counts(explain):
    script = "import pkg\ndef f():\n    return pkg.x\nexplain(f, requirements=('click',))"
    assert explain({"pkg.py": "import numpy\nx = 1"}, script)["missing"] == ["numpy"]


def test_an_optional_import_is_not_missing(explain):
    files = {"pkg.py": "try:\n    import numpy\nexcept ImportError:\n    numpy = None\ndef f(): ..."}
    report = explain(files, "import pkg; explain(pkg.f, requirements=('click',))")
    assert report["distributions"][0]["name"] == "numpy"
    assert report["missing"] == []
    assert report["proved"]


def test_an_import_that_nothing_here_brings_is_noted(explain):
    report = explain({"pkg.py": "def f():\n    import not_installed_anywhere"}, "import pkg; explain(pkg.f)")
    assert "not_installed_anywhere" in report["notes"][0]


def test_a_module_that_stays_here_is_a_problem(explain):
    files = {"pkg/__init__.py": "def f():\n    import pkg.large", "pkg/large.py": "#" * (10 * 2**20 + 1)}
    report = explain(files, "import pkg; explain(pkg.f)")
    assert "pkg/large.py is larger than 10 MiB" in report["problems"][0]


def test_a_module_made_in_memory_cannot_be_proved(explain):
    script = """
        import sys, types
        made = sys.modules["made"] = types.ModuleType("made")
        exec("def f(): ...", vars(made))
        explain(made.f)
    """
    report = explain({}, script)
    assert report["travels"] == "by reference to the module made"
    assert "No module named 'made'" in report["failure"]


def test_a_process_that_dies_is_told_with_its_exit_code(explain):
    files = {
        "pkg.py": "import os, sys\nif not sys.argv[0].endswith('main.py'):\n"
        "    print('bye', flush=True)\n    os._exit(3)\ndef f(): ..."
    }
    report = explain(files, "import pkg; explain(pkg.f)")
    assert "exit code 3" in report["failure"]
    assert "bye" in report["failure"]


def test_the_text_names_what_matters(explain):
    files = {"pkg/__init__.py": "import numpy\ndef f(): ...", "pkg/.env": ""}
    script = """
        import pkg
        source = SourceTracker().current()
        print(explain_call(pkg.f, (), {}, needs=Needs(requirements=("click",)), source=source, dumps=dumps))
        explain(pkg.f)
    """
    explain(files, script)


def test_the_report_reads_as_text():
    text = str(explain_call(np.zeros, (3,), {}, needs=Needs(requirements=("click",)), source=Source(), dumps=dumps))
    assert "numpy" in text
    assert "not proved" in text
    assert "problems:" in text


def test_modules_are_read_out_of_pickles_of_every_protocol():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = pickled_modules(pickle.dumps([dedent, json.dumps, json.dumps, dedent], protocol))
        assert {"textwrap", "json"} <= found


def test_the_command_tells_problems_by_its_status(tmp_path):
    (tmp_path / "pkg.py").write_text("import numpy\ndef f(x): ...\n")
    good = start(tmp_path, "-m", "ascend", "explain", "pkg:f", "--arg", "{'[red]': 1}", "--requirement", "numpy")
    assert (good.returncode, good.stderr) == (0, b"")
    assert b"pkg.f travels by reference" in good.stdout
    bad = start(tmp_path, "-m", "ascend", "explain", "pkg:f", "--requirement", "click", "--json")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["missing"] == ["numpy"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["pkg.f"], 2, "module:function"),
        (["pkg:nothing"], 1, "cannot be imported"),
        (["nowhere:f"], 1, "cannot be imported"),
        (["pkg:x"], 2, "cannot be called"),
        (["pkg:f", "--arg", "text"], 2, "no Python literal"),
    ],
)
def test_the_command_says_what_it_does_not_understand(tmp_path, arguments, status, words):
    (tmp_path / "pkg.py").write_text("x = 1\ndef f(x): ...\n")
    done = start(tmp_path, "-m", "ascend", "explain", *arguments)
    assert done.returncode == status
    assert words in done.stderr.decode()
