"""From the last status of a Job to a value or an exception: every branch of one pure function."""

import pickle
import threading

import cloudpickle
import pytest

from ascend._builtin.cloudpickle import CloudpickleSerializer
from ascend._core import wire
from ascend._core.outcome import _ENDS, outcome_of
from ascend.errors import (
    AscendError,
    CallLoadError,
    ClusterError,
    ContainerConfigError,
    ImagePullError,
    InitializerError,
    JobRefusedError,
    KeyNotFoundError,
    OutcomeLoadError,
    OutOfMemoryError,
    QueueTimeoutError,
    QuotaExceededError,
    RemoteExecutionError,
    SerializationError,
    StorageError,
    TaskCrashedError,
    TaskDisruptedError,
    TaskError,
    TaskLostError,
    TaskStartError,
    TaskTimeoutError,
    UnschedulableError,
    VersionMismatchError,
)
from ascend.model import JobStatus, Needs, Task

TASK = Task("run-1", "run", "asc-run-1", "score", "ada", "weather", Needs(memory="1Gi"))
VERSIONS = {"serializer": "cloudpickle", "python": wire.python_minor(), "cloudpickle": "3", "ascend": "0"}
RIGHT = {"status": "value", "digest": "0" * 64, "size": "1", "times": "1,2,3", "where": "inline"}
UNPICKLED: list[str] = []


class Marks:
    """Tells when it is unpickled."""

    def __reduce__(self):
        return note, ("unpickled",)


def note(word):
    UNPICKLED.append(word)


def bundle(value, **versions):
    buffers = []
    payload = cloudpickle.dumps(value, 5, buffer_callback=buffers.append)
    parts = wire.frame(payload, [buffer.raw() for buffer in buffers], {**VERSIONS, **versions})
    return bytearray(b"".join(parts)), wire.digest_of(parts[0])


def receipt(fields, body=b""):
    return wire.write_head(wire.RECEIPT, fields) + body


def answered(value, status="value", where="inline", digest=None, **versions):
    """Return the receipt of an answer and what lies in storage for it."""
    data, right_digest = bundle(value, **versions)
    fields = {
        "status": status,
        "digest": digest or right_digest,
        "size": str(len(data)),
        "times": "1.5,2.5,4.0",
        "where": where,
    }
    return receipt(fields, wire.pack_inline([data]) if where == "inline" else b""), data


def nothing_stored(where):
    raise KeyNotFoundError("nothing is stored under the key")


def outcome(content=b"", *, fetch=nothing_stored, lines=("the last line",), exit_code=0, **status):
    ended = JobStatus(TASK.job_name, "succeeded", exit_code=exit_code, receipt=content, **status)
    return outcome_of(TASK, ended, lines, fetch, CloudpickleSerializer())


# Answers.


def test_a_value_in_the_receipt():
    content, _ = answered({"loss": 0.5})

    assert outcome(content).value == {"loss": 0.5}
    assert outcome(content).exception is None
    assert outcome(content).times == (1.5, 2.5, 4.0)


def test_a_value_in_storage():
    content, data = answered(bytearray(b"x" * 100), where="storage")

    assert outcome(content, fetch=lambda where: memoryview(data)).value == b"x" * 100


def test_a_value_counts_whatever_the_process_did_afterwards():
    content, _ = answered(1)

    assert outcome(content, exit_code=None, signal="SIGSEGV").value == 1


def test_an_exception_comes_as_itself_with_its_remote_traceback():
    row = (
        "builtins.KeyError",
        "'key'",
        "Traceback: there\n",
        cloudpickle.dumps(wire.flatten_exception(KeyError("key"))),
        "",
    )

    exception = outcome(answered(row, status="exception")[0]).exception

    assert type(exception) is KeyError
    assert exception.args == ("key",)
    assert "Traceback: there" in str(exception.__cause__)


def test_the_remote_traceback_is_the_root_of_the_chain():
    error, cause = KeyError("key"), ValueError("cause")
    error.__cause__ = cause
    row = ("builtins.KeyError", "'key'", "there", cloudpickle.dumps(wire.flatten_exception(error)), "")

    exception = outcome(answered(row, status="exception")[0]).exception

    assert type(exception.__cause__) is ValueError
    assert "there" in str(exception.__cause__.__cause__)


def test_a_circle_of_causes_is_left_as_it_is():
    error, cause = KeyError("key"), ValueError("cause")
    error.__cause__, cause.__cause__ = cause, error
    row = ("builtins.KeyError", "'key'", "there", cloudpickle.dumps(wire.flatten_exception(error)), "")

    exception = outcome(answered(row, status="exception")[0]).exception

    assert exception.__cause__.__cause__ is exception


def test_an_exception_without_a_pickle_comes_as_text():
    row = ("their.OwnError", "the message", "Traceback: there", None, "TypeError: no lock")

    exception = outcome(answered(row, status="exception")[0]).exception

    assert type(exception) is RemoteExecutionError
    assert (exception.remote_type, exception.remote_message) == ("their.OwnError", "the message")
    assert exception.remote_traceback == "Traceback: there"
    assert exception.task_id == TASK.id
    for part in ("score", "their.OwnError", "the message", "Traceback: there", "pickled there", "TypeError: no lock"):
        assert part in str(exception)


@pytest.mark.parametrize("damaged", [b"", b"no pickle", pickle.dumps([]), pickle.dumps(5), pickle.dumps([(1,)])])
def test_an_exception_whose_pickle_does_not_load_comes_as_text(damaged):
    row = ("their.OwnError", "the message", "Traceback: there", damaged, "")

    exception = outcome(answered(row, status="exception")[0]).exception

    assert type(exception) is RemoteExecutionError
    assert "unpickled here" in str(exception)


@pytest.mark.parametrize("row", [5, (), ("one", "two"), None])
def test_an_exception_that_was_written_by_a_stranger_is_unreadable(row):
    assert type(outcome(answered(row, status="exception")[0]).exception) is OutcomeLoadError


# Answers that cannot be read.


def test_nothing_is_unpickled_that_is_not_what_the_receipt_announces():
    UNPICKLED.clear()
    content, data = answered(Marks(), where="storage", digest="0" * 64)

    exception = outcome(content, fetch=lambda where: memoryview(data)).exception

    assert type(exception) is OutcomeLoadError
    assert "digest" in str(exception)
    assert not UNPICKLED
    content, data = answered(Marks(), where="storage")
    assert outcome(content, fetch=lambda where: memoryview(data)).exception is None
    assert UNPICKLED


def test_a_byte_changed_in_storage_is_refused_before_anything_is_unpickled():
    content, data = answered([Marks(), b"x" * 50], where="storage")
    UNPICKLED.clear()

    for position in range(len(data)):
        data[position] ^= 0x01
        assert type(outcome(content, fetch=lambda where: memoryview(data)).exception) is OutcomeLoadError
        data[position] ^= 0x01

    assert not UNPICKLED


def test_an_answer_of_another_python_is_a_version_mismatch():
    UNPICKLED.clear()
    content, _ = answered(Marks(), python="3.99")

    exception = outcome(content).exception

    assert type(exception) is VersionMismatchError
    assert "3.99" in str(exception)
    assert not UNPICKLED


def test_an_answer_that_is_not_in_storage_is_the_storages_error():
    content, _ = answered(1, where="storage")

    assert type(outcome(content).exception) is KeyNotFoundError


@pytest.mark.parametrize("error", [OSError("no network"), SystemExit(1), KeyboardInterrupt(), MemoryError()])
def test_whatever_fetching_raises_is_the_end_of_that_future(error):
    def fetch(where):
        raise error

    exception = outcome(answered(1, where="storage")[0], fetch=fetch).exception

    assert isinstance(exception, AscendError)
    assert exception.__cause__ is error


def test_a_value_that_does_not_unpickle_is_unreadable_and_names_the_reason():
    data = bytearray(b"".join(parts := wire.frame(b"no pickle at all", [], VERSIONS)))
    fields = {**RIGHT, "digest": wire.digest_of(parts[0])}

    exception = outcome(receipt(fields, wire.pack_inline([data]))).exception

    assert type(exception) is OutcomeLoadError
    assert isinstance(exception.__cause__, pickle.UnpicklingError)
    assert exception.task_id == TASK.id
    assert "score" in str(exception)


@pytest.mark.parametrize("body", [b"", b"no base64!", b"AAAA"])
def test_an_inline_answer_that_is_damaged_is_unreadable(body):
    assert type(outcome(receipt(RIGHT, body)).exception) is OutcomeLoadError


# Failures that the runner reports.


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("load", CallLoadError),
        ("version", VersionMismatchError),
        ("initializer", InitializerError),
        ("timeout", TaskTimeoutError),
        ("storage", StorageError),
        ("encode", SerializationError),
    ],
)
def test_a_failure_has_the_error_of_its_kind(kind, error):
    exception = outcome(receipt({"status": "failed", "kind": kind}, b"the \xff reason"), exit_code=64).exception

    assert type(exception) is error
    assert "the \ufffd reason" in str(exception)
    assert "score" in str(exception)
    if isinstance(exception, TaskError):
        assert exception.task_id == TASK.id


def test_a_kind_that_is_not_known_here_is_still_an_error():
    exception = outcome(receipt({"status": "failed", "kind": "newer"}, b"the reason"), exit_code=1).exception

    assert isinstance(exception, AscendError)
    assert "the reason" in str(exception)


@pytest.mark.parametrize("place", ["storage", "output"])
def test_it_is_fetched_from_where_the_receipt_says(place):
    content, data = answered(1, where=place)
    asked = []

    def fetch(where):
        asked.append(where)
        return memoryview(data)

    assert outcome(content, fetch=fetch).value == 1
    assert asked == [place]


@pytest.mark.parametrize(
    "lost", [lambda data: data[:-1], lambda data: bytearray(), lambda data: data[:-20] + data[-10:]]
)
def test_an_answer_of_which_lines_were_lost_says_so_and_that_storage_helps(lost):
    content, data = answered([Marks(), b"x" * 50], where="output")
    UNPICKLED.clear()

    exception = outcome(content, fetch=lambda where: memoryview(lost(data))).exception

    assert type(exception) is OutcomeLoadError
    assert exception.task_id == TASK.id
    for words in ("score", "lines of the output were lost", "rotates a log", "ASCEND_STORAGE="):
        assert words in str(exception)
    assert isinstance(exception.__cause__, wire.FormatError)
    assert not UNPICKLED


def test_an_answer_that_came_whole_and_does_not_unpickle_is_not_blamed_on_the_log():
    data = bytearray(b"".join(parts := wire.frame(b"no pickle at all", [], VERSIONS)))
    fields = {**RIGHT, "digest": wire.digest_of(parts[0]), "where": "output"}

    exception = outcome(receipt(fields), fetch=lambda where: memoryview(data)).exception

    assert type(exception) is OutcomeLoadError
    assert "lost" not in str(exception)


# Deaths: no receipt.


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        ({"exit_code": 3}, TaskCrashedError, "code 3"),
        ({"exit_code": 0}, TaskCrashedError, "code 0"),
        ({"exit_code": None, "signal": "SIGKILL"}, TaskCrashedError, "SIGKILL"),
        ({"exit_code": None, "signal": "SIGSEGV"}, TaskCrashedError, "SIGSEGV"),
        ({"exit_code": None, "signal": "SIGTERM"}, TaskCrashedError, "SIGTERM"),
        ({"exit_code": 137, "reason": "OOMKilled"}, OutOfMemoryError, "memory='1Gi'"),
        ({"exit_code": None, "signal": "SIGKILL", "reason": "DeadlineExceeded"}, TaskTimeoutError, "timed out"),
        ({"exit_code": None, "signal": "SIGKILL", "reason": "Deleted"}, TaskLostError, "deleted"),
        ({"exit_code": None, "reason": "UnexpectedAdmissionError"}, TaskLostError, "UnexpectedAdmissionError"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"the end of the log\n", b"\xff\xfe"])
def test_a_death_has_the_error_of_its_reason(status, error, words, content):
    exception = outcome(content, **status).exception

    assert type(exception) is error
    assert words in str(exception)
    assert "score" in str(exception)
    assert exception.task_id == TASK.id


# What Kubernetes says of a pod that never ran or was taken away: the type, what else it can be caught as, and words
# of what happened and of what to do.
ENDS = {
    "CreateContainerConfigError": (ContainerConfigError, TaskStartError, "cannot be made", "secrets and volumes"),
    "Deleted": (TaskLostError, TaskError, "deleted by somebody", ""),
    "Disrupted": (TaskDisruptedError, TaskError, "preempted, drained or evicted", "node_type"),
    "ErrImagePull": (ImagePullError, TaskStartError, "cannot be pulled", "base_image"),
    "Evicted": (TaskDisruptedError, TaskError, "was evicted", "disk space"),
    "ExceededQuota": (QuotaExceededError, TaskStartError, "quota", "raised"),
    "FailedCreate": (JobRefusedError, ClusterError, "refuses its pod", "job_patch"),
    "NodeLost": (TaskLostError, TaskError, "machine under it went away", "submit it again"),
    "PodDeleted": (TaskLostError, TaskError, "pod was deleted", "retries"),
    "StartError": (ContainerConfigError, TaskStartError, "cannot start", "base_image"),
    "QueueTimeout": (QueueTimeoutError, TimeoutError, "queue_timeout", "wait longer"),
    "Unreachable": (TaskLostError, TaskError, "could not be reached", ""),
    "Unschedulable": (UnschedulableError, QueueTimeoutError, "no node took it", "less cpu, memory or gpus"),
}


def test_every_reason_is_tried_here():
    assert set(ENDS) == set(_ENDS)


@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.parametrize("content", [b"", b"the end of the log\n"])
def test_an_end_that_is_not_of_the_process_says_what_happened_in_whose_words_and_what_to_do(reason, content):
    kind, caught_as, what, hint = ENDS[reason]

    exception = outcome(content, exit_code=None, reason=reason, message="0/3 nodes are there.").exception

    assert type(exception) is kind
    assert isinstance(exception, caught_as)
    assert exception.task_id == TASK.id
    assert "score (Job asc-run-1)" in str(exception)
    assert what in str(exception)
    assert ": 0/3 nodes are there" in str(exception)
    assert not str(exception).endswith((".", "; "))
    assert ".;" not in str(exception)
    assert str(exception).index(what) < str(exception).index("0/3") < str(exception).rindex(hint)


@pytest.mark.parametrize("reason", ENDS)
def test_without_words_of_the_cluster_the_sentence_is_whole(reason):
    exception = outcome(exit_code=None, signal="SIGKILL", reason=reason).exception

    assert type(exception) is ENDS[reason][0]
    assert ": ;" not in str(exception)
    assert not str(exception).endswith(":")


def test_an_answer_counts_whatever_became_of_the_pod():
    content, _ = answered(1)

    assert outcome(content, exit_code=None, reason="Evicted", message="low on memory").value == 1


def test_a_crash_tells_its_code_or_signal_and_the_last_lines():
    by_code = outcome(exit_code=3, lines=("one", "two")).exception
    by_signal = outcome(exit_code=None, signal="SIGABRT", lines=()).exception

    assert (by_code.exit_code, by_code.signal, by_code.last_lines) == (3, None, ("one", "two"))
    assert (by_signal.exit_code, by_signal.signal, by_signal.last_lines) == (None, "SIGABRT", ())
    assert "one\n" in str(by_code)
    assert "it wrote nothing" in str(by_signal)


@pytest.mark.parametrize(
    "content",
    [
        b"ascend-receipt/1",
        b"ascend-receipt/1\n",
        b"ascend-receipt/1\n\n",
        b"ascend-receipt/1\nstatus",
        b"ascend-receipt/1\nno colon\n\n",
        b"ascend-receipt/1\nstatus: \xff\n\n",
        receipt({"status": "failed"}),
        *(receipt({name: value for name, value in RIGHT.items() if name != left_out}) for left_out in RIGHT),
        receipt({**RIGHT, "times": "no numbers"}),
        receipt({**RIGHT, "times": ""}),
        receipt({**RIGHT, "status": "strange"}),
    ],
)
def test_a_malformed_receipt_is_an_error_and_never_an_exception_of_ours(content):
    result = outcome(content, exit_code=1)

    assert isinstance(result.exception, AscendError)
    assert "score" in str(result.exception)


def test_every_call_makes_an_exception_of_its_own():
    first, second = outcome(exit_code=1).exception, outcome(exit_code=1).exception

    assert first is not second


def test_it_can_be_called_from_any_thread():
    content, _ = answered(1)
    values = []
    threads = [threading.Thread(target=lambda: values.append(outcome(content).value)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert values == [1] * 4
