from __future__ import annotations

import os
import re
import sys

import pytest

from ascend.building.locks import FRESH_SECONDS, locked, pins, resolve
from ascend.errors import EnvironmentBuildError
from ascend.model import Environment, Profile
from tests.package_index import package_index

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def index(monkeypatch):
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    # What is down need not be asked for half a minute.
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with package_index() as made:
        made.add("tiny-base", "1.0", {"tiny_base.py": "answer = 42\n"})
        made.add("tiny-top", "2.1", {"tiny_top.py": ""}, requires=["tiny-base>=1"], extras={"more": ["tiny-extra"]})
        made.add("tiny-extra", "0.3", {"tiny_extra.py": ""})
        yield made


def lock(*requirements, report=print, **options):
    return resolve(requirements, python=PYTHON, platform="linux/amd64", report=report, **options)


def test_a_lock_pins_everything_with_hashes_and_names_the_index(index):
    made = lock("tiny-top", index_urls=[index.url])
    assert made.splitlines()[0] == f"--index-url {index.url}"
    assert pins(made) == {"tiny-base": "1.0", "tiny-top": "2.1"}
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", made)) == 2


def test_an_extra_is_part_of_what_is_locked(index):
    assert "tiny-extra" in pins(lock("tiny-top[more]", index_urls=[index.url]))


def test_the_same_requirements_are_resolved_once_a_day(index):
    lines: list[str] = []
    first = lock("tiny-top", "tiny-base", report=lines.append, index_urls=[index.url])
    index.add("tiny-base", "1.1", {"tiny_base.py": ""})
    asked = len(index.asked)
    assert lock("tiny-base", "tiny-top", report=lines.append, index_urls=[index.url]) == first
    assert len(index.asked) == asked
    assert len(lines) == 1
    assert lines[0].startswith("resolved tiny-base, tiny-top to 2 distributions in ")


def test_a_lock_that_was_kept_too_long_is_made_again(index, tmp_path):
    lock("tiny-base", index_urls=[index.url])
    (kept,) = (tmp_path / "home/ascend_cache_dir/locks").glob("*.txt")
    old = kept.stat().st_mtime - FRESH_SECONDS
    os.utime(kept, (old, old))
    index.add("tiny-base", "1.1", {"tiny_base.py": ""})
    assert pins(lock("tiny-base", index_urls=[index.url], report=print)) == {"tiny-base": "1.1"}


def test_who_asks_for_a_fresh_lock_gets_one(index):
    lock("tiny-base", index_urls=[index.url])
    index.add("tiny-base", "1.1", {"tiny_base.py": ""})
    assert pins(lock("tiny-base", index_urls=[index.url], fresh=True)) == {"tiny-base": "1.1"}


def test_another_index_makes_another_lock(index):
    lock("tiny-base", index_urls=[index.url])
    with package_index() as other:
        other.add("tiny-base", "3.0", {"tiny_base.py": ""})
        assert pins(lock("tiny-base", index_urls=[other.url])) == {"tiny-base": "3.0"}


def test_the_index_settings_of_this_machine_are_used_and_their_credentials_stay_here(index, monkeypatch):
    index.password = "secret"
    monkeypatch.setenv("UV_INDEX_URL", f"http://ada:secret@{index.netloc}/simple")
    lines: list[str] = []
    made = lock("tiny-base", report=lines.append)
    assert made.splitlines()[0] == f"--index-url {index.url}"
    assert "secret" not in made
    assert f"the credentials of {index.netloc} stay here: index_secret names those of the pods" in lines


def test_a_folder_of_this_machine_is_no_place_for_pods(index, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("UV_INDEX_URL", index.url)
    lines: list[str] = []
    assert str(tmp_path) not in lock("tiny-base", report=lines.append)
    assert f"{tmp_path} is not used: pods do not see it" in lines


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        (["tiny-base==9"], "there is no version of tiny-base==9"),
        (["tiny-base<1", "tiny-top"], "unsatisfiable"),
        (["tiny-nowhere"], "tiny-nowhere was not found"),
        (["not a requirement"], "'not a requirement' is no requirement"),
        (["mine @ file:///home/ada/mine"], "a path of this machine, which pods do not see: leave it out if"),
        (["mine @ git+https://git.example/mine"], "has no hash that pods could check: put a wheel of it"),
    ],
)
def test_what_cannot_be_locked_is_an_error_with_the_resolvers_words(index, requirements, words):
    with pytest.raises(EnvironmentBuildError, match=re.escape(words)):
        lock(*requirements, index_urls=[index.url])


@pytest.mark.parametrize("scheme", ["https", "git+https"])
def test_credentials_in_a_url_are_refused_and_not_told(index, scheme):
    with pytest.raises(EnvironmentBuildError, match=re.escape("tiny-base has credentials in its URL of a.")) as caught:
        lock(f"tiny-base @ {scheme}://ada:secret@a.example/tiny_base-1.0-py3-none-any.whl", index_urls=[index.url])
    assert "index_secret" in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_what_is_only_there_as_source_is_an_error_with_the_remedy(index):
    index.files["tiny-source"] = {"tiny_source-1.0.tar.gz": b"never read"}
    with pytest.raises(EnvironmentBuildError, match=r"no usable wheels(.|\n)*only there as source: take"):
        lock("tiny-source", index_urls=[index.url])


def test_what_has_no_wheel_for_the_pods_is_an_error_with_the_remedy(index):
    index.files["tiny-windows"] = {"tiny_windows-1.0-py3-none-win_amd64.whl": b"never read"}
    with pytest.raises(EnvironmentBuildError, match=r"platform(.|\n)*no wheel for the pods' platform: take another"):
        lock("tiny-windows", index_urls=[index.url])


def test_an_index_that_is_down_is_an_error(index):
    with pytest.raises(EnvironmentBuildError, match=re.escape("http://127.0.0.1:9/simple")):
        lock("tiny-base", index_urls=["http://127.0.0.1:9/simple"])


def test_an_index_that_wants_a_password_is_an_error_that_does_not_tell_the_wrong_one(index, monkeypatch):
    index.password = "secret"
    monkeypatch.setenv("UV_INDEX_URL", f"http://ada:wrong-word@{index.netloc}/simple")
    with pytest.raises(EnvironmentBuildError, match=r"401|[Uu]nauthorized") as caught:
        lock("tiny-base")
    assert "wrong-word" not in str(caught.value)


def test_an_unknown_platform_is_an_error():
    with pytest.raises(EnvironmentBuildError, match="there are linux/amd64, linux/arm64"):
        resolve(["six"], python=PYTHON, platform="windows/amd64", report=print)


def test_an_environment_gets_its_lock_unless_it_has_one(index):
    profile = Profile(index_urls=(index.url,))
    bare = Environment(("tiny-base",), PYTHON, "image")
    assert pins(locked(bare, profile, print).lock) == {"tiny-base": "1.0"}
    given = Environment(("tiny-base",), PYTHON, "image", lock="tiny-base==0.5 --hash=sha256:00\n")
    whole = locked(given, profile, print)
    assert whole.lock == f"--index-url {index.url}\n\n{given.lock}"
    assert locked(whole, profile, print) is whole
    assert locked(Environment((), PYTHON, "image"), profile, print).lock == ""
