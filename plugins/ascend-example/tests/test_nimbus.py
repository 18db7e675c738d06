from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from ascend.model import NodeType, Profile
from ascend.testing import StorageContract, check_modify_job_leaves_others_alone, sample_job, sample_task
from ascend_example import hooks, transport


@pytest.fixture(autouse=True)
def nimbus_root(tmp_path, monkeypatch):
    monkeypatch.setenv("NIMBUS_ROOT", str(tmp_path))
    return tmp_path


class TestNimbusStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        return hooks.ascend_storage("nimbus://bucket")


def test_ascend_storage_answers_for_its_scheme_only():
    assert hooks.ascend_storage("nimbus://bucket").url == "nimbus://bucket"
    assert hooks.ascend_storage("s3://bucket") is None


def test_ascend_node_type_knows_the_nodes_of_nimbus():
    gpu = hooks.ascend_node_type("nimbus-gpu-small")
    assert isinstance(gpu, NodeType)
    assert gpu.labels == {"nimbus.example/pool": "gpu-small"}
    assert gpu.resources == {"nvidia.com/gpu": "1"}
    assert gpu.tolerations[0]["key"] == "nvidia.com/gpu"
    assert hooks.ascend_node_type("nc8as_t4_v3") is None


def test_ascend_modify_job_gives_a_job_what_it_needs_on_nimbus():
    task = sample_task(cpu="1")
    manifest = sample_job(task)
    config = {"service_account": "research", "zone": "north", "cost_centre": "physics"}
    hooks.ascend_modify_job(manifest, Profile(plugin_config={"nimbus": config}))
    pod = manifest["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "research"
    assert pod["nodeSelector"] == {"nimbus.example/zone": "north"}
    assert manifest["metadata"]["labels"]["nimbus.example/cost-centre"] == "physics"


def test_ascend_modify_job_leaves_others_alone():
    check_modify_job_leaves_others_alone(hooks)


def test_the_transport_of_the_pod_reads_what_it_wrote(nimbus_root):
    transport.write("nimbus://bucket/a%20key", [b"con", memoryview(b"tent")])
    assert transport.read("nimbus://bucket/a%20key") == b"content"
    assert [path.name for path in (nimbus_root / "bucket").iterdir()] == ["a key"]


def test_entry_points_are_found_on_both_sides():
    client = entry_points(group="ascend", name="nimbus")
    pod = entry_points(group="ascend.transports", name="nimbus")
    assert [entry_point.load() for entry_point in (*client, *pod)] == [hooks, transport]


def test_the_transport_needs_only_the_standard_library():
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from ascend_example import transport\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(loaded - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['ascend_example']"
