from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.package_index import package_index


@pytest.fixture
def index(monkeypatch):
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with package_index() as made:
        made.add("tiny-base", "1.0", {"tiny_base.py": ""})
        made.add("tiny-top", "2.1", {"tiny_top.py": ""}, requires=["tiny-base"])
        monkeypatch.setenv("ASCEND_INDEX_URLS", made.url)
        yield made


def ascend(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ascend", "env", *arguments], capture_output=True, text=True, check=False
    )


def test_lock_prints_the_lock_and_says_the_rest_elsewhere(index):
    done = ascend("lock", "tiny-top")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"--index-url {index.url}\n")
    assert "tiny-base==1.0" in done.stdout
    assert done.stderr.startswith("resolved tiny-top to 2 distributions")


def test_a_lock_that_was_written_is_read_again(index, tmp_path):
    path = tmp_path / "requirements.txt"
    assert "requirements = 'requirements.txt' uses it" in ascend("lock", "tiny-top", "-o", str(path)).stdout
    index.add("tiny-base", "1.1", {"tiny_base.py": ""})
    again = ascend("lock", "--fresh", str(path)).stdout
    assert again.endswith(path.read_text())
    assert "tiny-base==1.0" in again


def test_show_says_what_an_environment_comes_to(index):
    done = ascend("show", "--json", "--python", "3.12", "tiny-top")
    shown = json.loads(done.stdout)
    assert shown["packages"] == {"tiny-base": "1.0", "tiny-top": "2.1"}
    assert (shown["python"], shown["platform"], shown["image_builder"]) == ("3.12", "linux/amd64", "uv")
    assert shown["installed"] == "in each pod, when it starts"
    assert "tiny-base" in ascend("show", "tiny-top").stdout


def test_show_names_the_base_image_that_tasks_would_have(index, tmp_path, monkeypatch):
    (tmp_path / "ascend.toml").write_text(
        'node_type = "gpu"\n[base_images]\ndefault = "host/plain:1"\ngpu = "host/cuda:1"\n'
    )
    monkeypatch.chdir(tmp_path)
    shown = json.loads(ascend("show", "--json", "tiny-top").stdout)
    assert shown["base_image"] == "host/cuda:1"
    # Only images have a key, such as `ascend image status` takes.
    assert "key" not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "nothing is asked for: name requirements"), (["auto"], "here is none"), (["tiny-top==9"], "tiny-top==9")],
)
def test_what_cannot_be_locked_is_told(index, arguments, words):
    done = ascend("lock", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
