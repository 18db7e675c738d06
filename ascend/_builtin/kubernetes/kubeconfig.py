"""Finds the way to a cluster as `kubectl` does: kubeconfig files and their contexts, or the pod's service account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ascend._builtin.kubernetes.connection import PATIENCE, Connection, Place
from ascend.errors import ConfigError

__all__ = ["connect"]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connect(
    context: str | None = None,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    patience: float = PATIENCE,
    *,
    service_account: Path = _SERVICE_ACCOUNT,
) -> Connection:
    """Return a connection as `kubectl` would make it.

    *kubeconfig* is a path or several, as in ``$KUBECONFIG``, which holds where it is `None`; then ``~/.kube/config``;
    where there is none, the service account of the pod that this runs in, found in the folder *service_account*.
    *context* and *namespace*: `None` is the current context, and its namespace. `ConfigError` if there is nothing to
    connect with.
    """
    paths = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path):
        return _connect_inside(namespace, paths, patience, service_account)
    try:
        name, own_namespace = _choose(context, paths)

        def load() -> Any:
            from kubernetes import config  # noqa: PLC0415 - 0.4 s

            configuration = _new_configuration()
            config.load_kube_config(config_file=paths, context=name, client_configuration=configuration)  # type: ignore[no-untyped-call] # half of the client has types
            return configuration

        return Connection(load, Place(name, load().host, namespace or own_namespace), patience)
    except ConfigError:
        raise
    except Exception as exc:  # its reader lets through what a YAML parser raises, and what a wrong structure leads to
        msg = f"the kubeconfig {paths} cannot be used: {exc}"
        raise ConfigError(msg) from exc


def _choose(wanted: str | None, paths: str) -> tuple[str, str]:
    """Return the name of the context and its namespace."""
    from kubernetes.config.kube_config import KubeConfigMerger  # noqa: PLC0415 - as above

    merged: Any = KubeConfigMerger(paths).config  # type: ignore[no-untyped-call] # as above
    contexts = {each["name"]: each["context"] for each in merged.safe_get("contexts") or ()}
    there = ", ".join(sorted(contexts)) or "none"
    name = wanted or merged.safe_get("current-context")
    if not name:
        msg = f"the kubeconfig {paths} has no current context: set context (ASCEND_CONTEXT); there are {there}"
        raise ConfigError(msg)
    if name not in contexts:
        msg = f"the kubeconfig {paths} has no context {name!r}: there are {there}"
        raise ConfigError(msg)
    return name, contexts[name].safe_get("namespace") or "default"


def _connect_inside(namespace: str | None, paths: str, patience: float, folder: Path) -> Connection:
    from kubernetes.config import ConfigException  # noqa: PLC0415 - as above
    from kubernetes.config.incluster_config import InClusterConfigLoader  # noqa: PLC0415 - as above

    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        msg = (
            f"there is no kubeconfig at {paths}, and this is no pod of a cluster: set KUBECONFIG, "
            "or run on this machine with cluster='local' (ASCEND_CLUSTER=local)"
        )
        raise ConfigError(msg)

    def load() -> Any:
        configuration = _new_configuration()
        loader = InClusterConfigLoader(str(folder / "token"), str(folder / "ca.crt"), environ=os.environ)  # type: ignore[no-untyped-call] # as above
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call] # as above
        return configuration

    try:
        own = (folder / "namespace").read_text(encoding="utf-8").strip()
        return Connection(load, Place(None, load().host, namespace or own), patience)
    except (ConfigException, OSError) as exc:
        msg = f"this pod has no service account to reach its cluster with: {exc}"
        raise ConfigError(msg) from exc


def _new_configuration() -> Any:
    from kubernetes.client import Configuration  # noqa: PLC0415 - as above

    return Configuration()
