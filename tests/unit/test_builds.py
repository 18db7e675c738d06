"""Builds as Jobs: what the API server gets, what is refused before, and what is said when one ends without an image."""

from __future__ import annotations

import pytest

from ascend._builtin.kubernetes.finished import finished
from ascend._builtin.layer import LayerRecipe
from ascend._core.config.profile import load_profile
from ascend._core.manifest import base_image_of
from ascend.building.build_errors import SHOWN_LINES, Attempt, build_error
from ascend.building.build_manifest import BUILD_LABEL, FILES, build_job, files_secret, job_name
from ascend.building.build_options import BuildOptions, build_options
from ascend.building.jobs import JobBuilder
from ascend.building.names import parse_image
from ascend.building.recipes import Failure
from ascend.building.registry import Registry
from ascend.errors import (
    BuildOutOfMemoryError,
    BuildStartError,
    BuildTimeoutError,
    ClusterError,
    ConfigError,
    EnvironmentBuildError,
    ImageBuildError,
    ImageNotFoundError,
    RegistryFullError,
)
from ascend.model import Environment, JobStatus, Needs, Profile
from tests.unit.kubernetes_doubles import ScriptedConnection
from tests.unit.registries import registry
from tests.unit.test_layer import build
from tests.unit.test_registry import push

ATTEMPT = Attempt("kaniko", "numpy", "0123456789abcdef", "FROM python\nRUN false\n", BuildOptions())


def ended(**details):
    return JobStatus("asc-build-0", "failed", **details)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (ended(reason="OOMKilled", exit_code=137), BuildOutOfMemoryError, "its memory, 2Gi; raise memory"),
        (ended(signal="SIGKILL"), BuildOutOfMemoryError, "raise memory"),
        (ended(reason="DeadlineExceeded"), BuildTimeoutError, "longer than 3600 s; raise timeout"),
        (ended(reason="DeadlineExceeded", signal="SIGKILL"), BuildTimeoutError, "longer than 3600 s"),
        (ended(reason="Deleted", signal="SIGKILL"), ImageBuildError, "somebody deleted"),
        (ended(reason="PodDeleted", signal="SIGKILL"), ImageBuildError, "somebody deleted"),
        (ended(reason="Disrupted", signal="SIGKILL"), ImageBuildError, "its pod was lost"),
        (ended(reason="Evicted", signal="SIGKILL", message="low on disk"), ImageBuildError, "lost: low on disk; run"),
        (ended(reason="Unschedulable", message="0/3 nodes"), BuildStartError, "0/3 nodes; lower cpu or memory"),
        (ended(reason="ErrImagePull", message="not found"), BuildStartError, "registry_secret"),
        (ended(reason="ExceededQuota", message="exceeded quota"), BuildStartError, "have the quota raised"),
        (ended(reason="FailedCreate", message="violates PodSecurity"), BuildStartError, "build_namespace"),
        (ended(reason="Deleted"), ImageBuildError, "somebody deleted"),
        (ended(reason="Disrupted"), ImageBuildError, "run it again"),
        (ended(exit_code=1), ImageBuildError, "exit code 1"),
        (ended(exit_code=1, message="its init container 'fetch' failed"), ImageBuildError, "'fetch' failed: it ended"),
    ],
)
def test_the_end_of_a_build_has_a_type_and_a_remedy(status, kind, words):
    error = build_error(ATTEMPT, status, [], Failure())
    assert type(error) is kind
    assert words in str(error)
    assert "numpy could not be built by kaniko" in str(error)


def test_an_error_shows_the_step_the_last_lines_and_the_dockerfile():
    lines = [f"line {number}" for number in range(100)]
    cause = RegistryFullError("no room")
    error = build_error(ATTEMPT, ended(exit_code=1), lines, Failure("RUN false", "it exited with 1", cause))
    assert (error.step, error.dockerfile, error.__cause__) == ("RUN false", ATTEMPT.dockerfile, cause)
    assert error.lines == tuple(lines[-SHOWN_LINES:])
    text = str(error)
    assert "at 'RUN false': it exited with 1" in text
    assert "line 99" in text
    assert "line 79" not in text
    assert "  2 RUN false" in text


def test_errors_of_builds_are_errors_of_environments_and_of_what_else_they_are():
    assert issubclass(BuildStartError, ClusterError)
    assert issubclass(BuildTimeoutError, TimeoutError)
    assert issubclass(BuildOutOfMemoryError, EnvironmentBuildError)


def job_of(made):
    return build_job(made, "layer", LayerRecipe(made.profile, by_storage=False).pod(made))


def test_the_job_begins_suspended_and_goes_by_itself():
    made = build(options=BuildOptions(timeout=60.5, keep=5))
    spec = job_of(made)["spec"]
    assert (spec["suspend"], spec["ttlSecondsAfterFinished"]) == (True, 5)
    assert spec["backoffLimitPerIndex"] == 0
    pod = spec["template"]["spec"]
    assert (pod["automountServiceAccountToken"], pod["restartPolicy"]) == (False, "Never")
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "500m", "memory": "2Gi"},
        "limits": {"memory": "2Gi"},
    }


@pytest.mark.parametrize(("queue_timeout", "longest"), [(None, 3600), (5.0, 3600), (7200.0, 7200)])
def test_the_time_of_a_build_begins_with_its_pod(queue_timeout, longest):
    profile = Profile(needs=Needs(queue_timeout=queue_timeout))
    spec = job_of(build(profile=profile, options=BuildOptions(timeout=60.5)))["spec"]
    assert spec["template"]["spec"]["activeDeadlineSeconds"] == 61
    # What waits for a node as long as anybody waits for it has all of its time left.
    assert spec["activeDeadlineSeconds"] >= longest + 61


def test_a_quota_finds_the_memory_of_init_containers_too():
    pod = LayerRecipe(Profile(), by_storage=False).pod(build())
    own = {"requests": {"cpu": "1"}}
    pod["initContainers"] = [{"name": "fetch"}, {"name": "unpack", "resources": own}]
    made = build_job(build(), "layer", pod)["spec"]["template"]["spec"]
    fetch, unpack = made["initContainers"]
    assert fetch["resources"] == made["containers"][0]["resources"]
    assert fetch["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert unpack["resources"] == own


def test_the_job_is_named_after_its_image_and_says_what_it_builds():
    made = build()
    meta = job_of(made)["metadata"]
    assert meta["name"] == job_name(made.destination)
    assert meta["labels"][BUILD_LABEL] == made.destination.tag
    assert meta["annotations"]["ascend.dev/requirements"] == "numpy"
    assert meta["annotations"][FILES] == made.secret
    # Longer names would not fit into those of pods.
    assert len(meta["name"]) <= 50


def test_the_same_environment_for_another_registry_is_another_build():
    made = build()
    assert job_name(made.destination) != job_name(parse_image(f"other.example/env:{made.destination.tag}"))


def test_a_pull_secret_is_that_of_the_registry():
    pod = job_of(build(profile=Profile(registry_secret="pusher")))["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "pusher"}]


def test_builds_use_the_proxy_of_tasks_and_no_other_variable():
    profile = Profile(needs=Needs(env={"https_proxy": "http://proxy.example", "TOKEN": "secret"}))
    variables = LayerRecipe(profile, by_storage=False).pod(build(profile=profile))["containers"][0]["env"]
    assert {"name": "https_proxy", "value": "http://proxy.example"} in variables
    assert "TOKEN" not in {each["name"] for each in variables}


def test_the_secret_goes_with_the_job():
    job = {"metadata": {"name": "asc-build-0", "uid": "1"}}
    secret = files_secret("files", job, {"lock": b"numpy"})
    assert secret["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "asc-build-0", "uid": "1"}
    ]
    assert secret["data"] == {"lock": "bnVtcHk="}


def test_tasks_pull_with_the_secret_of_the_registry():
    manifest = {
        "metadata": {"name": "asc-1", "annotations": {}},
        "spec": {"template": {"spec": {"containers": [{"env": []}]}}},
    }
    job = finished(manifest, namespace="crystals", owner={}, pull_secret="pusher")
    assert job["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "pusher"}]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"timeuot": 1}, "no setting 'timeuot'"),
        ({"timeout": 0}, "timeout in"),
        ({"keep": True}, "keep in"),
        ({"memory": 5}, "memory in"),
        ({"plain_registries": "x"}, "plain_registries in"),
    ],
)
def test_a_wrong_setting_of_builds_is_refused(table, words):
    with pytest.raises(ConfigError, match=words):
        build_options(Profile(plugin_config={"build": table}))


def test_settings_of_builds_have_defaults():
    assert build_options(Profile()) == BuildOptions()
    assert build_options(Profile(plugin_config={"build": {"timeout": 5, "memory": "1Gi"}})).timeout == 5.0


def builder(**settings):
    profile = Profile(**settings)
    return JobBuilder(LayerRecipe(profile, by_storage=False), profile)


def environment(**changes):
    return Environment(**{"requirements": ("numpy",), "python": "3.12", "base_image": "python:slim", **changes})


def test_a_builder_without_a_registry_says_what_to_set():
    with pytest.raises(ConfigError, match="ASCEND_REGISTRY"):
        builder().ensure(environment(), print)


def test_what_a_recipe_refuses_is_refused_before_anything_is_asked():
    with pytest.raises(EnvironmentBuildError, match="no apt packages"):
        builder(registry="registry.invalid/x").ensure(environment(apt=("git",)), print)


class RefusingRecipe(LayerRecipe):
    asked = 0

    def refuses(self, environment):
        self.asked += 1
        return "it makes none"


def test_who_fails_together_gets_an_error_each_and_later_calls_of_the_same_minute_do_not_try_again():
    recipe = RefusingRecipe(Profile(), by_storage=False)
    made, errors = JobBuilder(recipe, Profile()), []
    for _ in range(2):
        with pytest.raises(EnvironmentBuildError) as caught:
            made.ensure(environment(), print)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert recipe.asked == 1


@pytest.mark.parametrize(
    ("needs", "image"),
    [
        (Needs(), "default:3"),
        (Needs(node_type="gpu"), "cuda:3"),
        (Needs(node_type="other"), "default:3"),
        (Needs(node_type="gpu", base_image="mine:1"), "mine:1"),
    ],
)
def test_the_base_image_is_the_call_s_or_that_of_the_node_type(needs, image):
    profile = Profile(base_images={"gpu": "cuda:3", "default": "default:3"})
    assert base_image_of(needs, profile) == image


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ASCEND_REGISTRY", "ftp://x"),
        ("ASCEND_ALLOWED_REGISTRIES", "https://registry.example"),
        ("ASCEND_REGISTRY_SECRET", "No Name"),
    ],
)
def test_a_wrong_setting_of_registries_is_refused(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=f"{variable} must"):
        load_profile()


def test_base_images_must_be_images(tmp_path, monkeypatch):
    (tmp_path / "ascend.toml").write_text('[base_images]\ngpu = "not an image"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="that of gpu is none"):
        load_profile()


class DockerfileRecipe(LayerRecipe):
    """Takes Dockerfiles too."""

    def refuses(self, environment):
        return None


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as name:
        yield Registry(name, plain=True)


def key_of(images, dockerfile, **changes):
    """Return the key that a new client computes."""
    profile = Profile(registry=f"http://{images.name}/team")
    made = JobBuilder(DockerfileRecipe(profile, by_storage=False), profile)
    return made._plan(environment(requirements=(), dockerfile=dockerfile, **changes), print).name.tag


@pytest.mark.parametrize(
    "text",
    [
        "FROM {image}\n",
        "FROM scratch\nCOPY --from={image} /a /b\n",
        "FROM scratch\nRUN --mount=from={image},target=/t /t/run\n",
    ],
)
def test_an_image_of_a_dockerfile_that_has_changed_makes_another_key(images, text):
    dockerfile = text.format(image=f"{images.name}/base:1")
    push(images, "base", "1", b"first")
    first = key_of(images, dockerfile)
    assert key_of(images, dockerfile) == first
    push(images, "base", "1", b"second")
    assert key_of(images, dockerfile) != first


def test_a_base_image_that_a_dockerfile_does_not_use_makes_no_difference(images):
    digest = push(images, "base", "1")
    dockerfile = f"FROM {images.name}/base@{digest}\n"
    keys = {key_of(images, dockerfile, base_image=f"python@sha256:{each * 64}") for each in "01"}
    assert len(keys) == 1


def test_an_image_that_a_variable_names_is_left_to_the_build(images):
    assert key_of(images, "ARG BASE\nFROM $BASE\n")


def test_an_image_of_a_dockerfile_that_is_not_there_is_said_before_anything_is_built(images):
    with pytest.raises(ImageNotFoundError, match="nothing"):
        key_of(images, f"FROM {images.name}/nothing:1\n")


@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_an_image_of_a_build_s_own_pod_that_is_not_allowed_is_refused_before_its_job_is_made(images, place):
    class ForeignRecipe(DockerfileRecipe):
        def pod(self, build):
            pod = super().pod(build)
            return {**pod, place: [*pod.get(place, ()), {"name": "foreign", "image": "evil.example/executor:1"}]}

    push(images, "team/base", "1")
    profile = Profile(registry=f"http://{images.name}/team", allowed_registries=(f"{images.name}/team",))
    made = JobBuilder(ForeignRecipe(profile, by_storage=False), profile)
    plan = made._plan(environment(requirements=(), base_image=f"{images.name}/team/base:1"), print)
    connection = ScriptedConnection()
    with pytest.raises(
        ConfigError, match=r"evil.example/executor:1, which the container foreign of the Job asc-build-"
    ):
        made._build(connection, plan, print)
    assert connection.requests == []


class NotingConnection(ScriptedConnection):
    """Takes every note of a use."""

    def patch(self, path, body, kind="application/merge-patch+json"):
        self.requests.append((path, body["metadata"]["annotations"]))
        return {}

    def close(self):
        """Be used again by the next who asks."""


def test_who_goes_on_using_an_image_looks_for_it_and_notes_the_use_once_an_hour(images):
    now, connection = [0.0], NotingConnection()
    profile = Profile(registry=f"http://{images.name}/team")
    recipe = DockerfileRecipe(profile, by_storage=False)
    made = JobBuilder(recipe, profile, connect=lambda _: connection, clock=lambda: now[0])
    wanted = environment(requirements=(), dockerfile="FROM scratch\n")
    name = made._plan(wanted, print).name
    digest = push(images, "team/env", name.tag)
    for now[0], notes in ((0.0, 1), (3599.0, 1), (3600.0, 2), (7200.0, 3)):
        assert made.ensure(wanted, print).reference == str(name.at(digest))
        assert len(connection.requests) == notes
    # Somebody has removed it and built it again.
    images.delete(name.at(digest))
    other = push(images, "team/env", name.tag, b"again")
    now[0] = 10800.0
    assert made.ensure(wanted, print).reference == str(name.at(other))
