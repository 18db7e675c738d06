"""The node: the first process of the namespaces in which all parts of the cluster run, so that all end with it.

usage: python -m tests.testcluster.node STATE
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.testcluster.api import Api
from tests.testcluster.network import UPLINK, Network, connect_node, run
from tests.testcluster.parts import API_SERVER, Part, after_api, before_api, write_settings
from tests.testcluster.paths import State

# The usual places of containerd, the kubelet and the network plugins are the cluster's own here: two clusters, or one
# and the machine's own containerd, do not meet.
_PLACES = (
    "/run/containerd",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
_PATIENCE = 30.0


def main() -> None:
    """Start all parts, and end with the first that ends: nothing runs half.

    Only an API server that a signal ends is started again: that is how tests restart it.
    """
    state = State(Path(sys.argv[1]))
    facts = state.facts()
    network = Network(**facts["network"])
    for place in _PLACES:
        folder = state.folder / "places" / place.strip("/").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        run(f"mount --bind {folder} {place}")
    _wait_for(Path("/proc/sys/net/ipv4/conf", UPLINK))
    connect_node(network)
    write_settings(state, network)
    running = {_start(state, part): part for part in before_api(state, network)}
    api = Api.of_kubeconfig(state.kubeconfig)
    while not api.ready():
        _reap(state, running, os.WNOHANG)
        time.sleep(0.05)
    running |= {_start(state, part): part for part in after_api(state, network)}
    while True:
        _reap(state, running, 0)


def _start(state: State, part: Part) -> int:
    with state.log(part.name).open("ab") as log:
        environ = {"HOME": str(state.folder), "PATH": os.environ["PATH"], **part.environ}
        process = subprocess.Popen(part.command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    return process.pid


def _reap(state: State, running: dict[int, Part], flags: int) -> None:
    """Take in a process that ended; processes of pods whose parents ended come here too."""
    pid, status = os.waitpid(-1, flags)
    if pid not in running:
        return
    part = running.pop(pid)
    if part.name != API_SERVER or not os.WIFSIGNALED(status):
        sys.exit(f"{part.name} ended with status {os.waitstatus_to_exitcode(status)}; its log says why")
    running[_start(state, part)] = part


def _wait_for(path: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            sys.exit("whoever started the node has ended in between")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
