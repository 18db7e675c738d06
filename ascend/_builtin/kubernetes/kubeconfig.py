"""Finds the way to a cluster as `kubectl` does: kubeconfig files and their contexts, or the pod's service account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend._builtin.kubernetes.connection import PATIENCE, Connection, Place
from ascend.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["connect"]

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(
    context: str | None = None, namespace: str | None = None, kubeconfig: str | None = None, patience: float = PATIENCE
) -> Connection:
    """Return a connection as `kubectl` would make it.

    *kubeconfig* is a path or several, as in ``$KUBECONFIG``, which holds where it is `None`; then ``~/.kube/config``;
    where there is none, the service account of the pod that this runs in. *context* and *namespace*: `None` is the
    current context, and its namespace. `ConfigError` if there is nothing to connect with.
    """
    from kubernetes import config  # noqa: PLC0415 - 0.4 s

    paths = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path):
        return _connect_inside(namespace, paths, patience)
    try:
        known, current = config.list_kube_config_contexts(config_file=paths)  # type: ignore[no-untyped-call] # half of the client has types
        chosen = _context(context, known, current, paths)

        def load() -> Any:
            configuration = _new_configuration()
            config.load_kube_config(config_file=paths, context=chosen["name"], client_configuration=configuration)  # type: ignore[no-untyped-call] # as above
            return configuration

        return Connection(load, _place(load, chosen, namespace), patience)
    except ConfigError:
        raise
    except Exception as exc:  # its reader lets through what a YAML parser raises, and what a wrong structure leads to
        msg = f"the kubeconfig {paths} cannot be used: {exc}"
        raise ConfigError(msg) from exc


def _connect_inside(namespace: str | None, paths: str, patience: float) -> Connection:
    from kubernetes import config  # noqa: PLC0415 - as above

    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        msg = (
            f"there is no kubeconfig at {paths}, and this is no pod of a cluster: set KUBECONFIG, "
            "or run on this machine with cluster='local' (ASCEND_CLUSTER=local)"
        )
        raise ConfigError(msg)

    def load() -> Any:
        configuration = _new_configuration()
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # as above
        return configuration

    try:
        own = _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        return Connection(load, Place(None, load().host, namespace or own), patience)
    except (config.ConfigException, OSError) as exc:
        msg = f"this pod has no service account to reach its cluster with: {exc}"
        raise ConfigError(msg) from exc


def _context(
    wanted: str | None, known: list[dict[str, Any]], current: dict[str, Any] | None, paths: str
) -> dict[str, Any]:
    names = {each["name"]: each for each in known}
    if wanted is None:
        if current is None:
            msg = f"the kubeconfig {paths} has no current context: set context (ASCEND_CONTEXT), one of {sorted(names)}"
            raise ConfigError(msg)
        return current
    if wanted not in names:
        msg = f"the kubeconfig {paths} has no context {wanted!r}: there are {', '.join(sorted(names)) or 'none'}"
        raise ConfigError(msg)
    return names[wanted]


def _place(load: Callable[[], Any], context: dict[str, Any], namespace: str | None) -> Place:
    own: str = context["context"].get("namespace") or "default"
    return Place(context["name"], load().host, namespace or own)


def _new_configuration() -> Any:
    from kubernetes.client import Configuration  # noqa: PLC0415 - as above

    return Configuration()
