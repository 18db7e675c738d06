"""Why a task is not running, from words of kubelets, registries, schedulers and the Job controller."""

from __future__ import annotations

import pytest

from ascend._builtin.kubernetes.diagnosis import Diagnosis, diagnose, failed_create
from ascend._builtin.kubernetes.pods import read_pod
from tests.unit.kubernetes_objects import init_containers, job, pod, running, terminated, unschedulable, waiting

NOPE = "docker.io/library/nope:1"
REF = f'failed to pull and unpack image "{NOPE}": failed to resolve reference "{NOPE}": '

HOPELESS = {
    "not found, containerd 1.6": "rpc error: code = NotFound desc = " + REF + "docker.io/library/nope:1: not found",
    "not found, containerd 2": REF + "docker.io/library/nope:1: not found",
    "private or missing": REF + "pull access denied, repository does not exist or may require authorization: "
    "server message: insufficient_scope: authorization failed",
    "unauthorized": REF + "unexpected status from HEAD request to https://ghcr.io/v2/x/manifests/1: 401 Unauthorized",
    "forbidden": REF + "unexpected status from HEAD request to https://eu.gcr.io/v2/x/manifests/1: 403 Forbidden",
    "forbidden, containerd 1.6": REF + "unexpected status code [manifests 1]: 403 Forbidden",
    "anonymous token": REF
    + "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
    "another processor": f'failed to pull and unpack image "{NOPE}": no match for platform in manifest: not found',
    "CRI-O": "reading manifest 1 in docker.io/library/nope: manifest unknown",
    "CRI-O private": "initializing source docker://nope:1: reading manifest 1 in docker.io/library/nope: "
    "requested access to the resource is denied",
    "no TLS there": REF + 'failed to do request: Head "https://10.90.0.1:5000/v2/nope/manifests/1": http: server gave '
    "HTTP response to HTTPS client",
    "no such registry": REF + 'failed to do request: Head "https://nope.example/v2/x/manifests/1": dial tcp: lookup '
    "nope.example on 10.96.0.10:53: no such host",
    "backing off": 'Back-off pulling image "nope:1": ErrImagePull: ' + REF + "docker.io/library/nope:1: not found",
}
PASSING = {
    "rate limit": 'failed to pull and unpack image "docker.io/library/python:3.12": failed to copy: '
    "httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/x/manifests/sha256:0b: "
    "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit. You may increase "
    "the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit",
    "rate limit, unauthenticated": REF
    + "failed to authorize: 401 Unauthorized: toomanyrequests: You have reached your "
    "unauthenticated pull rate limit.",
    "no answer": REF
    + 'failed to do request: Head "https://registry-1.docker.io/v2/": dial tcp 3.9.2.3:443: i/o timeout',
    "reset": REF + 'failed to do request: Head "https://registry-1.docker.io/v2/": read: connection reset by peer',
    "refused": REF + 'failed to do request: Head "http://10.90.0.1:5000/v2/": dial tcp: connection refused',
    "certificate": REF + 'failed to do request: Head "https://r.example/v2/": tls: failed to verify certificate: x509: '
    "certificate signed by unknown authority",
    "down": REF + "unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 503 Service Unavailable",
    "a name of such words": 'failed to pull image "r.example/forbidden/denied:not found": i/o timeout',
    "backing off": 'Back-off pulling image "python:3.12"',
    "no disk": 'failed to pull and unpack image "python:3.12": failed to extract layer: write: no space left on device',
}


def seen(item, before=None, refusal=None):
    return diagnose(read_pod(item), None, refusal, before)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize("case", HOPELESS)
def test_an_image_that_will_never_come_ends_the_task(case, reason):
    found = seen(pod(state=waiting(reason, HOPELESS[case])))

    assert (found.reason, found.message) == ("ErrImagePull", HOPELESS[case])
    assert found.fatal_after is not None


def test_an_image_of_an_init_container_that_will_never_come_ends_the_task():
    inits = init_containers(fetch=waiting("ErrImagePull", "manifest unknown"))
    found = seen(pod(state=waiting("PodInitializing"), initContainerStatuses=inits))

    assert (found.reason, found.message) == ("ErrImagePull", "manifest unknown")
    assert found.fatal_after is not None


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize("case", PASSING)
def test_an_image_that_may_come_is_waited_for(case, reason):
    assert seen(pod(state=waiting(reason, PASSING[case]))) == Diagnosis("ErrImagePull", PASSING[case])


def test_a_back_off_without_a_word_keeps_the_words_before():
    first = seen(pod(state=waiting("ErrImagePull", HOPELESS["not found, containerd 2"])))
    back_off = pod(state=waiting("ImagePullBackOff", 'Back-off pulling image "nope:1"'))

    assert seen(back_off, first) == first
    assert seen(back_off, Diagnosis("Unschedulable", "0/3 nodes")) == Diagnosis(
        "ErrImagePull", 'Back-off pulling image "nope:1"'
    )


def test_a_name_that_is_none_ends_the_task_soonest():
    words = 'Failed to apply default image tag "UPPER CASE": couldn\'t parse image name "UPPER CASE": invalid format'

    found = seen(pod(state=waiting("InvalidImageName", words)))

    assert (found.reason, found.message) == ("ErrImagePull", words)
    assert found.fatal_after < seen(pod(state=waiting("ErrImagePull", HOPELESS["CRI-O"]))).fatal_after


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("CreateContainerConfigError", 'secret "tokens" not found'),
        ("CreateContainerConfigError", "couldn't find key TOKEN in Secret crystals/tokens"),
        ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: ...)"),
        ("CreateContainerError", "context deadline exceeded"),
        ("RunContainerError", 'exec: "python": executable file not found in $PATH: unknown'),
    ],
)
def test_a_container_that_cannot_be_made_ends_the_task_in_a_while(reason, words):
    found = seen(pod(state=waiting(reason, words)))

    assert (found.reason, found.message) == ("CreateContainerConfigError", words)
    assert found.fatal_after is not None


@pytest.mark.parametrize(
    "item",
    [
        pod(),
        pod(state=waiting("ContainerCreating")),
        pod(state=waiting("PodInitializing")),
        pod(state={"waiting": {}}),
        pod(state=running()),
        pod(state=terminated(0)),
    ],
)
def test_the_ordinary_way_is_no_reason(item):
    assert seen(item) is None


@pytest.mark.parametrize(
    "words",
    [
        (
            "0/9 nodes are available: 5 Insufficient nvidia.com/gpu, 4 node(s) had untolerated taint {sku: gpu}. "
            "preemption: 0/9 nodes are available: 9 No preemption victims found for incoming pod."
        ),
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    ],
)
def test_a_pod_without_a_node_is_waited_for_in_the_schedulers_words(words):
    assert seen(pod(node="", conditions=unschedulable(words))) == Diagnosis("Unschedulable", words)


def test_a_volume_that_does_not_exist_ends_the_task_in_a_while():
    words = 'persistentvolumeclaim "datasets" not found'

    found = seen(pod(node="", conditions=unschedulable(f"0/3 nodes are available: {words}.")))

    assert found.reason == "CreateContainerConfigError"
    assert words in found.message
    assert found.fatal_after is not None


def test_a_pod_that_is_held_back_says_so():
    words = "Scheduling is blocked due to non-empty scheduling gates"

    assert seen(pod(node="", conditions=unschedulable(words, "SchedulingGated"))).message == words
    assert (
        seen(pod(node="", conditions=unschedulable("", "SchedulingGated"))).message
        == "the scheduler says SchedulingGated"
    )


# Without a pod.


def test_a_suspended_job_waits_for_its_queue():
    suspended = {**job(), "spec": {"suspend": True}}

    found = diagnose(None, suspended, Diagnosis("FailedCreate", "x"))

    assert found.reason == "QueueTimeout"
    assert "suspended" in found.message
    assert found.fatal_after is None


def test_a_job_without_a_pod_is_refused_one_or_nothing_is_known():
    refusal = Diagnosis("FailedCreate", "x", 5.0)

    assert diagnose(None, job(), refusal) == refusal
    assert diagnose(None, job(), None) is None
    assert diagnose(None, None, None) is None
    assert diagnose(None, {"metadata": {}, "spec": None}, None) is None


# Events of the Job controller.


def events(*messages, reason="FailedCreate"):
    return [
        {"reason": reason, "message": words, "metadata": {}, "lastTimestamp": f"2026-11-24T09:50:{number:02}Z"}
        for number, words in enumerate(messages)
    ]


def quota(requested, used, limited):
    return (
        'Error creating: pods "asc-1-0-abcde" is forbidden: exceeded quota: team, '
        f"requested: {requested}, used: {used}, limited: {limited}"
    )


@pytest.mark.parametrize(
    ("requested", "used", "limited", "never"),
    [
        ("cpu=1", "cpu=4", "cpu=4", False),
        ("cpu=5", "cpu=0", "cpu=4", True),
        ("limits.memory=4Gi", "limits.memory=0", "limits.memory=4096Mi", False),
        ("limits.memory=4Gi", "limits.memory=0", "limits.memory=4G", True),
        ("limits.memory=4097Mi", "limits.memory=0", "limits.memory=4Gi", True),
        ("requests.cpu=1500m", "requests.cpu=1", "requests.cpu=2", False),
        ("requests.cpu=2500m", "requests.cpu=0", "requests.cpu=2", True),
        ("requests.nvidia.com/gpu=1", "requests.nvidia.com/gpu=0", "requests.nvidia.com/gpu=0", True),
        ("pods=1", "pods=10", "pods=10", False),
        ("limits.cpu=1,limits.memory=8Gi", "limits.cpu=0,limits.memory=0", "limits.cpu=2,limits.memory=4Gi", True),
        ("limits.cpu=1,limits.memory=4Gi", "limits.cpu=2,limits.memory=2Gi", "limits.cpu=2,limits.memory=4Gi", False),
        ("memory=1e9", "memory=0", "memory=1Gi", False),
        ("memory=2e9", "memory=0", "memory=1Gi", True),
        ("memory=1Ei", "memory=0", "memory=1Pi", True),
    ],
)
def test_a_quota_ends_a_task_that_alone_is_too_large_for_it(requested, used, limited, never):
    words = quota(requested, used, limited)

    found = failed_create(events(words))

    assert (found.reason, found.message) == ("ExceededQuota", words)
    assert (found.fatal_after is not None) is never


@pytest.mark.parametrize(
    "words",
    [
        (
            'Error creating: pods "asc-1-0-abcde" is forbidden: violates PodSecurity "restricted:latest": '
            'allowPrivilegeEscalation != false (container "main" must set securityContext...)'
        ),
        'Error creating: pods "asc-1-0-abcde" is forbidden: failed quota: team: must specify limits.memory for: main',
        'Error creating: pods "asc-1-0-abcde" is forbidden: [maximum cpu usage per Container is 1, but limit is 4]',
        'Error creating: pods "asc-1-0-abcde" is forbidden: no PriorityClass with name batch-low was found',
        'Error creating: Pod "asc-1-0-abcde" is invalid: spec.containers[0].volumeMounts[0].name: Not found: "data"',
        'Error creating: admission webhook "validation.gatekeeper.sh" denied the request: [repos] container <main>',
    ],
)
def test_a_rule_that_refuses_the_pod_ends_the_task_soon(words):
    found = failed_create(events(words))

    assert (found.reason, found.message) == ("FailedCreate", words)
    assert found.fatal_after == 5


def test_a_service_account_may_be_on_its_way():
    words = (
        'Error creating: pods "asc-1-0-" is forbidden: error looking up service account crystals/trainer: '
        'serviceaccount "trainer" not found'
    )

    assert failed_create(events(words)).fatal_after == 20


@pytest.mark.parametrize(
    "words",
    [
        (
            'Error creating: Internal error occurred: failed calling webhook "mpod.kb.io": failed to call: Post '
            '"https://kueue-webhook-service.kueue-system.svc:443/mutate?timeout=10s": dial tcp: connection refused'
        ),
        "Error creating: etcdserver: request timed out",
        "Error creating: Timeout: request did not complete within requested timeout - context deadline exceeded",
        "Error creating: the server was unable to return a response in the time allotted",
    ],
)
def test_a_control_plane_in_trouble_is_waited_for(words):
    assert failed_create(events(words)) == Diagnosis("FailedCreate", words)


def test_the_newest_event_counts():
    old, new = quota("cpu=1", "cpu=4", "cpu=4"), "Error creating: etcdserver: request timed out"

    assert failed_create(events(old, new)).message == new
    assert failed_create(reversed(events(old, new))).message == new


def test_a_time_may_stand_in_three_places():
    first = {"reason": "FailedCreate", "message": "1", "metadata": {"creationTimestamp": "2026-11-24T09:50:01Z"}}
    second = {**first, "message": "2", "lastTimestamp": None, "eventTime": "2026-11-24T09:50:02.000000Z"}
    third = {**first, "message": "3", "lastTimestamp": "2026-11-24T09:50:03Z"}

    assert failed_create([third, second, first]).message == "3"
    assert failed_create([second, first]).message == "2"
    assert failed_create([{"reason": "FailedCreate", "metadata": {}}]) == Diagnosis("FailedCreate", "")


def test_other_events_say_nothing():
    assert failed_create([]) is None
    assert failed_create(events("Created pod: asc-1-0-abcde", reason="SuccessfulCreate")) is None
