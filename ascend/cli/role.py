"""The rights that who submits tasks needs in a namespace, and the Role that grants them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ROLE", "RULES", "Rule", "Subject", "role_yaml"]

ROLE = "ascend-user"


class Rule(NamedTuple):
    """Verbs on resources of an API group."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


RULES = (
    Rule("batch", ("jobs",), ("create", "get", "list", "watch", "patch", "delete")),
    Rule("", ("pods",), ("get", "list", "watch", "delete")),
    Rule("", ("pods/log",), ("get",)),
    Rule("", ("events", "resourcequotas", "limitranges"), ("get", "list")),
    Rule("", ("secrets",), ("create", "patch", "delete")),
    Rule("coordination.k8s.io", ("leases",), ("create", "get", "list", "patch", "delete")),
)
"""What all of ascend needs; Secrets are written and never read."""


class Subject(NamedTuple):
    """Who gets a Role: *kind* is ``User``, ``Group`` or ``ServiceAccount``."""

    kind: str
    name: str
    namespace: str = ""


def role_yaml(namespace: str, subjects: Sequence[Subject] = ()) -> str:
    """Return the Role, and a RoleBinding for each of *subjects*, as ``kubectl apply -f -`` takes them."""
    documents = ["\n".join(_role(namespace)), *("\n".join(_binding(namespace, each)) for each in subjects)]
    return "\n---\n".join(documents) + "\n"


def _role(namespace: str) -> Iterator[str]:
    yield "apiVersion: rbac.authorization.k8s.io/v1"
    yield "kind: Role"
    yield from _meta(namespace, ROLE)
    yield "rules:"
    for rule in RULES:
        yield f"- apiGroups: {_list((rule.group,))}"
        yield f"  resources: {_list(rule.resources)}"
        yield f"  verbs: {_list(rule.verbs)}"


def _binding(namespace: str, subject: Subject) -> Iterator[str]:
    # One name for all would take the Role from whom it was given to before; and names of users may hold anything.
    digest = sha256(":".join(subject).encode()).hexdigest()[:8]
    yield "apiVersion: rbac.authorization.k8s.io/v1"
    yield "kind: RoleBinding"
    yield from _meta(namespace, f"{ROLE}-{digest}")
    yield "roleRef:"
    yield "  apiGroup: rbac.authorization.k8s.io"
    yield "  kind: Role"
    yield f"  name: {ROLE}"
    yield "subjects:"
    yield f"- kind: {subject.kind}"
    # A quoted text of JSON is one of YAML.
    yield f"  name: {json.dumps(subject.name)}"
    if subject.kind == "ServiceAccount":
        yield f"  namespace: {json.dumps(subject.namespace or namespace)}"
    else:
        yield "  apiGroup: rbac.authorization.k8s.io"


def _meta(namespace: str, name: str) -> Iterator[str]:
    yield "metadata:"
    yield f"  name: {name}"
    yield f"  namespace: {json.dumps(namespace)}"
    yield "  labels:"
    # No label of ascend's own objects: nothing that removes those may remove this.
    yield "    app.kubernetes.io/part-of: ascend"


def _list(words: Sequence[str]) -> str:
    return json.dumps(list(words))
