"""The Job that a cluster gets, as golden files and as the rules that hold for every one of them."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import pytest

from ascend._core import wire
from ascend._core.manifest import BOOT, Delivery, Installation, default_image, image_of, job_manifest
from ascend._core.run import Run
from ascend.model import LABEL_PREFIX, Needs, NodeType, PlacedFile, Secret, Task, Volume

IMAGE = "registry.example/python:3.12-slim"
RUNNER = PlacedFile("/ascend/runner/runner.zip")
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

MINIMAL = Task(
    id="0badc0de-1",
    run_id="0badc0de",
    job_name="asc-0badc0de-1",
    function="train",
    user="ada",
    project="demo",
    needs=Needs(),
)
FULL = replace(
    MINIMAL,
    function="Model.fit.<locals>.<lambda>",
    user='Ada "Countess" Lovelace ✨',
    project="pröjekt / 2",
    needs=Needs(
        cpu="500m",
        memory="4Gi",
        gpus=2,
        node_type="nc8as_t4_v3",
        timeout=3600.5,
        queue_timeout=60.0,
        env={"OMP_NUM_THREADS": "2", "GREETING": "grüß $(HOME) 'you'"},
        secrets={"TOKEN": Secret("tokens", "api-token")},
        volumes={
            "/dev/shm": Volume(memory="2Gi"),
            "/data": Volume(claim="datasets", read_only=True),
            "/data/scratch": Volume(claim="scratch"),
        },
        service_account="trainer",
        priority="batch-low",
        labels={"example.com/team": "crystals", "stage": ""},
        queue="team-a",
        retries=3,
    ),
)
GPU_NODE = NodeType(
    labels={"node.kubernetes.io/instance-type": "Standard_NC8as_T4_v3"},
    resources={"nvidia.com/gpu": "1", "ephemeral-storage": "20Gi"},
    tolerations=({"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},),
)
GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
INLINE = Delivery(RUNNER, {"ASCEND_CALL_DIGEST": "d1", "ASCEND_CALL": "ZWlu"})
LARGE = Delivery(
    RUNNER,
    {
        "ASCEND_CALL_DIGEST": "d2",
        "ASCEND_SOURCE_URL": "https://bucket.example/source/ab.zip?sig=s",
        "ASCEND_SOURCE_DIGEST": "ab",
        "ASCEND_CALL_URL": "https://bucket.example/jobs/1/call?sig=c",
        "ASCEND_OUTCOME_URL": "https://bucket.example/jobs/1/outcome?sig=o",
    },
)

PLACED = Delivery(
    PlacedFile("/ascend/placed/runner/runner.zip", {"secret": {"secretName": "ascend-runner-1f", "optional": False}}),
    {"ASCEND_CALL_DIGEST": "d3", "ASCEND_CALL": "ZWlu", "ASCEND_SOURCE_URL": "file:///ascend/placed/source/source"},
    (PlacedFile("/ascend/placed/source/source", {"secret": {"secretName": "ascend-source-2e"}}),),
)

JOBS = {
    "minimal": job_manifest(MINIMAL, image=IMAGE, delivery=INLINE),
    "everything": job_manifest(FULL, image=IMAGE, delivery=INLINE, node_type=GPU_NODE),
    "large call": job_manifest(MINIMAL, image=IMAGE, delivery=LARGE),
    "placed files": job_manifest(MINIMAL, image=IMAGE, delivery=PLACED),
}


@pytest.fixture(params=JOBS)
def job(request):
    return JOBS[request.param]


@pytest.fixture
def pod(job):
    return job["spec"]["template"]["spec"]


@pytest.fixture
def container(pod):
    (container,) = pod["containers"]
    return container


def variables(job):
    return {each["name"]: each for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}


def without_free_text(value):
    """Return everything of a manifest but annotations, variables and the command."""
    if isinstance(value, dict):
        return {
            key: without_free_text(each) for key, each in value.items() if key not in {"annotations", "env", "command"}
        }
    return [without_free_text(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_what_its_golden_file_says(golden, name):
    golden(f"job-{name.replace(' ', '-')}", JOBS[name])


def test_the_same_task_makes_the_same_job():
    again = job_manifest(FULL, image=IMAGE, delivery=INLINE, node_type=GPU_NODE)
    assert again == JOBS["everything"]
    again["spec"]["template"]["spec"]["nodeSelector"]["changed"] = "yes"
    again["spec"]["template"]["spec"]["tolerations"][0]["changed"] = "yes"
    again["spec"]["template"]["metadata"]["labels"]["changed"] = "yes"
    # Plugins change it in place, and nothing of that may reach the next one.
    assert job_manifest(FULL, image=IMAGE, delivery=INLINE, node_type=GPU_NODE) == JOBS["everything"]


def test_the_labels_of_job_and_pod_can_be_changed_apart():
    job = job_manifest(MINIMAL, image=IMAGE, delivery=INLINE)
    job["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] = "true"
    assert "azure.workload.identity/use" not in job["metadata"]["labels"]


def test_limits_and_requests_can_be_changed_apart():
    job = job_manifest(FULL, image=IMAGE, delivery=INLINE)
    resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    resources["requests"]["cpu"] = "1m"
    assert resources["limits"]["cpu"] == "500m"


def test_a_placed_file_is_mounted_where_it_is_looked_for_and_cannot_be_written_to():
    container = JOBS["placed files"]["spec"]["template"]["spec"]["containers"][0]
    folders = {each["mountPath"]: each.get("readOnly") for each in container["volumeMounts"]}
    assert folders["/ascend/placed/runner"] is folders["/ascend/placed/source"] is True
    assert container["command"][3] == "/ascend/placed/runner/runner.zip"


def test_a_file_that_lies_there_needs_no_volume():
    delivery = Delivery(RUNNER, {}, (PlacedFile("/there/source"),))
    pod = job_manifest(MINIMAL, image=IMAGE, delivery=delivery)["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["volumes"]] == ["work", "tmp"]


def test_a_changed_volume_of_one_job_is_not_that_of_the_next():
    volumes = job_manifest(MINIMAL, image=IMAGE, delivery=PLACED)["spec"]["template"]["spec"]["volumes"]
    for volume in volumes[2:]:
        volume["secret"]["defaultMode"] = 0o400
    assert job_manifest(MINIMAL, image=IMAGE, delivery=PLACED) == JOBS["placed files"]


# The restricted profile of the Pod Security Standards.


def test_the_pod_runs_as_somebody_who_is_not_root(pod):
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] != 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_container_may_do_nothing_special(container):
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert "privileged" not in security


def test_the_pod_has_no_token_and_nothing_of_its_node(pod):
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for volume in pod["volumes"]:
        assert volume.keys() - {"name"} in ({"emptyDir"}, {"persistentVolumeClaim"}, {"secret"})


def test_what_is_written_to_is_a_volume(pod, container):
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == volumes
    assert len(mounts) == len(container["volumeMounts"]) == len(pod["volumes"])
    assert container["workingDir"] in mounts
    assert "/tmp" in mounts


def test_volumes_are_mounted_at_their_paths_and_named_in_the_order_of_these():
    pod = JOBS["everything"]["spec"]["template"]["spec"]
    assert pod["volumes"][-3:] == [
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "datasets", "readOnly": True}},
        {"name": "volume-1", "persistentVolumeClaim": {"claimName": "scratch"}},
        {"name": "volume-2", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
    ]
    assert pod["containers"][0]["volumeMounts"][-3:] == [
        {"name": "volume-0", "mountPath": "/data", "readOnly": True},
        {"name": "volume-1", "mountPath": "/data/scratch"},
        {"name": "volume-2", "mountPath": "/dev/shm"},
    ]


# Jobs.


def test_every_job_is_indexed(job):
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 1, 1)
    # With backoffLimit in place of it, one crash would count against all indexes.
    assert "backoffLimit" not in spec


def test_retries_are_attempts_of_an_index():
    assert JOBS["everything"]["spec"]["backoffLimitPerIndex"] == 3
    assert JOBS["minimal"]["spec"]["backoffLimitPerIndex"] == 0


def test_a_pod_is_not_restarted_in_place(job, pod):
    assert pod["restartPolicy"] == "Never"
    assert job["spec"]["podReplacementPolicy"] == "Failed"


def test_a_disruption_is_no_attempt_and_comes_before_exit_codes(job, container):
    disruption, final = job["spec"]["podFailurePolicy"]["rules"]
    assert disruption["action"] == "Ignore"
    assert disruption["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert final["action"] == "FailIndex"
    assert final["onExitCodes"]["containerName"] == container["name"]
    assert final["onExitCodes"]["values"] == sorted(set(final["onExitCodes"]["values"]))
    assert 0 not in final["onExitCodes"]["values"]
    assert wire.EXIT_STORAGE not in final["onExitCodes"]["values"]


def test_a_job_that_nobody_deletes_goes_by_itself(job):
    assert job["spec"]["ttlSecondsAfterFinished"] > 0


def test_the_deadline_of_the_pod_leaves_the_timeout_to_the_runner():
    pod = JOBS["everything"]["spec"]["template"]["spec"]
    assert pod["activeDeadlineSeconds"] > 3600
    assert isinstance(pod["activeDeadlineSeconds"], int)
    assert variables(JOBS["everything"])["ASCEND_TASK_TIMEOUT"]["value"] == "3600.5"
    assert "activeDeadlineSeconds" not in JOBS["minimal"]["spec"]["template"]["spec"]
    assert "ASCEND_TASK_TIMEOUT" not in variables(JOBS["minimal"])


def test_every_word_of_a_timeout_arrives():
    long = replace(MINIMAL, needs=Needs(timeout=1_234_567.0))
    job = job_manifest(long, image=IMAGE, delivery=INLINE)
    assert float(variables(job)["ASCEND_TASK_TIMEOUT"]["value"]) == 1_234_567.0


@pytest.mark.parametrize(
    ("asked", "written"), [(None, "3600"), (60.0, "60"), (0.5, "0.5"), (1_234_567.0, "1234567"), (3600.125, "3600.125")]
)
def test_every_job_says_how_long_it_may_wait(asked, written):
    job = job_manifest(replace(MINIMAL, needs=Needs(queue_timeout=asked)), image=IMAGE, delivery=INLINE)
    assert job["metadata"]["annotations"][f"{LABEL_PREFIX}/queue-timeout"] == written


# Names, labels, annotations.


@pytest.mark.parametrize("name", ["minimal", "large call"])
def test_our_labels_are_made_of_ids_only(name):
    job = JOBS[name]
    labels = {**job["metadata"]["labels"], **job["spec"]["template"]["metadata"]["labels"]}
    assert labels == {"app.kubernetes.io/managed-by": "ascend", f"{LABEL_PREFIX}/run": MINIMAL.run_id}
    assert all(LABEL.fullmatch(value) for value in labels.values())


def test_labels_of_the_user_are_on_job_and_pod_beside_ours():
    job = JOBS["everything"]
    wanted = {**JOBS["minimal"]["metadata"]["labels"], "example.com/team": "crystals", "stage": ""}
    assert job["spec"]["template"]["metadata"]["labels"] == wanted
    assert job["metadata"]["labels"] == {**wanted, "kueue.x-k8s.io/queue-name": "team-a"}


def test_labels_of_the_user_cannot_replace_ours():
    needs = Needs(labels={f"{LABEL_PREFIX}/run": "forged"})
    job = job_manifest(replace(MINIMAL, needs=needs), image=IMAGE, delivery=INLINE)
    assert job["metadata"]["labels"] == JOBS["minimal"]["metadata"]["labels"]


def test_a_service_account_lends_its_name_and_no_token():
    pod = JOBS["everything"]["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("trainer", False)
    assert "serviceAccountName" not in JOBS["minimal"]["spec"]["template"]["spec"]


def test_a_priority_is_the_name_of_its_class():
    assert JOBS["everything"]["spec"]["template"]["spec"]["priorityClassName"] == "batch-low"
    assert "priorityClassName" not in JOBS["minimal"]["spec"]["template"]["spec"]


def test_words_of_the_user_stand_in_annotations_only():
    job = JOBS["everything"]
    annotations = job["metadata"]["annotations"]
    assert {FULL.user, FULL.project, FULL.function} <= set(annotations.values())
    elsewhere = json.dumps(without_free_text(job), ensure_ascii=False)
    for word in (FULL.user, FULL.project, FULL.function):
        assert json.dumps(word, ensure_ascii=False)[1:-1] not in elsewhere


def test_annotations_are_strings(job):
    assert all(isinstance(value, str) for value in job["metadata"]["annotations"].values())


class NoRun(Run):
    """A run that only names tasks."""

    def __init__(self, profile):
        self.profile = profile
        self.id = "ffffffff"
        self._numbers = iter([1, 10**9, 10**30])


def test_the_name_of_a_job_leaves_room_for_that_of_its_pods():
    from ascend.model import Profile

    run = NoRun(Profile())
    names = [run._task(Needs(), "f" * 200).job_name for _ in range(2)]
    for name in names:
        # A pod is called NAME-INDEX-RANDOM, and is a host name.
        assert len(name) <= 52
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)


# The container.


def test_the_container_starts_the_runner_of_the_archive(container):
    assert container["command"][:3] == ["python", "-c", BOOT]
    assert container["command"][3:] in ([RUNNER.path], [PLACED.runner.path])
    assert container["image"] == IMAGE
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_resources_are_asked_for_and_limited_alike():
    resources = JOBS["everything"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    wanted = {"cpu": "500m", "memory": "4Gi", "nvidia.com/gpu": "2", "ephemeral-storage": "20Gi"}
    # What the task says goes before what its node type would give it.
    assert resources == {"requests": wanted, "limits": wanted}
    assert JOBS["minimal"]["spec"]["template"]["spec"]["containers"][0]["resources"] == {}


def test_a_node_type_selects_nodes_and_is_tolerated():
    pod = JOBS["everything"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == GPU_NODE.labels
    assert pod["tolerations"] == [*GPU_NODE.tolerations, GPU_TOLERATION]
    assert not {"nodeSelector", "tolerations"} & JOBS["minimal"]["spec"]["template"]["spec"].keys()


@pytest.mark.parametrize(("platform", "arch"), [("linux/arm64", "arm64"), ("linux/amd64", "amd64")])
def test_a_platform_selects_nodes_of_its_architecture(platform, arch):
    task = replace(MINIMAL, needs=Needs(platform=platform))
    pod = job_manifest(task, image=IMAGE, delivery=INLINE)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": arch}


def test_what_a_pod_installs_comes_with_its_credentials_by_reference_and_with_time_for_it():
    installation = Installation(
        {"ASCEND_LOCK_URL": "file:///lock"},
        {"ASCEND_NETRC": Secret("index", "netrc")},
        (PlacedFile("/ascend/files/1/lock", {"secret": {"secretName": "lock"}}),),
        {"/ascend/packages": Volume(claim="packages")},
    )
    task = replace(MINIMAL, needs=Needs(timeout=60.0))
    job = job_manifest(task, image=IMAGE, delivery=INLINE._replace(installation=installation))
    pod = job["spec"]["template"]["spec"]
    assert pod["activeDeadlineSeconds"] == 60 + 1800
    assert variables(job)["ASCEND_LOCK_URL"]["value"] == "file:///lock"
    assert variables(job)["ASCEND_NETRC"]["valueFrom"] == {"secretKeyRef": {"name": "index", "key": "netrc"}}
    mounts = {each["mountPath"]: each["name"] for each in pod["containers"][0]["volumeMounts"]}
    sources = {each["name"]: each for each in pod["volumes"]}
    assert sources[mounts["/ascend/files/1"]]["secret"] == {"secretName": "lock"}
    assert sources[mounts["/ascend/packages"]]["persistentVolumeClaim"] == {"claimName": "packages"}


@pytest.mark.parametrize(
    ("gpus", "node_type", "tolerations"),
    [
        (1, None, [GPU_TOLERATION]),
        (0, None, None),
        (None, GPU_NODE, [*GPU_NODE.tolerations, GPU_TOLERATION]),
        (0, GPU_NODE, list(GPU_NODE.tolerations)),
        (1, NodeType({}, tolerations=(GPU_TOLERATION,)), [GPU_TOLERATION]),
        (None, NodeType({"zone": "north"}), None),
    ],
)
def test_who_asks_for_a_gpu_tolerates_the_taint_of_gpu_nodes_once(gpus, node_type, tolerations):
    task = replace(MINIMAL, needs=Needs(gpus=gpus))
    pod = job_manifest(task, image=IMAGE, delivery=INLINE, node_type=node_type)["spec"]["template"]["spec"]
    assert pod.get("tolerations") == tolerations


def test_a_secret_is_a_reference():
    assert variables(JOBS["everything"])["TOKEN"] == {
        "name": "TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "api-token"}},
    }


def test_variables_are_strings_and_each_is_there_once(job, container):
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names))
    assert all(isinstance(each["value"], str) for each in container["env"] if "value" in each)
    assert variables(job)["ASCEND_TASK_ID"]["value"] == MINIMAL.id


def test_what_the_user_sets_cannot_replace_what_the_runner_is_told():
    needs = Needs(env={"ASCEND_CALL_DIGEST": "forged", "ASCEND_TASK_ID": "forged"})
    job = job_manifest(replace(MINIMAL, needs=needs), image=IMAGE, delivery=INLINE)
    assert variables(job)["ASCEND_CALL_DIGEST"]["value"] == "d1"
    assert variables(job)["ASCEND_TASK_ID"]["value"] == MINIMAL.id


def test_a_variable_reaches_the_task_as_it_was_written():
    # Kubernetes would expand $(HOME), and $$(HOME) is how it is told not to.
    assert variables(JOBS["everything"])["GREETING"]["value"] == "grüß $$(HOME) 'you'"


def test_a_secret_and_a_plain_variable_of_one_name_are_one():
    needs = Needs(env={"TOKEN": "plain"}, secrets={"TOKEN": Secret("tokens", "key")})
    job = job_manifest(replace(MINIMAL, needs=needs), image=IMAGE, delivery=INLINE)
    names = [each["name"] for each in job["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert names.count("TOKEN") == 1
    assert "valueFrom" in variables(job)["TOKEN"]


def test_the_stock_image_has_the_minor_version_of_this_python():
    assert default_image() == f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"


def test_python_in_an_image_stands_for_this_pythons_minor_version():
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert image_of("registry/{python}/python:{python}-slim") == f"registry/{minor}/python:{minor}-slim"
    assert image_of(IMAGE) == IMAGE


def test_a_manifest_is_plain_json(job):
    assert json.loads(json.dumps(job)) == job
