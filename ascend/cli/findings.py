"""What `ascend doctor` finds: pure functions from the cluster's answers to a line each."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from ascend.cli.role import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "Finding",
    "check_clock",
    "check_pod",
    "check_quota",
    "check_rights",
    "check_version",
    "quantity",
    "required_rights",
]

_FLOOR = (1, 29)
_MOST_SKEW = 5.0
# A quota for these refuses every pod that leaves them open; not so for GPUs and the like.
_WANTED = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_UNITS = {
    "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check: *text* says what was found, *remedy* what to do about it.

    An ``unknown`` one cannot be found out from here, a ``skipped`` one depends on what failed.
    """

    check: str
    state: Literal["ok", "warning", "failed", "skipped", "unknown"]
    text: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return what JSON can hold."""
        return asdict(self)


def check_version(answer: Mapping[str, Any]) -> Finding:
    """Judge the answer of ``/version``."""
    found = re.search(r"(\d+)\.(\d+)", answer.get("gitVersion", ""))
    text = f"Kubernetes {answer.get('gitVersion', 'of an unknown version')}"
    floor = ".".join(map(str, _FLOOR))
    if found is None:
        return Finding("version", "unknown", text, f"ascend needs {floor} or newer; the next checks tell")
    if (int(found[1]), int(found[2])) < _FLOOR:
        return Finding("version", "failed", text, f"ascend needs {floor} or newer: upgrade the cluster")
    return Finding("version", "ok", text)


def required_rights() -> Iterator[tuple[str, str, str]]:
    """Yield the group, resource and verb of every right that is needed."""
    for rule in RULES:
        for resource in rule.resources:
            for verb in rule.verbs:
                yield rule.group, resource, verb


def check_rights(allowed: Mapping[tuple[str, str, str], bool], namespace: str, user: str) -> Finding:
    """Judge which rights of `required_rights` there are."""
    missing: dict[str, list[str]] = {}
    for (_, resource, verb), granted in allowed.items():
        if not granted:
            missing.setdefault(resource, []).append(verb)
    if not missing:
        return Finding("permissions", "ok", f"all {len(allowed)} rights of the Role")
    listed = "; ".join(f"{resource}: {', '.join(verbs)}" for resource, verbs in missing.items())
    command = f"ascend doctor --role -n {namespace} --to {quote(f'user:{user}')} | kubectl apply -f -"
    return Finding("permissions", "failed", f"not allowed: {listed}", f"an administrator runs: {command}")


def check_pod(level: str | None, warnings: Sequence[str], refusal: str | None) -> Finding:
    """Judge what the cluster said to a Job that was not created; *level* is what the namespace enforces, if known."""
    enforced = f"; the namespace enforces {level!r}" if level else ""
    if refusal is not None:
        remedy = "change what the rule names; a plugin's ascend_modify_job can change every Job"
        return Finding("pod security", "failed", refusal, remedy)
    if warnings:
        text = f"a Job is accepted, with warnings: {'; '.join(warnings)}{enforced}"
        return Finding("pod security", "warning", text, "its pod may be refused all the same: see what the rule names")
    return Finding("pod security", "ok", f"a Job as tasks get it is accepted without a warning{enforced}")


def check_quota(
    quotas: Iterable[Mapping[str, Any]], limits: Iterable[Mapping[str, Any]], pod: Mapping[str, Any]
) -> Finding:
    """Judge whether one more pod with the resources of *pod*, a pod's spec, fits into the quotas."""
    asked = _asked(pod["containers"][0].get("resources") or {}, limits)
    known, full, never = 0, list[str](), list[str]()
    for quota in quotas:
        used = (quota.get("status") or {}).get("used") or {}
        for name, hard in ((quota.get("status") or {}).get("hard") or {}).items():
            known += 1
            problem, waits = _limit(name, hard, used.get(name, "0"), asked)
            if problem:
                (full if waits else never).append(f"{quota['metadata']['name']} {problem}")
    if never:
        return Finding("quota", "failed", "; ".join(never), "set cpu, memory and gpus to what the quota allows")
    if full:
        return Finding("quota", "warning", "; ".join(full), "tasks wait until others have ended")
    text = f"one more task fits into {known} limits" if known else "no ResourceQuota limits tasks"
    return Finding("quota", "ok", text)


def check_clock(server: float | None, here: float) -> Finding:
    """Judge the difference between the API server's clock and this one."""
    if server is None:
        return Finding("clock", "unknown", "the API server does not tell its time")
    skew = here - server
    if abs(skew) >= _MOST_SKEW:
        text = f"the clock here is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the API server's"
        return Finding("clock", "warning", text, "let NTP set the clocks: signed links and Leases depend on them")
    return Finding("clock", "ok", f"within {max(1, round(abs(skew)))} s of the API server's")


def quantity(text: str) -> float:
    """Return the number that a quantity such as ``500m`` or ``4Gi`` stands for; zero for what is none."""
    found = _QUANTITY.fullmatch(text)
    return float(found[1]) * _UNITS.get(found[2], 0.0) if found else 0.0


def _limit(name: str, hard: str, used: str, asked: Mapping[str, float]) -> tuple[str, bool]:
    """Return what keeps a task from one limit of a quota, or nothing; and whether waiting helps."""
    if name not in asked:
        wants = name in {"cpu", "memory"} or name.startswith(_WANTED)
        return (f"wants {name} of every pod, and none is set" if wants else ""), False
    if asked[name] > quantity(hard):
        return f"allows {name} {hard} in all, and one task asks for more", False
    if quantity(used) + asked[name] > quantity(hard):
        return f"has {name} {used} of {hard} in use", True
    return "", False


def _asked(resources: Mapping[str, Any], limits: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return what one task takes of a quota, by the quota's names; what a pod leaves open, a LimitRange gives it."""
    requests, bounds = dict(resources.get("requests") or {}), dict(resources.get("limits") or {})
    for limit in limits:
        for item in (limit.get("spec") or {}).get("limits") or ():
            if item.get("type") == "Container":
                bounds = {**(item.get("default") or {}), **bounds}
                requests = {**(item.get("defaultRequest") or item.get("default") or {}), **requests}
    asked = {"pods": 1.0, "count/pods": 1.0, "count/jobs.batch": 1.0}
    for name, value in requests.items():
        asked[f"requests.{name}"] = asked[name] = quantity(value)
    return asked | {f"limits.{name}": quantity(value) for name, value in bounds.items()}
