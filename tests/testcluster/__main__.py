"""The command that the Makefile calls: up, down, image."""

from __future__ import annotations

import argparse
import shlex
import sys

from tests.testcluster import cluster
from tests.testcluster.paths import ClusterError, State


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="testcluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start or join the cluster, and print what a shell needs")
    commands.add_parser("down", help="stop it")
    arguments = parser.parse_args()
    state = State.of_this_clone()
    try:
        with cluster.lock():
            if arguments.command == "up":
                cluster.up(state)
                for name, value in cluster.exports(state).items():
                    print(f"export {name}={shlex.quote(value)}")
            else:
                cluster.remove(state)
    except ClusterError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
