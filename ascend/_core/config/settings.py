"""The table of all settings: what each takes, what it means, and what holds where nobody says anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ascend._core.config import checks, pod_checks, registry_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VARIABLE_PREFIX = "ASCEND_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. *check* returns a value in its own form or raises `UnfitError`.

    *parse* makes a value for *check* of a variable's text; `None` if no variable can set it.
    *kind* and *about* are for readers, *example* is written in TOML, *default* in words.
    """

    kind: str
    check: Callable[[object], object]
    parse: Callable[[str], object] | None
    example: str
    about: str
    default: str = "not set"


NEEDS: Mapping[str, Setting] = {
    "cpu": Setting("CPUs", checks.check_cpu, str, '"2"', 'CPUs of a task: "2", "0.5" or "500m"', "the cluster's"),
    "memory": Setting("size", checks.check_memory, str, '"4Gi"', 'memory of a task: "512Mi", "4Gi"', "the cluster's"),
    "gpus": Setting("whole number", checks.check_count, checks.parse_number, "1", "GPUs of a task", "0"),
    "node_type": Setting(
        "text", checks.check_text, str, '"nc8as_t4_v3"', "kind of machine, by the cloud's or a plugin's name", "any"
    ),
    "timeout": Setting(
        "seconds", checks.check_seconds, checks.parse_number, "3600", "how long a function may run", "no limit"
    ),
    "queue_timeout": Setting(
        "seconds",
        checks.check_seconds,
        checks.parse_number,
        "600",
        "how long a task may wait, from the creation of its Job until its pod runs",
        "one hour on a cluster that queues",
    ),
    "requirements": Setting(
        "list of PEP 508 strings",
        checks.check_requirements,
        checks.parse_list,
        '["numpy>=2"]',
        'what is installed where the call runs: also files such as "uv.lock", and "auto" for what the code imports',
        "nothing",
    ),
    "apt": Setting(
        "list of strings",
        checks.check_texts,
        checks.parse_list,
        '["libgomp1"]',
        "packages of the image's Debian or Ubuntu, for the image builders kaniko and buildkit",
        "nothing",
    ),
    "dockerfile": Setting(
        "path",
        checks.check_text,
        str,
        '"images/Dockerfile"',
        "a Dockerfile of your own, which kaniko or buildkit builds with the files of its folder",
        "none",
    ),
    "base_image": Setting(
        "text",
        checks.check_image,
        str,
        '"registry.example/team/python:{python}"',
        "container image to start from; {python} stands for the client's Python, as in 3.12",
        '"python:{python}-slim"',
    ),
    "platform": Setting(
        "text",
        checks.check_platform,
        str,
        '"linux/arm64"',
        "what pods with requirements run on: linux/amd64 or linux/arm64",
        '"linux/amd64"',
    ),
    "image_builder": Setting(
        "text", checks.check_text, str, '"uv"', "who makes an image of the requirements", "the cluster's"
    ),
    "env": Setting(
        "table of strings",
        checks.check_variables,
        None,
        '{ OMP_NUM_THREADS = "2" }',
        "environment variables of a task",
        "nothing",
    ),
    "secrets": Setting(
        "table of secrets",
        checks.check_secrets,
        None,
        '{ TOKEN = { name = "tokens", key = "token" } }',
        "variables filled from keys of Kubernetes Secrets",
        "nothing",
    ),
    "volumes": Setting(
        "table of volumes",
        pod_checks.check_volumes,
        None,
        '{ "/data" = { claim = "datasets", read_only = true }, "/dev/shm" = { memory = "2Gi" } }',
        "claims and folders in memory that are mounted into the pod, by their paths",
        "nothing",
    ),
    "service_account": Setting(
        "object name", pod_checks.check_object_name, str, '"trainer"', "ServiceAccount of the pod", "the namespace's"
    ),
    "priority": Setting(
        "object name", pod_checks.check_object_name, str, '"batch-low"', "PriorityClass of the pod", "the cluster's"
    ),
    "labels": Setting(
        "table of strings",
        pod_checks.check_labels,
        None,
        '{ "example.com/team" = "crystals" }',
        "labels of the Job and of its pod",
        "nothing",
    ),
    "queue": Setting(
        "object name", pod_checks.check_queue, str, '"team-a"', "LocalQueue of Kueue in which the Job waits"
    ),
    "job_patch": Setting(
        "table",
        pod_checks.check_job_patch,
        None,
        '{ spec = { template = { spec = { dnsPolicy = "Default" } } } }',
        "what is merged over the finished Job, for what has no setting",
        "nothing",
    ),
    "retries": Setting(
        "whole number", checks.check_count, checks.parse_number, "1", "further attempts after the process died", "0"
    ),
    "stream_logs": Setting(
        "true or false",
        checks.check_flag,
        checks.parse_flag,
        "true",
        "show the lines that tasks write",
        "true",
    ),
}
"""What a task needs; also the keywords of ``@ascend`` and ``with_options``, with ``project``."""

PLACES: Mapping[str, Setting] = {
    "cluster": Setting(
        "text",
        checks.check_text,
        str,
        '"local"',
        'where tasks run: "kubernetes", "local" or a plugin\'s',
        '"kubernetes"',
    ),
    "storage": Setting(
        "URL", checks.check_text, str, '"s3://bucket/prefix"', "where large calls and outcomes go", "the cluster's"
    ),
    "user": Setting("name", checks.check_label, str, '"ada"', "whose tasks these are", "your login name"),
    "project": Setting(
        "name", checks.check_label, str, '"crystals"', "what the tasks belong to", "the name of the project's folder"
    ),
    "context": Setting("text", checks.check_text, str, '"research"', "context of the kubeconfig", "the current one"),
    "namespace": Setting("name", checks.check_label, str, '"research"', "Kubernetes namespace", "the context's"),
    "max_parallel": Setting(
        "whole number", checks.check_positive, checks.parse_number, "100", "how many tasks run at once", "the cluster's"
    ),
    "progress": Setting(
        "true or false", checks.check_flag, checks.parse_flag, "false", "show progress", "on a terminal only"
    ),
    "serializer": Setting(
        "text", checks.check_text, str, '"cloudpickle"', "what turns calls into bytes", '"cloudpickle"'
    ),
    "index_urls": Setting(
        "list of URLs",
        checks.check_urls,
        checks.parse_list,
        '["https://packages.example/simple"]',
        "package indexes, here, in pods and in builds, the first in the place of PyPI; without credentials",
        "those of uv here",
    ),
    "index_secret": Setting(
        "name",
        pod_checks.check_object_name,
        str,
        '"package-index"',
        "a Secret of the namespace whose key netrc has the credentials of the indexes",
    ),
    "certificates": Setting(
        "path",
        checks.check_text,
        str,
        '"/etc/ssl/company.pem"',
        "a file with the authorities that package indexes are trusted by, here and in pods",
        "those of uv here, and of the image there",
    ),
    "package_cache": Setting(
        "name",
        pod_checks.check_object_name,
        str,
        '"packages"',
        "a PersistentVolumeClaim in which pods that install share what they download",
        "each pod has its own",
    ),
    "registry": Setting(
        "text",
        registry_checks.check_place,
        str,
        '"registry.example/team/ascend"',
        "where built images go; with http:// before it for one without TLS",
    ),
    "registry_secret": Setting(
        "object name",
        pod_checks.check_object_name,
        str,
        '"registry"',
        "Secret of the type kubernetes.io/dockerconfigjson by which builds push, and tasks pull",
    ),
    "allowed_registries": Setting(
        "list of strings",
        registry_checks.check_registries,
        checks.parse_list,
        '["registry.example/team", "docker.io/library"]',
        "where images of tasks and builds may come from, and go to",
        "anywhere",
    ),
    "base_images": Setting(
        "table of images",
        registry_checks.check_images,
        None,
        '{ nc8as_t4_v3 = "registry.example/team/cuda-python:{python}" }',
        "base_image by node type, where none is set; default is for all others",
        "nothing",
    ),
    "build_namespace": Setting(
        "name",
        checks.check_label,
        str,
        '"ascend-build"',
        "namespace of the Jobs that build images",
        "that of the tasks",
    ),
    "plugins": Setting(
        "list of strings",
        checks.check_texts,
        checks.parse_list,
        '["acme_cloud:plugin"]',
        "plugins to load, as module or module:attribute",
        "those installed",
    ),
}
"""Where and how tasks run."""

SETTINGS: Mapping[str, Setting] = {**PLACES, **NEEDS}

_USUAL_ELSEWHERE = {
    "max_workers": "max_parallel",
    "n_jobs": "max_parallel",
    "image": "base_image",
    "packages": "requirements",
}


def nearest(word: str, words: Mapping[str, object]) -> str:
    """Return a sentence's end that tells which of *words* was perhaps meant, or which there are."""
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    usual = _USUAL_ELSEWHERE.get(word)
    near = [usual] if usual in words else get_close_matches(word, words, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(words))}"
