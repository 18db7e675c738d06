"""The builder `layer`: its program makes one reproducible layer on a base, and says what went wrong where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from ascend._builtin.layer import LayerRecipe
from ascend._core.layer_archive import PACKAGES, compile_all, write_layer
from ascend.building.build_options import BuildOptions
from ascend.building.credentials import DockerConfig
from ascend.building.names import ImageName, Place
from ascend.building.pod_archive import pod_archive
from ascend.building.recipes import Build, Recipe
from ascend.building.registry import Registry
from ascend.errors import RegistryDeniedError
from ascend.model import Environment, Profile
from tests.package_index import package_index
from tests.unit.registries import docker_config, htpasswd, registry
from tests.unit.test_registry import NOTHING

FILES = {"tiny_base.py": "answer = 42\n", "tiny_base_data/table.txt": "1 2 3\n", "tiny_base.pth": "tiny_more\n"}
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from ascend._core.pod_layer import main; main()"


@pytest.fixture
def index():
    with package_index() as made:
        made.add("tiny-base", "1.0", FILES)
        yield made


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as name:
        yield Registry(name, plain=True, config=NOTHING)


def push_base(images, repository="team/python"):
    """Push a base with a configuration as real ones have it; return its name by digest."""
    layer = images.upload(repository, b"the base's only layer")
    settings = {"Env": ["PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8"], "Cmd": ["python3"]}
    config = {"architecture": "amd64", "os": "linux", "config": settings}
    config["rootfs"] = {"type": "layers", "diff_ids": [layer.digest]}
    config["history"] = [{"created_by": "base"}]
    blob = images.upload(repository, json.dumps(config).encode())
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob._replace(media_type="application/vnd.oci.image.config.v1+json").to_dict(),
        "layers": [layer._replace(media_type="application/vnd.oci.image.layer.v1.tar+gzip").to_dict()],
    }
    return ImageName(images.name, repository).at(images.put_manifest(ImageName(images.name, repository, "1"), document))


def lock_of(index):
    ((name, content),) = index.files["tiny-base"].items()
    assert name == "tiny_base-1.0-py3-none-any.whl"
    return f"--index-url {index.url}\n\ntiny-base==1.0 --hash=sha256:{sha256(content).hexdigest()}\n"


def run(images, lock, folder, *, base=None, repository="team/env", docker=None, boot=BOOT):
    """Run the program as the pod does; return the finished process, and its receipt."""
    folder.mkdir(exist_ok=True)
    (folder / "builder.zip").write_bytes(pod_archive())
    (folder / "requirements.txt").write_text(lock)
    environ = {
        "PATH": f"{uv_folder()}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "UV_HTTP_RETRIES": "0",
        "ASCEND_LAYER_BASE": str(base or push_base(images)),
        "ASCEND_LAYER_IMAGE": f"{images.name}/{repository}:key",
        "ASCEND_LAYER_PLAIN": images.name,
        "ASCEND_LAYER_PLATFORM": "linux/amd64",
        "ASCEND_LAYER_LABELS": json.dumps({"ascend.dev/builder": "layer"}),
        "ASCEND_RECEIPT": str(folder / "receipt"),
        "ASCEND_SOURCE_DIR": str(folder / "work"),
        "ASCEND_LOCK_URL": (folder / "requirements.txt").as_uri(),
        "ASCEND_LOCK_DIGEST": sha256(lock.encode()).hexdigest(),
        "DOCKER_CONFIG": str(docker or folder),
    }
    command = [sys.executable, "-c", boot, str(folder / "builder.zip")]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    receipt = folder / "receipt"
    return done, receipt.read_text() if receipt.exists() else ""


def uv_folder():
    from uv import find_uv_bin

    return Path(find_uv_bin()).parent


def read_image(images, repository="team/env"):
    manifest = images.manifest(ImageName(images.name, repository, "key"), "linux/amd64")
    return manifest, json.loads(images.blob(repository, manifest.config.digest))


def test_the_packages_are_a_layer_on_the_base(images, index, tmp_path):
    done, _ = run(images, lock_of(index), tmp_path / "one")
    assert done.returncode == 0, done.stderr
    manifest, config = read_image(images)
    assert len(manifest.layers) == len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 2
    assert config["config"]["Env"] == [f"PATH={PACKAGES}/bin:/usr/local/bin:/usr/bin", "LANG=C.UTF-8"]
    assert config["config"]["Labels"] == {"ascend.dev/builder": "layer"}
    path = tmp_path / "layer.tar.gz"
    images.download("team/env", manifest.layers[1].digest, path)
    with tarfile.open(path) as archive:
        entries = {entry.name: entry for entry in archive}
    assert {entry.mtime for entry in entries.values()} == {0}
    assert {(entry.uid, entry.gid, entry.uname) for entry in entries.values()} == {(0, 0, "")}
    inside = PACKAGES.lstrip("/")
    assert f"{inside}/tiny_base_data/table.txt" in entries
    assert [name for name in entries if name.startswith(f"{inside}/__pycache__/tiny_base.")]
    assert [name for name in entries if name.endswith("site-packages/ascend-packages.pth")]


def test_the_layers_of_the_base_are_not_copied(images, index, tmp_path):
    done, _ = run(images, lock_of(index), tmp_path / "one", repository="team/mounting")
    assert "layers of the base: 1 mounted" in done.stdout


def test_the_same_lock_gives_the_same_digest(images, index, tmp_path):
    base = push_base(images)
    for name in ("one", "two"):
        done, _ = run(images, lock_of(index), tmp_path / name, base=base, repository=f"team/{name}")
        assert done.returncode == 0, done.stderr
    assert read_image(images, "team/one")[0].digest == read_image(images, "team/two")[0].digest


def test_many_modules_compile_to_the_same_bytes_every_time(tmp_path):
    digests = set()
    for name in ("one", "two"):
        root = tmp_path / name / "root"
        folder = root / PACKAGES.lstrip("/")
        folder.mkdir(parents=True)
        for module in ("argparse", "ast", "dis", "enum", "inspect", "pickle", "typing", "dataclasses"):
            source = Path(__import__(module).__file__)
            (folder / source.name).write_bytes(source.read_bytes())
        assert compile_all(root, folder) == 8
        digests.add(write_layer(root, tmp_path / name / "layer").plain_digest)
    assert len(digests) == 1


def test_a_compiled_module_is_taken_without_a_look_at_its_source(tmp_path):
    root = tmp_path / "root"
    folder = root / PACKAGES.lstrip("/")
    folder.mkdir(parents=True)
    (folder / "fast.py").write_text("answer = 1\n")
    (folder / "broken.py").write_text("answer =\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_fast.py").write_text("")
    assert compile_all(root, folder) == 2
    (folder / "fast.py").write_text("answer = 2\n")
    command = [sys.executable, "-c", "import fast; print(fast.answer)"]
    assert subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout == b"1\n"
    (compiled,) = (folder / "__pycache__").iterdir()
    assert f"{PACKAGES}/fast.py".encode() in compiled.read_bytes()
    assert str(tmp_path).encode() not in compiled.read_bytes()


def test_a_wheel_that_was_changed_is_refused(images, index, tmp_path):
    lock = lock_of(index)
    index.add("tiny-base", "1.0", {**FILES, "tiny_base.py": "answer = 43\n"})
    done, receipt = run(images, lock, tmp_path / "one", repository="team/changed")
    assert done.returncode == 1
    failure = LayerRecipe(Profile(), by_storage=False).failure([], receipt.encode(), "")
    assert failure.step == "install"
    assert "hash mismatch" in failure.message.lower()
    assert "find out who changed it" in failure.message
    assert images.digest(ImageName(images.name, "team/changed", "key")) is None


def test_a_push_that_is_denied_is_an_error_of_the_registry(index, tmp_path):
    with registry(tmp_path, **htpasswd(tmp_path, "ada")) as name:
        config = docker_config(tmp_path / "docker", name, "ada")
        base = push_base(Registry(name, plain=True, config=DockerConfig(config)))
        images = Registry(name, plain=True, config=NOTHING)
        done, receipt = run(images, lock_of(index), tmp_path / "one", base=base)
        failure = LayerRecipe(Profile(), by_storage=False).failure([], receipt.encode(), "")
        assert type(failure.cause) is RegistryDeniedError
        assert "registry_secret" in failure.message
        done, _ = run(images, lock_of(index), tmp_path / "two", base=base, docker=config.parent)
        assert done.returncode == 0, done.stderr


def test_the_program_needs_nothing_but_a_bare_python(tmp_path):
    (tmp_path / "builder.zip").write_bytes(pod_archive())
    code = "import sys; sys.path.insert(0, sys.argv[1]); import ascend._core.pod_layer as m; print(m.__file__)"
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "builder.zip")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"{tmp_path}/builder.zip/ascend/_core/pod_layer.py", done.stderr


def build(**changes):
    place = Place("registry.example", "team")
    environment = Environment(("numpy",), PYTHON, "python:slim", lock="numpy==2.1.0 --hash=sha256:00\n")
    values = {
        "environment": environment,
        "base": f"registry.example/python@sha256:{'0' * 64}",
        "destination": place.image("0" * 40),
        "place": place,
        "profile": Profile(registry="registry.example/team"),
        "options": BuildOptions(),
        "files": {name: f"/ascend/build/{name}" for name in ("builder.zip", "requirements.txt", "uv.txt")},
        "digests": dict.fromkeys(("builder.zip", "requirements.txt", "uv.txt"), "0" * 64),
        "secret": "asc-build-0",
    }
    return Build(**{**values, **changes})


def test_the_recipe_is_one_and_its_pod_fits_the_restricted_profile():
    recipe = LayerRecipe(Profile(), by_storage=False)
    assert isinstance(recipe, Recipe)
    (container,) = recipe.pod(build())["containers"]
    security = container["securityContext"]
    assert (security["readOnlyRootFilesystem"], security["runAsNonRoot"]) == (True, True)
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_credentials_come_from_secrets_alone():
    profile = Profile(registry="registry.example/team", registry_secret="pusher", index_secret="index")
    pod = LayerRecipe(profile, by_storage=False).pod(build(profile=profile))
    assert {"name": "registry", "mountPath": "/ascend/registry", "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]
    assert [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each] == ["asc-build-0", "pusher"]
    netrc = next(each for each in pod["containers"][0]["env"] if each["name"] == "ASCEND_NETRC")
    assert netrc["valueFrom"] == {"secretKeyRef": {"name": "index", "key": "netrc"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"apt": ("git",)}, "no apt packages"),
        ({"dockerfile": "FROM scratch"}, "no Dockerfile"),
        ({"requirements": ()}, "nothing to install"),
    ],
)
def test_what_it_cannot_make_is_refused(changes, words):
    environment = Environment(**{"requirements": ("numpy",), "python": PYTHON, "base_image": "python:slim", **changes})
    assert words in LayerRecipe(Profile(), by_storage=False).refuses(environment)
