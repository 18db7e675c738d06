"""The kept lines of a failed task: found for whoever it was, when its Job or its pod is gone."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ascend.cli.group import root
from tests.unit.api_server import ApiServer, answer, kubeconfig, refusal
from tests.unit.kubernetes_objects import JOB, condition, job, pod, running

NO_JOB = refusal(404, "NotFound", f'jobs.batch "{JOB}" not found')
NO_PODS = answer({"items": [], "metadata": {"resourceVersion": "1"}})
LABELS = {"app.kubernetes.io/managed-by": "ascend", "ascend.dev/run": "0badc0de"}


@pytest.fixture
def server(tmp_path, monkeypatch):
    made = ApiServer()
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(made.url))
    for name, value in {"KUBECONFIG": path, "ASCEND_USER": "bob", "ASCEND_PROJECT": "other"}.items():
        monkeypatch.setenv(name, str(value))
    yield made
    made.close()


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """Set a storage, with what is kept of a task of ada."""
    path = tmp_path / "storage/projects/demo/users/ada/jobs" / JOB / "log"
    path.parent.mkdir(parents=True)
    path.write_text("the last line")
    monkeypatch.setenv("ASCEND_STORAGE", (tmp_path / "storage").as_uri())


def adas_job(*conditions):
    made = job(conditions=conditions, labels=LABELS, creationTimestamp="2026-11-24T09:50:00Z")
    made["metadata"]["annotations"] = {"ascend.dev/user": "ada", "ascend.dev/project": "demo"}
    made["spec"] = {"template": {"spec": {"containers": [{"image": "python:3.13"}]}}}
    return answer(made)


def logs(*options):
    return CliRunner().invoke(root, ["jobs", "logs", JOB, *options])


@pytest.mark.usefixtures("storage")
def test_of_a_job_that_is_gone_the_options_say_whose_it_was(server):
    server.answers = [NO_JOB]
    assert logs("--user", "ada", "--project", "demo").stdout == "the last line\n"


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("options", [(), ("-f",)])
def test_a_job_without_pods_says_itself_whose_it_was(server, options):
    server.answers = [adas_job(condition("Failed")), NO_PODS]
    assert logs(*options).stdout == "the last line\n"


@pytest.mark.usefixtures("storage")
def test_a_job_with_a_pod_is_read_from_it(server):
    found = answer({"items": [pod(state=running())], "metadata": {"resourceVersion": "1"}})
    server.answers = [adas_job(condition("Failed")), found, found, answer(b"2026-11-24T10:00:00.000000000Z from it\n")]
    assert logs().stdout == "from it\n"


@pytest.mark.usefixtures("storage")
def test_where_nothing_is_kept_the_error_says_where_it_was_looked_for(server):
    server.answers = [NO_JOB]
    error = str(logs().exception)
    assert f"there is no Job {JOB}" in error
    assert "for user 'bob' and project 'other': --user and --project say whose it was" in error


def test_without_a_storage_the_error_says_so(server):
    server.answers = [NO_JOB]
    assert "none is set here: set storage (ASCEND_STORAGE)" in str(logs().exception)
