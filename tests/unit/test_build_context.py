from __future__ import annotations

import io
import os
import tarfile

import pytest

from ascend._core.build_context import NO_DOCKERFILE, Dockerfiles
from ascend.errors import ConfigError


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def entries_of(context):
    with tarfile.open(fileobj=io.BytesIO(context), mode="r:") as archive:
        return {entry.name: entry for entry in archive}


def test_the_files_beside_a_dockerfile_come_with_it(tmp_path):
    write(tmp_path / "image", Dockerfile="FROM a\n", src__main="pass", src__deep__data="1")
    (tmp_path / "image" / "src" / "main").chmod(0o700)
    (tmp_path / "image" / "link").symlink_to("src/main")
    found = Dockerfiles(tmp_path).read("image/Dockerfile")
    assert found.text == "FROM a\n"
    entries = entries_of(found.context)
    assert list(entries) == ["Dockerfile", "link", "src/deep/data", "src/main"]
    assert [entries[name].mode for name in ("src/main", "src/deep/data")] == [0o755, 0o644]
    assert (entries["link"].issym(), entries["link"].linkname) == (True, "src/main")


def test_a_file_with_two_names_comes_under_both(tmp_path):
    write(tmp_path / "linked", Dockerfile="FROM a\n", first="1")
    os.link(tmp_path / "linked" / "first", tmp_path / "linked" / "second")
    write(tmp_path / "copied", Dockerfile="FROM a\n", first="1", second="1")
    linked, copied = (Dockerfiles(tmp_path / name).read("Dockerfile") for name in ("linked", "copied"))
    assert linked == copied
    assert list(entries_of(linked.context)) == ["Dockerfile", "first", "second"]


def test_the_same_files_are_the_same_context_whoever_has_them(tmp_path):
    contexts = []
    for name, mode, time in (("one", 0o600, 1), ("two", 0o644, 2)):
        write(tmp_path / name, Dockerfile="FROM a\n", data="1")
        (tmp_path / name / "data").chmod(mode)
        os.utime(tmp_path / name / "data", (time, time))
        contexts.append(Dockerfiles(tmp_path / name).read("Dockerfile"))
    assert contexts[0] == contexts[1]


def test_rules_keep_files_out_and_let_them_in_again(tmp_path):
    rules = "# rules\n\nout\n/*.log\n**/cache\n!out/but-this\n"
    write(tmp_path, Dockerfile="FROM a\n", out__file="", a__log="", deep__cache__file="", deep__out="")
    write(tmp_path, **{".dockerignore": rules, "out/but-this": "", "top.log": "", "deep/low.log": ""})
    names = list(entries_of(Dockerfiles(tmp_path).read("Dockerfile").context))
    # Rules begin at the folder, so what is called the same below it stays.
    assert names == [".dockerignore", "Dockerfile", "a/log", "deep/low.log", "deep/out", "out/but-this"]


def test_a_dockerfile_is_read_once_for_all_tasks(tmp_path):
    write(tmp_path, Dockerfile="FROM a\n")
    dockerfiles = Dockerfiles(tmp_path)
    first = dockerfiles.read("Dockerfile")
    write(tmp_path, Dockerfile="FROM b\n")
    assert dockerfiles.read("Dockerfile") is first
    assert dockerfiles.read(None) == NO_DOCKERFILE


def test_a_dockerfile_without_a_project_is_seen_from_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path, Dockerfile="FROM a\n")
    monkeypatch.chdir(tmp_path)
    assert Dockerfiles(None).read("Dockerfile").text == "FROM a\n"


def test_a_dockerfile_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"dockerfile = 'no/Dockerfile': .*No such file"):
        Dockerfiles(tmp_path).read("no/Dockerfile")


def test_a_folder_that_is_too_large_is_refused_with_the_remedy(tmp_path):
    write(tmp_path, Dockerfile="FROM a\n")
    with (tmp_path / "data").open("wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(ConfigError, match=r"keep out by a .dockerignore"):
        Dockerfiles(tmp_path).read("Dockerfile")
    write(tmp_path, **{".dockerignore": "data\n"})
    assert Dockerfiles(tmp_path).read("Dockerfile").text == "FROM a\n"
