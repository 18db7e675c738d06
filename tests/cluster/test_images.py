"""Images that the cluster builds: once for all who need them, by an unprivileged pod, and never half."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from ascend._builtin.layer import layer_builder
from ascend._core.config.profile import load_profile
from ascend._core.manifest import image_of
from ascend.building.credentials import DockerConfig
from ascend.building.locks import locked
from ascend.building.names import parse_image, parse_place
from ascend.building.registry import Registry
from ascend.errors import (
    BuildOutOfMemoryError,
    BuildStartError,
    BuildTimeoutError,
    ConfigError,
    ImageBuildError,
    PermissionDeniedError,
    RegistryDeniedError,
    RegistryReadOnlyError,
)
from ascend.model import Environment
from ascend.testing import ImageBuilderContract
from tests.cluster.test_environments import FILES, SCIENCE, fit, index, look, packed_uv  # noqa: F401 - fixtures too
from tests.unit.registries import docker_config, htpasswd, registry

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
BUILDS = "asc-build-"


def write_settings(folder, **build):
    """Write settings for builds that are not kept for long after their end."""
    lines = [f"{name} = {value!r}" for name, value in {"keep": 5, **build}.items()]
    (folder / "ascend.toml").write_text("[plugins.build]\n" + "\n".join(lines) + "\n")


@pytest.fixture
def place(own_cluster, kubernetes, monkeypatch, tmp_path):
    """Return where images of this test go: a place of its own in the cluster's registry."""
    write_settings(tmp_path / "home" / "project")
    host = parse_image(image_of(kubernetes.environ["ASCEND_BASE_IMAGE"])).registry
    monkeypatch.setenv("ASCEND_REGISTRY", f"http://{host}/{kubernetes.name}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return parse_place(f"http://{host}/{kubernetes.name}")


@pytest.fixture
def uv_travels(bucket, monkeypatch, packed_uv, tmp_path):  # noqa: F811 - the fixture
    """Have uv in the cache, and a storage by which it travels."""
    from importlib.metadata import version

    monkeypatch.setenv("ASCEND_STORAGE", bucket)
    kept = tmp_path / f"home/ascend_cache_dir/uv/{version('uv')}-x86_64-unknown-linux-musl.zlib"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(packed_uv)


@pytest.fixture
def tiny(place, index, uv_travels, monkeypatch):  # noqa: F811 - the fixture
    """Return a small environment from an index of this test, and have it be found."""
    monkeypatch.setenv("ASCEND_INDEX_URLS", index.url)
    return environment("tiny-base")


def environment(*requirements, **more):
    base = image_of(os.environ["ASCEND_BASE_IMAGE"])
    return Environment(requirements, PYTHON, base, **more)


@pytest.fixture
def make_builder():
    """Return a function that makes builders as an executor does: each is a client of its own."""

    def make(**settings):
        profile = load_profile(arguments=settings)
        from ascend._builtin.object_store import ObjectStorage

        return layer_builder(profile, ObjectStorage(profile.storage) if profile.storage else None)

    return make


def created(namespace):
    """Return how many Jobs of builds were created, by their names."""
    return Counter(name for name in jobs_created(namespace) if name.startswith(BUILDS))


def jobs_created(namespace):
    """Return the names of the Jobs that were created."""
    requests = [each for each in namespace.audit() if each["verb"] == "create" and "dryRun" not in each["requestURI"]]
    found = [each["objectRef"] for each in requests if each["responseStatus"]["code"] == 201]
    return [each["name"] for each in found if each["resource"] == "jobs"]


@pytest.mark.timeout(600, func_only=True)
def test_requirements_are_built_into_an_image_and_a_second_client_uses_it(make_executor, kubernetes, place):
    settings = {"requirements": SCIENCE, "image_builder": "layer", "memory": "512Mi"}
    first = make_executor(**settings).submit(fit).result(timeout=500)
    assert first[0] == 2.0
    assert first[1].keys() == set(SCIENCE)
    assert sum(created(kubernetes).values()) == 1
    second = make_executor(**settings).submit(fit)
    assert second.result(timeout=120) == first
    assert sum(created(kubernetes).values()) == 1


class TestLayer(ImageBuilderContract):
    @pytest.fixture
    def builder(self, tiny, make_builder):
        return make_builder()

    @pytest.fixture
    def possible(self, tiny):
        return tiny

    @pytest.fixture
    def impossible(self, tiny):
        return environment("ascend-contract==0", "ascend-contract==1")


def test_an_image_has_what_its_name_says(tiny, make_builder, make_executor, place):
    assert make_builder().find(tiny, print) is None
    image = make_builder().ensure(tiny, print)
    assert make_builder().find(tiny, print) == image
    assert (image.lock, image.complete) == ("", True)
    name = parse_image(image.reference)
    assert name.digest
    assert (name.registry, name.repository) == (place.registry, f"{place.path}/env")
    executor = make_executor(image_builder="layer", requirements=["tiny-base"])
    assert executor.submit(look).result(timeout=120) == (42, "1.0", "42\n", False)


def test_ten_clients_make_one_build_and_all_see_its_log(tiny, make_builder, kubernetes):
    said = [[] for _ in range(10)]
    with ThreadPoolExecutor(10) as threads:
        found = list(threads.map(lambda lines: make_builder().ensure(tiny, lines.append), said))
    assert len(set(found)) == 1
    assert list(created(kubernetes).values()) == [1]
    for lines in said:
        assert [line for line in lines if line.startswith("install: 1 distributions")] != []
        assert [line for line in lines if line.startswith("manifest: ")] != []


CLIENT = """
    import os, sys
    from ascend._core.config.profile import load_profile
    from ascend._builtin.layer import layer_builder
    from ascend._builtin.object_store import ObjectStorage
    from ascend.model import Environment

    profile = load_profile()
    builder = layer_builder(profile, ObjectStorage(profile.storage))
    image = builder.ensure(Environment(*eval(sys.argv[1])), lambda line: print(line, flush=True))
    print("image", image.reference, flush=True)
"""


@contextlib.contextmanager
def client(environment):
    wanted = (environment.requirements, environment.python, environment.base_image)
    command = [sys.executable, "-c", textwrap.dedent(CLIENT), repr(wanted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process, word):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(word):
            return lines
    raise AssertionError("".join(lines))


def test_a_build_whose_client_was_killed_ends_by_itself_and_leaves_its_image_alone(tiny, place, kubernetes, eventually):
    with client(tiny) as process:
        read_until(process, "base: ")
        process.send_signal(signal.SIGKILL)
    (name,) = created(kubernetes)
    registry = Registry(place.registry, plain=True)
    eventually(lambda: list(registry.tags(place.repository)), "the image")
    # Its Job, and the Secret with it, go by themselves; the fixture checks that nothing else is left.
    eventually(lambda: not kubernetes.left(), f"the end of {name}")


def test_who_comes_after_a_killed_client_gets_its_build(tiny, kubernetes, make_builder):
    with client(tiny) as process:
        read_until(process, "building ")
        process.send_signal(signal.SIGKILL)
    assert make_builder().ensure(tiny, print).reference
    assert list(created(kubernetes).values()) == [1]


@pytest.fixture
def kept_long(place, tmp_path):
    """Have builds stay after their end: one that goes in the time of a test was stopped."""
    write_settings(tmp_path / "home" / "project", keep=600)
    registry = Registry(place.registry, plain=True)
    yield
    # Nor has it pushed anything before it was.
    assert not list(registry.tags(place.repository))


@pytest.fixture
def silent_index(index, monkeypatch):  # noqa: F811 - the fixture
    """Return a function from which on the index does not answer any more, so that no build ends by itself."""
    closing = threading.Event()
    yield lambda: monkeypatch.setattr(index, "answer", lambda _: closing.wait(60) and None)
    closing.set()


@pytest.mark.usefixtures("kept_long")
def test_a_build_that_nobody_waits_for_any_more_is_stopped(tiny, kubernetes, make_builder, eventually, silent_index):
    asked = locked(tiny, load_profile(), print)
    silent_index()
    builders = [make_builder(), make_builder()]
    said = [[], []]
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(each.ensure, asked, lines.append) for each, lines in zip(builders, said, strict=True)]
        eventually(lambda: all(any(line.startswith("base: ") for line in lines) for lines in said), "the build")
        builders[0].close()
        assert "nobody waits" in str(waiting[0].exception(timeout=30))
        assert [each for each in kubernetes.left() if each.startswith(f"jobs/{BUILDS}")] != []
        builders[1].close()
        assert "nobody waits" in str(waiting[1].exception(timeout=30))
    eventually(lambda: not kubernetes.left(), "the end of the build")


@pytest.mark.usefixtures("kept_long")
def test_a_build_is_stopped_with_the_run_that_needs_it(tiny, make_executor, kubernetes, eventually, silent_index):
    assert tiny.requirements == ("tiny-base",)
    executor = make_executor(image_builder="layer", requirements=["tiny-base"])
    future = executor.submit(look)
    eventually(lambda: [each for each in kubernetes.left() if each.startswith(f"jobs/{BUILDS}")], "the build")
    silent_index()
    executor._run.shutdown(wait=True, cancel_futures=True, kill=True)
    assert future.done()
    eventually(lambda: not kubernetes.left(), "the end of the build")


def test_a_failed_build_is_an_error_for_all_who_need_it_and_is_made_again(tiny, index, make_builder, kubernetes):  # noqa: F811
    good = index.files["tiny-base"].copy()
    builder = make_builder()
    asked = locked(tiny, load_profile(), print)
    index.add("tiny-base", "1.0", {**FILES, "tiny_base.py": "answer = 43\n"})
    with ThreadPoolExecutor(3) as threads:
        errors = [each.exception() for each in [threads.submit(builder.ensure, asked, print) for _ in range(3)]]
    assert [type(each) for each in errors] == [ImageBuildError] * 3
    assert len({id(each) for each in errors}) == 3
    assert errors[0].step == "install"
    assert "hash mismatch" in str(errors[0]).lower()
    assert any(line.startswith("install failed") for line in errors[0].lines)
    assert list(created(kubernetes).values()) == [1]
    index.files["tiny-base"] = good
    assert make_builder().ensure(asked, print).reference
    assert list(created(kubernetes).values()) == [2]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"memory": "24Mi"}, (BuildOutOfMemoryError, "raise memory")),
        ({"cpu": "64"}, (BuildStartError, "Insufficient cpu")),
    ],
    ids=["memory", "room"],
)
def test_a_build_that_the_cluster_ends(tiny, make_builder, tmp_path, settings, error):
    write_settings(tmp_path / "home" / "project", **settings)
    with pytest.raises(error[0], match=error[1]) as caught:
        make_builder(queue_timeout=5.0).ensure(tiny, print)
    assert "tiny-base" in str(caught.value)


def test_a_build_that_takes_too_long(tiny, make_builder, tmp_path, silent_index):
    write_settings(tmp_path / "home" / "project", timeout=4)
    asked = locked(tiny, load_profile(), print)
    silent_index()
    with pytest.raises(BuildTimeoutError, match="longer than 4 s") as caught:
        make_builder().ensure(asked, print)
    assert isinstance(caught.value, TimeoutError)


def test_a_build_that_a_quota_forbids(tiny, make_builder, kubernetes):
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.memory": "64Mi"}}}
    kubernetes.admin.create("resourcequotas", quota, kubernetes.name)
    with pytest.raises(BuildStartError, match="exceeded quota"):
        make_builder().ensure(tiny, print)


def test_who_may_create_no_jobs_is_told_what_is_missing(tiny, make_builder, kubernetes):
    role = kubernetes.admin.get("roles", "ascend-user", kubernetes.name)
    rules = [rule for rule in role["rules"] if "jobs" not in rule["resources"]]
    kubernetes.admin.patch("roles", "ascend-user", {"rules": rules}, kubernetes.name)
    with pytest.raises(PermissionDeniedError, match="ascend doctor"):
        make_builder().ensure(tiny, print)


@pytest.mark.parametrize("setting", ["base", "target"])
def test_a_registry_that_is_not_allowed_is_refused_before_anything_runs(tiny, place, make_builder, kubernetes, setting):
    allowed = [f"{place.registry}/{place.path}"] if setting == "base" else [f"{place.registry}/python"]
    with pytest.raises(ConfigError, match="is in no allowed registry"):
        make_builder(allowed_registries=allowed).ensure(tiny, print)
    assert not created(kubernetes)


def test_a_task_whose_image_is_not_allowed_is_refused(make_executor, place, kubernetes):
    executor = make_executor(allowed_registries=["registry.example"])
    error = executor.submit(int).exception(timeout=60)
    assert type(error) is ConfigError
    assert "allowed_registries has registry.example" in str(error)
    assert not jobs_created(kubernetes)


@pytest.fixture
def other_registry(place, tmp_path, monkeypatch):
    """Return a function that starts a registry on this machine, which pods reach, and has images go there."""
    address = str(ipaddress.ip_address(place.registry.partition(":")[0]) + 1)
    with contextlib.ExitStack() as stack:

        def start(**changes):
            folder = tmp_path / "registry"
            folder.mkdir()
            if changes.pop("password", False):
                changes |= htpasswd(folder, "ada")
            name = stack.enter_context(registry(folder, address=address, **changes))
            monkeypatch.setenv("ASCEND_REGISTRY", f"http://{name}/team")
            write_settings(tmp_path / "home" / "project", plain_registries=[place.registry])
            return name

        yield start


def test_a_registry_that_is_read_only(tiny, other_registry, make_builder):
    other_registry(storage={"maintenance": {"readonly": {"enabled": True}}})
    with pytest.raises(ImageBuildError, match="read-only") as caught:
        make_builder().ensure(tiny, print)
    assert type(caught.value.__cause__) is RegistryReadOnlyError
    assert caught.value.step == "push"


def test_pods_push_with_the_credentials_of_a_secret(tiny, other_registry, make_builder, kubernetes, tmp_path):
    name = other_registry(password=True)
    # The client may look; what pods have is another matter.
    config = docker_config(tmp_path / "docker", name, "ada")
    with pytest.raises(ImageBuildError, match="registry_secret") as caught:
        make_builder().ensure(tiny, print)
    assert type(caught.value.__cause__) is RegistryDeniedError
    secret = {"metadata": {"name": "pusher"}, "type": "kubernetes.io/dockerconfigjson"}
    kubernetes.admin.create(
        "secrets", {**secret, "stringData": {".dockerconfigjson": config.read_text()}}, kubernetes.name
    )
    image = make_builder(registry_secret="pusher").ensure(tiny, print)
    manifest = Registry(name, plain=True, config=DockerConfig(config)).manifest(
        parse_image(image.reference), "linux/amd64"
    )
    # The base came from another registry, so its layer was copied.
    assert len(manifest.layers) == 2


def test_who_may_not_look_into_the_registry_is_told_so(tiny, other_registry, make_builder, kubernetes):
    name = other_registry(password=True)
    with pytest.raises(RegistryDeniedError, match=f"docker login {name}"):
        make_builder().ensure(tiny, print)
    assert not created(kubernetes)


@pytest.mark.usefixtures("place")
def test_a_base_by_node_type(make_executor, kubernetes, tmp_path, monkeypatch, eventually):
    base = os.environ["ASCEND_BASE_IMAGE"]
    monkeypatch.delenv("ASCEND_BASE_IMAGE")
    text = f'[base_images]\nspecial = "{base}"\ndefault = "registry.invalid/never:1"\n[plugins.build]\nkeep = 5\n'
    (tmp_path / "home" / "project" / "ascend.toml").write_text(text)
    executor = make_executor(node_type="special", queue_timeout=4.0)
    future = executor.submit(int)
    # No node is of that type, so its Job waits until it is given up.
    selector = "app.kubernetes.io/managed-by=ascend"
    (job,) = eventually(lambda: kubernetes.admin.find("jobs", kubernetes.name, selector), "the Job")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == image_of(base)
    future.exception(timeout=60)
    assert len(jobs_created(kubernetes)) == 1
