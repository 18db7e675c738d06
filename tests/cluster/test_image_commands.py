"""``ascend image`` and ``ascend admin prepull`` on a real cluster and a real registry."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ascend.building.build_manifest import BUILD_LABEL
from ascend.building.registry import Registry
from tests.cluster.test_environments import index, look, packed_uv  # noqa: F401 - fixtures too
from tests.cluster.test_images import place, tiny, uv_travels, write_settings  # noqa: F401 - fixtures too
from tests.testcluster.api import Api


def ascend(*arguments, status=0):
    command = [sys.executable, "-m", "ascend", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.usefixtures("tiny")
def test_an_image_is_built_listed_shown_used_and_removed(place, kubernetes, make_executor, eventually, tmp_path):  # noqa: F811
    write_settings(tmp_path / "home" / "project", keep=600)
    nothing = ascend("image", "list").stdout
    assert nothing == f"No built image is in {place.registry}/{place.repository}.\n"

    built = ascend("image", "build", "tiny-base")
    reference = built.stdout.strip()
    assert reference.startswith(f"{place.registry}/{place.repository}@sha256:")
    assert "install: 1 distributions" in built.stderr
    assert ascend("image", "build", "tiny-base").stdout.strip() == reference

    (image,) = json.loads(ascend("image", "list", "--json").stdout)["images"]
    assert (image["image"], image["builder"], image["requirements"]) == (reference, "layer", "tiny-base")
    assert image["used"] is not None
    (key,) = image["keys"]
    assert key[:12] in ascend("image", "list").stdout
    assert json.loads(ascend("image", "status", key[:8], "--json").stdout) == image
    assert "manifest: " in ascend("image", "logs", key).stdout
    for build in kubernetes.admin.find("jobs", kubernetes.name, BUILD_LABEL):
        kubernetes.admin.delete("jobs", build["metadata"]["name"], kubernetes.name)

    executor = make_executor(image_builder="layer", requirements=["tiny-base"])
    assert executor.submit(look).result(timeout=120)[0] == 42
    assert ascend("image", "gc", "--unused", "30d", "--yes").stdout.startswith("Nothing to remove: all of the 1 images")
    executor.shutdown()
    job = named_job(kubernetes, reference)
    kept = ascend("image", "gc", "--unused", "0s", "--yes")
    assert kept.stdout.startswith("Nothing to remove")
    assert "may look unused" in kept.stderr
    assert f"{kubernetes.name}/{job}: --force" in ascend("image", "delete", key, status=1).stderr
    kubernetes.admin.delete("jobs", job, kubernetes.name)

    dry_run = ("image", "gc", "--unused", "0s", "--dry-run")
    # The Job of the task goes with its run, soon after that.
    eventually(lambda: "Would delete 1 of 1 images." in ascend(*dry_run).stdout, "that no Job names it")
    command = ("image", "gc", "--unused", "0s", "--yes")
    assert "nothing was deleted" in ascend(*command, status=1).stderr
    assert f"Deleted {key[:12]} (tiny-base)" in ascend(*command, "--one-namespace").stdout
    assert list(Registry(place.registry, plain=True).tags(place.repository)) == []
    leases = kubernetes.admin.find("leases", kubernetes.name, "ascend.dev/image-key")
    assert leases == []
    assert "`ascend image list` shows" in ascend("image", "delete", key, status=1).stderr


def named_job(kubernetes, image):
    """Create a Job of another kind that names *image*, and waits for ever."""
    container = {"name": "main", "image": image, "command": ["python", "-c", "pass"]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    job = {"metadata": {"name": "names-it"}, "spec": {"suspend": True, "template": {"spec": pod}}}
    Api.of_kubeconfig(kubernetes.kubeconfig).create("jobs", job, kubernetes.name)
    return "names-it"


def test_a_build_that_runs_is_listed_with_what_it_waits_for(tiny, place, tmp_path, kubernetes, eventually):  # noqa: F811
    write_settings(tmp_path / "home" / "project", cpu="64")
    command = [sys.executable, "-m", "ascend", "image", "build", *tiny.requirements]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            (build,) = eventually(lambda: json.loads(ascend("image", "list", "--json").stdout)["builds"], "the build")
            assert build["state"] == "waits"

            def status():
                return json.loads(ascend("image", "status", build["key"], "--json").stdout)

            eventually(lambda: "Insufficient cpu" in status()["message"], "the scheduler's words")
            assert len(status()["waiting"]) == 1
            assert status()["job"] == build["job"]
        finally:
            process.terminate()
            process.communicate()
    kubernetes.admin.delete("jobs", build["job"], kubernetes.name)


def test_there_are_no_images_without_a_registry(kubernetes):
    assert "ASCEND_REGISTRY" in ascend("image", "list", "-n", kubernetes.name, status=1).stderr


def test_nodes_pull_an_image_before_anybody_waits_for_it(own_cluster, kubernetes, monkeypatch):
    image = kubernetes.environ["ASCEND_BASE_IMAGE"]
    done = ascend("admin", "prepull", image, "--nodes", "1", "--json")
    assert json.loads(done.stdout) == [{"node": "node-1", "state": "pulled", "reason": ""}]
    assert "say by --nodes" in ascend("admin", "prepull", image, status=1).stderr
    monkeypatch.setenv("KUBECONFIG", str(own_cluster.state.kubeconfig))
    assert "node-1" in ascend("admin", "prepull", image).stdout


def test_an_image_that_cannot_be_pulled_is_told_for_the_node(own_cluster, kubernetes):
    assert own_cluster
    image = kubernetes.environ["ASCEND_BASE_IMAGE"].replace("/python:", "/not-there:")
    assert "is on 0 of 1 nodes only" in ascend("admin", "prepull", image, "--nodes", "1", status=1).stderr
