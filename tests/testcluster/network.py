"""The cluster's network: a subnet that is free, a cable into the node, and the way out.

The node has a network of its own, which ends with its last process. On this machine there is only one end of the cable,
which goes with it, and the firewall's rules, which carry the cluster's name.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.testcluster.paths import NAME_PREFIX, ClusterError

_CANDIDATES = tuple(ipaddress.IPv4Network("10.90.0.0/16").subnets(new_prefix=22))
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_WAS_OFF = Path("/run/ascend-testcluster-forwarding-was-off")
UPLINK = "uplink"
BRIDGE = "pods"
_ADDRESS = "02:00:00:00:00:01"


@dataclass(frozen=True)
class Network:
    """The addresses of a cluster."""

    subnet: str
    mtu: int

    @property
    def node(self) -> str:
        """The address of the node: API server, registry and storage listen there."""
        return str(ipaddress.ip_network(self.subnet)[1])

    @property
    def machine(self) -> str:
        """The address of this machine on the cable: the node's way out."""
        return str(ipaddress.ip_network(self.subnet)[2])

    @property
    def pods(self) -> tuple[str, str]:
        """The first and the last address of pods."""
        subnet = ipaddress.ip_network(self.subnet)
        return str(subnet[16]), str(subnet[-2])

    def with_length(self, address: str) -> str:
        """Return *address* with the subnet's length."""
        return f"{address}/{ipaddress.ip_network(self.subnet).prefixlen}"


def free_network() -> Network:
    """Return a network whose subnet nothing on this machine uses."""
    used = [ipaddress.IPv4Network(route["dst"]) for route in _routes() if route["dst"] != "default"]
    for subnet in _CANDIDATES:
        if not any(subnet.overlaps(other) for other in used):
            return Network(str(subnet), _mtu())
    raise ClusterError("no subnet of 10.90.0.0/16 is free; end other test clusters with make cluster-down")


def lay_cable(name: str, network: Network, pid: int) -> None:
    """Connect the network of process *pid* with this machine's, and let it out."""
    mtu = str(network.mtu)
    run(f"ip link add {name} mtu {mtu} type veth peer name {UPLINK} mtu {mtu} netns {pid}")
    run(f"ip address add {network.with_length(network.machine)} dev {name}")
    run(f"ip link set {name} up")
    if _FORWARDING.read_text().strip() == "0":
        _WAS_OFF.touch()
        _FORWARDING.write_text("1")
    for rule in _rules(name, network.subnet):
        run(f"iptables --wait {rule.format(action='--insert')}")


def connect_node(network: Network) -> None:
    """Set up the node's side, inside: a bridge for pods that the cable ends at."""
    run("ip link set lo up")
    # With an address of its own; else the bridge takes that of a pod that comes, and connections stall when it goes.
    run(f"ip link add {BRIDGE} address {_ADDRESS} mtu {network.mtu} type bridge")
    run(f"ip address add {network.with_length(network.node)} dev {BRIDGE}")
    run(f"ip link set {UPLINK} master {BRIDGE} up")
    run(f"ip link set {BRIDGE} up")
    run(f"ip route add default via {network.machine}")


def cut_cable(name: str) -> None:
    """Remove from this machine what carries *name*."""
    subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
    for table in ("filter", "nat"):
        for line in output(f"iptables --wait --table {table} --list-rules").splitlines():
            if f"--comment {name} " in line:
                run(f"iptables --wait --table {table} {line.replace('-A', '-D', 1)}")
    if _WAS_OFF.exists() and not any(link["ifname"].startswith(NAME_PREFIX) for link in _links()):
        _FORWARDING.write_text("0")
        _WAS_OFF.unlink()


def _rules(name: str, subnet: str) -> list[str]:
    comment = f"--match comment --comment {name}"
    return [
        f"--table nat {{action}} POSTROUTING --source {subnet} ! --destination {subnet} {comment} --jump MASQUERADE",
        f"--table filter {{action}} FORWARD --in-interface {name} {comment} --jump ACCEPT",
        f"--table filter {{action}} FORWARD --out-interface {name} {comment} --jump ACCEPT",
    ]


def _routes() -> list[dict[str, str]]:
    return list(json.loads(output("ip -json -4 route show table all type unicast")))


def _links() -> list[dict[str, str]]:
    return list(json.loads(output("ip -json link show")))


def _mtu() -> int:
    """Return the smallest of the ways out, so that no packet of a pod is too large for it."""
    ways = {route["dev"] for route in _routes() if route["dst"] == "default"}
    links = (int(link["mtu"]) for link in _links() if link["ifname"] in ways)
    return min(itertools.chain(links, (1500,)))


def run(command: str) -> None:
    """Run *command*, which must not fail."""
    output(command)


def output(command: str) -> str:
    """Return what *command* prints; it must not fail."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{command} failed: {done.stderr.strip()}")
    return done.stdout
