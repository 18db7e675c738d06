"""What is around the tests on a cluster of their own: the cluster stops, whoever its processes belong to."""

from __future__ import annotations

import errno

import pytest

from tests.testcluster.around import stop


class OfRoot:
    """A process that has become root through sudo: signals of ours are refused."""

    waited_for = False

    def terminate(self):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def wait(self):
        self.waited_for = True
        return 0


class Ours(OfRoot):
    def terminate(self):
        """End."""


@pytest.mark.parametrize("start", [Ours(), OfRoot()], ids=["ours", "of-root"])
def test_the_cluster_is_stopped_whoever_starts_it(start, tmp_path):
    stop(start, ["touch", str(tmp_path / "down")])
    assert start.waited_for
    assert (tmp_path / "down").exists()
