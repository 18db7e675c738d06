"""Which files travel: seen from programs that run in little projects of their own."""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import subprocess
import sys
import types
import zipfile
import zlib
from textwrap import dedent

import pytest

from ascend._core.source.archive import make_archive
from ascend._core.source.imports import read_imports
from ascend._core.source.tracker import Source, SourceTracker, exists_only_here, local_module_reason
from ascend.errors import SourceError

PRINT = """
import json
from ascend._core.source.tracker import SourceTracker
source = SourceTracker().current()
print(json.dumps({
    "files": {file.path: file.why for file in source.files},
    "skipped": {file.path: file.why for file in source.skipped},
    "digest": source.digest,
}))
"""


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "my projéct")


class Project:
    """A folder of files, and programs that run in it."""

    def __init__(self, root):
        self.root = root
        root.mkdir(parents=True)
        self.write({"pyproject.toml": ""})

    def write(self, files):
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(dedent(content), encoding="utf-8")

    def run(self, *arguments, path=()):
        extra = os.pathsep.join(map(str, path))
        env = {**os.environ, "PYTHONPATH": extra, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, *arguments], cwd=self.root, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def source_of(self, script, **options):
        self.write({"main.py": dedent(script) + PRINT})
        return json.loads(self.run("main.py", **options).splitlines()[-1])


def test_nothing_local_travels_as_nothing(project):
    found = project.source_of("import json, click")
    assert found == {"files": {}, "skipped": {}, "digest": ""}


def test_a_whole_package_travels_with_its_data(project):
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/never_imported.py": "",
            "pkg/data/table of ünits.csv": "1",
            "pkg/sub/mod.py": "",
            "other/readme.txt": "not a package",
        }
    )
    found = project.source_of("import pkg")
    assert set(found["files"]) == {
        "pkg/__init__.py",
        "pkg/never_imported.py",
        "pkg/data/table of ünits.csv",
        "pkg/sub/mod.py",
    }


def test_of_a_top_level_module_only_its_file_travels(project):
    project.write({"mod.py": "", "beside.py": "", "data.csv": ""})
    assert set(project.source_of("import mod")["files"]) == {"mod.py"}


def test_the_script_itself_stays_and_its_lazy_imports_travel(project):
    project.write({"lazy.py": "import deeper", "deeper.py": "", "named.py": "", "unused.py": ""})
    script = """
        def work():
            import lazy
            from importlib import import_module
            import_module("named")
    """
    found = project.source_of(script)
    assert found["files"] == {
        "lazy.py": "imported by main.py",
        "named.py": "imported by main.py",
        "deeper.py": "imported by lazy.py",
    }


def test_of_a_namespace_package_only_what_is_reached_travels(project):
    project.write(
        {
            "ns/used/__init__.py": "def f():\n    from ..lazy import thing",
            "ns/used/data.txt": "",
            "ns/lazy.py": "thing = 1",
            "ns/unused/__init__.py": "",
            "ns/loose.py": "",
        }
    )
    found = project.source_of("import ns.used")
    assert set(found["files"]) == {"ns/used/__init__.py", "ns/used/data.txt", "ns/lazy.py"}


def test_portions_of_a_namespace_in_several_folders_are_joined(project, tmp_path):
    other = Project(tmp_path / "other")
    other.write({"ns/there/__init__.py": ""})
    project.write({"ns/here/__init__.py": ""})
    found = project.source_of("def f():\n    import ns.there\nimport ns.here", path=[other.root])
    assert set(found["files"]) == {"ns/here/__init__.py", "ns/there/__init__.py"}


def test_a_package_elsewhere_on_the_path_travels_as_an_editable_install_does(project, tmp_path):
    editable = Project(tmp_path / "editable")
    editable.write({"src/tool/__init__.py": ""})
    assert set(project.source_of("import tool", path=[editable.root / "src"])["files"]) == {"tool/__init__.py"}


def test_installed_packages_stay(project, tmp_path):
    installed = tmp_path / "lib" / "site-packages"
    (installed / "there").mkdir(parents=True)
    (installed / "there" / "__init__.py").touch()
    assert project.source_of("import there", path=[installed])["files"] == {}


def test_what_git_ignores_stays_and_is_named(project):
    project.write(
        {
            ".gitignore": "*.log\n/pkg/cache/\n",
            "pkg/.gitignore": "local.txt\n!kept.log\n",
            "pkg/__init__.py": "",
            "pkg/run.log": "",
            "pkg/kept.log": "",
            "pkg/local.txt": "",
            "pkg/cache/big.bin": "",
        }
    )
    found = project.source_of("import pkg")
    assert set(found["files"]) == {"pkg/__init__.py", "pkg/kept.log"}
    assert found["skipped"] == {
        "pkg/.gitignore": "for git only",
        "pkg/run.log": "ignored by .gitignore",
        "pkg/local.txt": "ignored by pkg/.gitignore",
        "pkg/cache/": "ignored by .gitignore",
    }


def test_an_ignored_module_that_is_imported_travels_since_its_package_needs_it(project):
    project.write(
        {
            ".gitignore": "_version.py\nunused.py\nlazy.py\n",
            "pkg/__init__.py": "from pkg._version import v\ndef f():\n    from . import lazy",
            "pkg/_version.py": "v = 1",
            "pkg/lazy.py": "",
            "pkg/unused.py": "",
        }
    )
    found = project.source_of("import pkg")
    assert set(found["files"]) == {"pkg/__init__.py", "pkg/_version.py", "pkg/lazy.py"}
    assert set(found["skipped"]) == {"pkg/unused.py"}


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.local",
        "server.pem",
        "SERVER.KEY",
        "id_rsa",
        "id_ed25519.pub",
        "credentials.json",
        ".netrc",
        "a.p12",
    ],
)
def test_secrets_stay(project, name):
    project.write({"pkg/__init__.py": "", f"pkg/{name}": "secret"})
    found = project.source_of("import pkg")
    assert set(found["files"]) == {"pkg/__init__.py"}
    assert found["skipped"][f"pkg/{name}"].startswith("may hold a secret")


def test_a_module_called_credentials_is_code(project):
    project.write({"pkg/__init__.py": "", "pkg/credentials.py": ""})
    assert "pkg/credentials.py" in project.source_of("import pkg")["files"]


def test_generated_folders_and_virtual_environments_stay(project):
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/__pycache__/x.pyc": "",
            "pkg/node_modules/left.js": "",
            "pkg/env/pyvenv.cfg": "",
            "pkg/env/lib/mod.py": "",
        }
    )
    found = project.source_of("import pkg")
    assert set(found["files"]) == {"pkg/__init__.py"}
    assert found["skipped"]["pkg/env/"] == "a virtual environment"
    assert set(found["skipped"]) == {"pkg/env/", "pkg/node_modules/", "pkg/__pycache__/"}


def test_a_file_over_the_limit_stays(project):
    project.write({"pkg/__init__.py": "", "pkg/model.bin": bytes(10 * 2**20 + 1)})
    found = project.source_of("import pkg")
    assert set(found["files"]) == {"pkg/__init__.py"}
    assert found["skipped"] == {"pkg/model.bin": "larger than 10 MiB"}


def test_too_much_source_names_the_largest_files_and_the_remedy(project):
    project.write({"pkg/__init__.py": "", "pkg/large.bin": bytes(3 * 2**20), "pkg/small.bin": bytes(10)})
    script = """
        import pkg
        from ascend._core.source.tracker import SourceTracker
        from ascend.errors import SourceError
        tracker = SourceTracker(limit=2 * 2**20)
        for _ in range(2):
            try:
                tracker.current()
            except SourceError as error:
                print(error)
    """
    project.write({"large.py": script})
    first, second = project.run("large.py").splitlines()
    assert first == second
    assert first.index("large.bin (3.0 MiB)") < first.index("small.bin")
    assert ".gitignore" in first


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_within_the_project_only(project, tmp_path):
    (tmp_path / "outside.txt").write_text("private")
    project.write({"pkg/__init__.py": "", "shared/data.txt": "shared", "shared/.env": "secret"})
    for name, target in {
        "in.txt": project.root / "shared" / "data.txt",
        "out.txt": tmp_path / "outside.txt",
        "harmless.txt": project.root / "shared" / ".env",
        "folder": project.root / "shared",
        "loop": project.root / "pkg",
        "broken.txt": project.root / "nothing",
    }.items():
        (project.root / "pkg" / name).symlink_to(target)
    found = project.source_of("import pkg")
    assert set(found["files"]) == {"pkg/__init__.py", "pkg/in.txt", "pkg/folder/data.txt"}
    assert found["skipped"]["pkg/out.txt"].startswith("a link out of the project")
    assert set(found["skipped"]) == {
        "pkg/out.txt",
        "pkg/harmless.txt",
        "pkg/folder/.env",
        "pkg/loop",
        "pkg/broken.txt",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_is_no_regular_file_stays(project):
    project.write({"pkg/__init__.py": ""})
    os.mkfifo(project.root / "pkg" / "pipe")
    assert project.source_of("import pkg")["skipped"] == {"pkg/pipe": "not a regular file"}


def test_code_for_another_python_stops_nothing(project):
    project.write({"pkg/__init__.py": "", "pkg/template.py": "import {{ name }}\nprint 1"})
    assert "pkg/template.py" in project.source_of("import pkg")["files"]


def test_a_program_without_a_file_has_source_too(project):
    project.write({"mod.py": ""})
    found = json.loads(project.run("-c", "import mod" + PRINT))
    assert set(found["files"]) == {"mod.py"}


def test_a_module_run_with_m_is_resolved_against_its_package(project):
    project.write(
        {"pkg/__init__.py": "", "pkg/__main__.py": "def f():\n    from ns.x import y" + PRINT, "ns/x.py": "y = 1"}
    )
    found = json.loads(project.run("-m", "pkg"))
    assert {"pkg/__init__.py", "ns/x.py"} <= set(found["files"])


def test_a_module_that_is_loaded_later_is_found_at_once(project):
    project.write({"one.py": "", "two.py": ""})
    script = """
        import one
        from ascend._core.source.tracker import SourceTracker
        tracker = SourceTracker(interval=1e9)
        first = tracker.current()
        assert tracker.current() is first
        __import__("t" + "wo")
        print([[file.path for file in source.files] for source in (first, tracker.current())])
    """
    project.write({"later.py": script})
    assert project.run("later.py").strip() == "[['one.py'], ['one.py', 'two.py']]"


def test_changed_new_and_removed_files_are_seen_when_it_looks_again(project):
    project.write({"pkg/__init__.py": "", "pkg/data.txt": "one"})
    script = """
        import pathlib, pkg
        from ascend._core.source.tracker import SourceTracker
        tracker = SourceTracker(interval=0)
        folder = pathlib.Path("pkg")
        seen = []
        def look():
            source = tracker.current()
            seen.append((len(source.files), source.digest))
            assert tracker.current() is source
        look()
        folder.joinpath("data.txt").write_text("changed")
        look()
        folder.joinpath("new.txt").write_text("")
        look()
        pathlib.Path(".gitignore").write_text("new.txt")
        look()
        folder.joinpath("data.txt").unlink()
        look()
        assert seen[1] == seen[3]
        assert len(set(seen)) == 4
        print([count for count, _ in seen])
    """
    project.write({"changes.py": script})
    assert project.run("changes.py").strip() == "[2, 2, 3, 2, 1]"


def test_the_same_files_make_the_same_archive_anywhere(project, tmp_path):
    other = Project(tmp_path / "elsewhere")
    for each in (project, other):
        each.write({"pkg/__init__.py": "x = 1", "pkg/b.txt": "b", "pkg/a.txt": "a"})
    os.utime(other.root / "pkg" / "a.txt", (1, 1))
    assert project.source_of("import pkg")["digest"] == other.source_of("import pkg")["digest"]


def test_the_digest_is_that_of_the_archive(tmp_path):
    (tmp_path / "a file.py").write_text("x = 1")
    data = make_archive([("a file.py", tmp_path / "a file.py")])
    assert marshal.loads(zlib.decompress(data)) == {"a file.py": b"x = 1"}
    source = SourceTracker().current()
    assert source.digest == (hashlib.sha256(source.archive()).hexdigest() if source.files else "")
    assert Source().digest == ""


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.py"):
        make_archive([("gone.py", tmp_path / "gone.py")])


def test_modules_say_where_others_find_them():
    made = types.ModuleType("made_here")
    assert local_module_reason(json) == "standard library"
    assert local_module_reason(sys) == "standard library"
    assert str(local_module_reason(pytest)).startswith("installed: pytest ")
    assert local_module_reason(made) is None


def test_a_module_made_in_memory_exists_only_here():
    name = "made_in_memory_for_this_test"
    sys.modules[name] = types.ModuleType(name)
    try:
        assert exists_only_here(sys.modules[name])
        assert exists_only_here(sys.modules["__main__"])
        assert not exists_only_here(json)
    finally:
        del sys.modules[name]


def test_a_module_out_of_a_zip_exists_only_here(project):
    with zipfile.ZipFile(project.root / "code.zip", "w") as archive:
        archive.writestr("zipped.py", "")
    script = """
        import sys
        sys.path.insert(0, "code.zip")
        import zipped
        from ascend._core.source.tracker import exists_only_here
        print(exists_only_here(zipped))
    """
    project.write({"zips.py": script, "local.py": ""})
    assert project.run("zips.py").strip() == "True"


def test_guarded_imports_are_optional():
    source = b"""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import a
try:
    import b
except ImportError:
    import c
else:
    import d
import e
"""
    optional = {each.name: each.optional for each in read_imports(source, "")}
    assert {name: optional[name] for name in "abcde"} == {"a": True, "b": True, "c": True, "d": False, "e": False}


def test_relative_imports_are_resolved():
    names = {each.name for each in read_imports(b"from . import x\nfrom ..y import z\nfrom ....far import w", "p.q")}
    assert names == {"p.q", "p.q.x", "p.y", "p.y.z"}
