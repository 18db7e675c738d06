"""What the Makefile calls: starts the test cluster, stops it, and says what there is."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
from typing import NoReturn

from tests.testcluster import cluster, images
from tests.testcluster.around import around
from tests.testcluster.packages import may_sudo
from tests.testcluster.paths import ClusterError, State


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="testcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start or join the cluster of this clone, and print what a shell needs")
    commands.add_parser("down", help="stop it, with those of earlier contents of this clone")
    within = commands.add_parser(
        "around", help="run commands, the last of them on the cluster, and stop it if it was not there"
    )
    within.add_argument("commands", nargs="+", metavar="COMMAND")
    image = commands.add_parser("image", help="make an image in its registry and print the reference")
    image.add_argument("name", choices=images.MADE)
    image.add_argument("--python", default="3.13", metavar="VERSION")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # a user's may lack what only root uses
    # What is being done is undone, as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        _run(arguments, State.of_this_clone())
    except ClusterError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _run(arguments: argparse.Namespace, state: State) -> None:
    if arguments.command == "around":
        sys.exit(around(arguments.commands))
    with cluster.lock():
        if arguments.command == "image":
            print(cluster.image(state, arguments.name, arguments.python))
            return
        if arguments.command == "up":
            if not cluster.joined(state):
                cluster.prepare()
                _as_root()
                cluster.start(state)
            for name, value in cluster.exports(state).items():
                print(f"export {name}={shlex.quote(value)}")
        elif cluster.found(state):
            _as_root()
            cluster.stop(state)


def _as_root() -> None:
    """Go on as root: only it can make a node."""
    if os.geteuid() == 0:
        return
    if not may_sudo():
        raise ClusterError("only root can start or stop a node, and sudo asks for a password; run make as root")
    _become_root()


def _become_root() -> NoReturn:
    kept = [f"{name}={os.environ[name]}" for name in ("HOME", "PATH", "XDG_CACHE_HOME") if name in os.environ]
    sudo = shutil.which("sudo") or "sudo"
    os.execv(sudo, [sudo, "-n", "-E", "env", *kept, sys.executable, "-m", "tests.testcluster", *sys.argv[1:]])


if __name__ == "__main__":
    main()
