"""The standard library's own tests of its executors, against `AscendExecutor` on Kubernetes."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tests.conftest import PATIENCE
from tests.stdlib.suite import SuiteMissingError
from tests.stdlib.test_conformance import LIMIT, assert_passes, listed
from tests.stdlib.unsuited import ON_KUBERNETES
from tests.testcluster.namespaces import temporary_namespace

SELECTED = [
    # Our futures in the place of the standard ones: all of these tests are about the class alone, so one is enough.
    "future.test_repr",
    # What submit, map and shutdown promise: values, keywords, exceptions, and who still holds an argument.
    "executor.test_free_reference",
    "executor.test_map",
    "executor.test_map_exception",
    "executor.test_max_workers_negative",
    "executor.test_submit",
    "executor.test_submit_keyword",
    # Chunks of a map, one pod each.
    "process.test_map_chunksize",
    # The ends of executors and interpreters, with calls under way in pods.
    "shutdown.test_hang_gh94440",
    "shutdown.test_run_after_shutdown",
    "shutdown.test_submit_after_interpreter_shutdown",
    "shutdown2.test_cancel_futures_wait_false",
    # The functions wait and as_completed over futures whose pods end in any order.
    "wait.test_20369",
    "wait.test_all_completed",
    "wait.test_first_completed",
    "wait.test_first_exception",
    "as_completed.test_correct_timeout_exception_msg",
    "as_completed.test_free_reference_yielded_future",
    "as_completed.test_future_times_out",
    "as_completed.test_no_timeout",
    # An initializer runs in the pod, and its failure breaks the executor here.
    "init.test_initializer",
    "init_fail.test_initializer",
    # Pods that crash, exit, or cannot pickle: every future ends, and none waits for ever.
    "deadlock.test_crash_at_task_unpickle",
    "deadlock.test_crash_big_data",
    "deadlock.test_crash_during_func_exec_on_worker",
    "deadlock.test_crash_during_result_pickle_on_worker",
    "deadlock.test_error_at_task_pickle",
    "deadlock.test_error_at_task_unpickle",
    "deadlock.test_error_during_func_exec_on_worker",
    "deadlock.test_error_during_result_unpickle_in_result_handler",
    "deadlock.test_exit_during_func_exec_on_worker",
    "deadlock.test_shutdown_deadlock",
]

newest = pytest.mark.skipif(sys.version_info < (3, 13), reason="a cluster runs them on the newest Python only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stock_test" not in metafunc.fixturenames:
        return
    names = list(SELECTED)
    if "CONFORMANCE_ALL" in os.environ:
        try:
            names = [name for name, what in listed().items() if what == "run" and name not in ON_KUBERNETES]
        except SuiteMissingError:
            names = ["the suite is missing"]
    metafunc.parametrize("stock_test", names)


@pytest.fixture(scope="module")
def shared(testcluster, tmp_path_factory):
    """Return one namespace for all tests of this process; nothing of ascend may be left there in the end."""
    with temporary_namespace(testcluster, tmp_path_factory.mktemp("namespace")) as made:
        yield made
        end = time.monotonic() + PATIENCE
        while left := made.left():
            assert time.monotonic() < end, f"left behind: {left}"
            time.sleep(0.1)


@newest
@pytest.mark.timeout(3 * LIMIT, func_only=True)
def test_standard_library(stock_test, shared, tmp_path):
    # Images of Python leave out its tests, so they travel.
    assert_passes(stock_test, tmp_path, "kubernetes", shared.environ, "--by-value")


def test_what_is_selected_can_pass():
    assert len(set(SELECTED)) >= 30
    assert not set(SELECTED) & ON_KUBERNETES.keys()
