from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ascend.building.instructions import CERTIFICATES, LOCK_FILE, NETRC, InstallSettings, context_of, dockerfile_of
from ascend.errors import ConfigError
from ascend.model import Environment

BASE = "registry.example/python:3.12-slim@sha256:" + "0" * 64
LOCK = "six==1.17.0 \\\n    --hash=sha256:" + "1" * 64 + "\n"
GOLDEN = Path(__file__).parent / "golden"
PRIVATE = InstallSettings(secrets=(NETRC, CERTIFICATES))
OWN = "# escape=`\nFROM debian AS tools\nRUN make `\n    all\n\nFROM python:3.12\nCOPY --from=tools /out /out"


def environment(**fields):
    return Environment(**{"requirements": ("six",), "python": "3.12", "base_image": "python:3.12-slim", **fields})


@pytest.mark.parametrize(
    ("name", "wanted", "settings"),
    [
        ("requirements", environment(lock=LOCK), None),
        ("uv", environment(lock=LOCK), InstallSettings(installer="uv")),
        ("private", environment(lock=LOCK, apt=("libgomp1", "gcc=4:12*")), PRIVATE),
        ("own", environment(lock=LOCK, apt=("git",), dockerfile=OWN), None),
    ],
)
def test_a_dockerfile_is_as_reviewed(name, wanted, settings):
    expected = (GOLDEN / f"{name}.dockerfile").read_text(encoding="utf-8")
    assert dockerfile_of(wanted, base=BASE, settings=settings) == expected


def test_a_dockerfile_that_needs_nothing_more_stays_as_it_is():
    assert dockerfile_of(environment(dockerfile=OWN), base=BASE) == f"{OWN}\n"


@pytest.mark.parametrize("name", ["--allow-unauthenticated", "git; true", "Git", "", "$(id)"])
def test_what_cannot_be_a_package_is_refused(name):
    with pytest.raises(ConfigError, match="in apt cannot be the name of a package"):
        dockerfile_of(environment(apt=(name,)), base=BASE)


def test_pip_is_told_to_read_an_index_without_tls_since_the_lock_has_hashes():
    lock = f"--index-url http://10.0.0.1:8080/simple\n--extra-index-url https://packages.example/simple\n{LOCK}"
    text = dockerfile_of(environment(lock=lock), base=BASE)
    assert "--no-compile --trusted-host=10.0.0.1:8080 --no-deps" in text
    assert "trusted-host=packages.example" not in text


def packed(**files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def files_of(context):
    with tarfile.open(fileobj=io.BytesIO(context), mode="r:") as archive:
        return {entry.name: (entry.mode, archive.extractfile(entry).read()) for entry in archive if entry.isreg()}


def test_the_lock_lies_in_the_context():
    assert files_of(context_of(environment(lock=LOCK))) == {LOCK_FILE: (0o644, LOCK.encode())}
    assert files_of(context_of(environment())) == {}


def test_the_users_files_are_in_the_context_as_they_were():
    given = packed(**{"src/main.py": b"pass", "run.sh": b"#!"})
    files = files_of(context_of(environment(lock=LOCK, context=given)))
    assert files == {"src/main.py": (0o755, b"pass"), "run.sh": (0o755, b"#!"), LOCK_FILE: (0o644, LOCK.encode())}


def test_every_folder_of_the_context_can_be_entered_by_everybody():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        entry = tarfile.TarInfo("secret")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(entry)
        for name in ("a/b/one", "a/b/two", "secret/three"):
            archive.addfile(tarfile.TarInfo(name))
    context = context_of(environment(context=data.getvalue()))
    with tarfile.open(fileobj=io.BytesIO(context), mode="r:") as archive:
        folders = [(entry.name, entry.mode) for entry in archive if entry.isdir()]
    assert folders == [(".", 0o755), ("secret", 0o700), ("a", 0o755), ("a/b", 0o755)]


def test_rules_for_ignored_files_do_not_hide_the_lock():
    files = files_of(context_of(environment(lock=LOCK, context=packed(**{".dockerignore": b"*"}))))
    assert files[".dockerignore"][1] == f"*\n!{LOCK_FILE}\n".encode()


def test_a_file_of_the_locks_name_is_refused():
    with pytest.raises(ConfigError, match="rename it"):
        context_of(environment(lock=LOCK, context=packed(**{f"./{LOCK_FILE}": b""})))


def test_the_same_files_make_the_same_context():
    given = environment(lock=LOCK, context=packed(a=b"1"))
    assert context_of(given) == context_of(given)
