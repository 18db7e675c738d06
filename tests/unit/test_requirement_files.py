from __future__ import annotations

import pickle
import re

import pytest

from ascend._core.requirement_files import is_file, read_requirements
from ascend._core.source.tracker import SourceTracker
from ascend._core.wanted import imported, written
from ascend.errors import ConfigError

HASH = "sha256:" + "0" * 64
PYPROJECT = """
[project]
name = "mine"
version = "1"
dependencies = ["numpy>=2"]

[project.optional-dependencies]
gpu = ["torch==2.6.0"]
plot = ["matplotlib"]

[dependency-groups]
test = ["pytest", {include-group = "base"}]
base = ["iniconfig"]
loop = [{include-group = "loop"}]
"""


def never():
    raise AssertionError


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "requirements.txt",
        "./deep/base.in",
        "/absolute/requirements.txt",
        "pyproject.toml",
        "pyproject.toml[gpu, plot]",
        "pyproject.toml:test",
        "uv.lock",
        "uv.lock[gpu]",
        "pylock.toml",
        "pylock.gpu.toml",
    ],
)
def test_files_are_told_from_requirements(text):
    assert is_file(text)


@pytest.mark.parametrize("text", ["numpy>=2", "torch[cuda]==2.6.0", "six @ https://index.example/six.txt", "auto"])
def test_requirements_are_told_from_files(text):
    assert not is_file(text)


def test_a_requirements_file_is_read_with_those_that_it_names(write):
    write("deep/base.in", "six  # the usual\n")
    folder = write("requirements.txt", "# all of it\n-r deep/base.in\nnumpy>=2 ; \\\n  python_version > '3'\n\n")
    assert read_requirements("requirements.txt", folder).requirements == ("six", "numpy>=2 ;    python_version > '3'")
    assert read_requirements("requirements.txt", folder).lock == ""


def test_a_requirements_file_with_hashes_is_a_lock(write):
    folder = write("requirements.txt", f"six==1.16.0 \\\n    --hash={HASH} \\\n    --hash={HASH}\n")
    read = read_requirements("requirements.txt", folder)
    assert read.requirements == ("six==1.16.0",)
    assert read.lock == f"six==1.16.0 \\\n    --hash={HASH} \\\n    --hash={HASH}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pyproject.toml", ("numpy>=2",)),
        ("pyproject.toml[gpu,plot]", ("numpy>=2", "torch==2.6.0", "matplotlib")),
        ("pyproject.toml:test", ("pytest", "iniconfig")),
    ],
)
def test_a_project_is_read_with_extras_or_for_a_group(write, text, expected):
    assert read_requirements(text, write("pyproject.toml", PYPROJECT)).requirements == expected


@pytest.mark.parametrize(
    ("name", "content", "text", "words"),
    [
        ("other.txt", "", "requirements.txt", "which cannot be read: No such file"),
        ("requirements.txt", "-r requirements.txt\n", "requirements.txt", "names itself by -r"),
        ("requirements.txt", "-e .\n", "requirements.txt", "leave it out, since a project's source travels by itself"),
        ("requirements.txt", "--index-url https://a.example\n", "requirements.txt", "set index_urls"),
        ("requirements.txt", "-c limits.txt\n", "requirements.txt", "and name the lock"),
        (
            "requirements.txt",
            f"six==1 --hash={HASH}\nnumpy\n",
            "requirements.txt",
            "numpy has no hash",
        ),
        ("requirements.txt", "no such thing\n", "requirements.txt", "'no such thing' is no requirement"),
        ("requirements.txt", "six\n", "requirements.txt[gpu]", "has no extras and no groups"),
        ("pyproject.toml", PYPROJECT, "pyproject.toml[tpu]", "has no extra 'tpu': there are gpu, plot"),
        ("pyproject.toml", PYPROJECT, "pyproject.toml:docs", "'docs' is not there: there are test, base, loop"),
        ("pyproject.toml", PYPROJECT, "pyproject.toml:loop", "'loop' includes itself"),
        ("pyproject.toml", PYPROJECT, "pyproject.toml[gpu]:test", "name the file twice"),
        ("pyproject.toml", "[project", "pyproject.toml", "is not valid TOML"),
        (
            "pyproject.toml",
            PYPROJECT + "[tool.uv.sources]\nnumpy = {path = '../numpy'}\n",
            "pyproject.toml",
            "name the uv.lock",
        ),
        ("pylock.toml", "[[packages]]\nname = 'mine'\ndirectory = {path = '.'}\n", "pylock.toml", "without a hash"),
    ],
)
def test_what_cannot_be_used_is_an_error_with_the_remedy(write, name, content, text, words):
    folder = write(name, content)
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_requirements(text, folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("requirements.txt", "{}\n"),
        ("requirements.txt", f"{{}} --hash={HASH}\n"),
        ("pyproject.toml", "[project]\ndependencies = ['{}']\n"),
    ],
)
def test_credentials_in_a_url_are_refused_and_not_told(write, name, content):
    folder = write(name, content.format("six @ https://ada:secret@a.example/six-1.17.0-py2.py3-none-any.whl"))
    with pytest.raises(ConfigError, match=re.escape("six has credentials in its URL of a.example")) as caught:
        read_requirements(name, folder)
    assert name in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_a_pylock_is_a_lock(write):
    content = (
        'lock-version = "1.0"\n[[packages]]\nname = "six"\nversion = "1.16.0"\nmarker = "os_name == \'posix\'"\n'
        f'wheels = [{{url = "https://a.example/six.whl", hashes = {{sha256 = "{"0" * 64}"}}}}]\n'
    )
    read = read_requirements("pylock.toml", write("pylock.toml", content))
    assert read.lock == f"six==1.16.0 ; os_name == 'posix' \\\n    --hash={HASH}\n"


def test_a_uv_lock_is_exported_by_uv(write):
    write(
        "pyproject.toml",
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six"]\n',
    )
    folder = write(
        "uv.lock",
        'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "mine"\nversion = "1"\n'
        'source = { virtual = "." }\ndependencies = [{ name = "six" }]\n\n[package.metadata]\n'
        'requires-dist = [{ name = "six" }]\n\n[[package]]\nname = "six"\nversion = "1.16.0"\n'
        'source = { registry = "https://a.example/simple" }\n'
        f'wheels = [{{ url = "https://a.example/six-1.16.0-py2.py3-none-any.whl", hash = "{HASH}" }}]\n',
    )
    read = read_requirements("uv.lock", folder)
    assert read.requirements == ("six==1.16.0",)
    assert read.lock == f"six==1.16.0 \\\n    --hash={HASH}\n"


def write_local(write, source):
    """Write a project with a lock that takes tiny from *source*, and six from an index; return its folder."""
    dependencies = '{ name = "six" }, { name = "tiny" }'
    write(
        "pyproject.toml",
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six", "tiny"]\n',
    )
    return write(
        "uv.lock",
        'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "mine"\nversion = "1"\n'
        f'source = {{ editable = "." }}\ndependencies = [{dependencies}]\n\n[[package]]\nname = "six"\n'
        'version = "1.16.0"\nsource = { registry = "https://a.example/simple" }\n'
        f'wheels = [{{ url = "https://a.example/six-1.16.0-py2.py3-none-any.whl", hash = "{HASH}" }}]\n\n'
        f'[[package]]\nname = "tiny"\nversion = "1"\n{source}\n',
    )


@pytest.mark.parametrize(
    "source",
    [
        'source = { directory = "lib" }',
        (
            'source = { path = "tiny-1-py3-none-any.whl" }\n'
            f'wheels = [{{ filename = "tiny-1-py3-none-any.whl", hash = "{HASH}" }}]'
        ),
    ],
    ids=["folder", "wheel"],
)
def test_what_a_uv_lock_takes_from_this_machine_is_refused(write, source):
    folder = write_local(write, source)
    with pytest.raises(ConfigError, match=r"uv\.lock takes \./\S+ from this machine(.|\n)*put a wheel of it into"):
        read_requirements("uv.lock", folder)


def test_what_a_uv_lock_has_editable_travels_as_source(write):
    assert read_requirements("uv.lock", write_local(write, 'source = { editable = "lib" }')).requirements == (
        "six==1.16.0",
    )


def test_files_and_requirements_are_joined_and_come_once(write):
    folder = write("requirements.txt", "six\nnumpy\n")
    assert written(("numpy", "requirements.txt"), folder, never).requirements == ("numpy", "six")


def test_a_lock_is_alone(write):
    folder = write("requirements.txt", f"six==1.16.0 --hash={HASH}\n")
    with pytest.raises(ConfigError, match=r"requirements\.txt is a lock, which holds everything: lock numpy together"):
        written(("numpy", "requirements.txt"), folder, never)


def test_auto_is_what_the_code_imports_at_the_versions_that_are_here():
    from importlib.metadata import version

    def work():
        import json

        import numpy as np
        import pluggy

        return json, np, pluggy

    found = imported(work, pickle.dumps(None), SourceTracker().current())
    assert found == (f"numpy=={version('numpy')}", f"pluggy=={version('pluggy')}")
    assert written(("auto", "six"), None, lambda: found).requirements == (*found, "six")


def test_auto_names_what_is_not_installed_here():
    def work():
        import nowhere_at_all  # type: ignore[import-not-found]

        return nowhere_at_all

    with pytest.raises(ConfigError, match=r"nowhere_at_all, which .*work imports, is not installed here: install it"):
        imported(work, pickle.dumps(None), SourceTracker().current())
