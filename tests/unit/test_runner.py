"""The runner as a pod starts it: out of its archive, by a Python that has nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import io
import marshal
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from uuid import uuid4

import cloudpickle
import pytest

from ascend._core import wire
from ascend._core.manifest import BOOT
from ascend._core.runner_archive import runner_archive

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")

# The runner has no way to this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

PATIENCE = 60


class Ended(NamedTuple):
    code: int
    output: str
    receipt: bytes

    @property
    def fields(self):
        assert self.receipt, self
        return wire.read_head(wire.RECEIPT, self.receipt)[0]

    @property
    def body(self):
        return self.receipt[wire.read_head(wire.RECEIPT, self.receipt)[1] :]

    @property
    def failure(self):
        """The kind of the failure that the receipt tells, the exit code, and the message."""
        assert self.fields["status"] == "failed", self
        return self.fields["kind"], self.code, self.body.decode(errors="replace")

    @property
    def value(self):
        assert (self.code, self.fields["status"], self.fields["where"]) == (0, "value", "inline"), self
        return load(wire.unpack_inline(self.body), self.fields["digest"])


def load(data, digest):
    _, parts = wire.check(memoryview(data), digest)
    return pickle.loads(parts[0], buffers=parts[1:])


def bundle(function, *args, initializer=None, dumps=cloudpickle.dumps, **versions):
    buffers = []
    payload = dumps((initializer, function, args, {}), protocol=5, buffer_callback=buffers.append)
    known = {"serializer": "cloudpickle", "python": wire.python_minor(), "cloudpickle": "any", "ascend": "any"}
    return wire.frame(payload, [buffer.raw() for buffer in buffers], known | versions)


class Pod:
    """A folder for the receipt, and the runner's archive beside it."""

    def __init__(self, archive, folder):
        self.folder = folder
        self.receipt = folder / "receipt"
        # A task that is stopped takes all processes with it that have its number in their environment.
        self.task = f"run-{uuid4().hex}"
        self._archive = archive

    def environ(self, parts, **more):
        variables = {
            "ASCEND_TASK_ID": self.task,
            "ASCEND_RECEIPT": str(self.receipt),
            "ASCEND_CALL": wire.pack_inline(parts).decode(),
            "ASCEND_CALL_DIGEST": wire.digest_of(parts[0]),
        }
        if sys.platform == "win32":
            variables["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        return {name: value for name, value in (variables | more).items() if value is not None}

    def start(self, parts, *, flags=("-I", "-S"), **more):
        return subprocess.Popen(
            [sys.executable, *flags, "-c", BOOT, str(self._archive)],
            env=self.environ(parts, **more),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def end(self, process):
        output, _ = process.communicate(timeout=PATIENCE)
        receipt = self.receipt.read_bytes() if self.receipt.exists() else b""
        return Ended(process.returncode, output.decode(), receipt)

    def run(self, parts, **more):
        return self.end(self.start(parts, **more))

    def store(self, name, parts):
        path = self.folder / name
        path.write_bytes(b"".join(parts))
        return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "runner.zip"
    path.write_bytes(runner_archive())
    return path


@pytest.fixture
def pod(archive, tmp_path):
    (tmp_path / "pod").mkdir()
    return Pod(archive, tmp_path / "pod")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.together is not None:
            self.server.together.wait(PATIENCE)
        content = self.server.content.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + self.server.missing))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self):
        self.server.headers = self.headers
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/refused"):
            self.send_error(403)
            return
        self.server.content[self.path] = content
        self.send_response(201)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.content, server.headers, server.together, server.missing = {}, None, None, 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


# What starts it, and what it loads.


def test_it_needs_nothing_installed(pod):
    offset = 3
    assert pod.run(bundle(lambda x: x + offset, 4)).value == 7


def modules_after(function):
    code = "import sys; result = sorted(sys.modules)"
    return (
        bundle(eval, f"(exec({code!r}, space := {{}}), space['result'])[1]") if function is None else bundle(function)
    )


def test_a_call_by_reference_loads_little_of_the_standard_library_and_nothing_else(pod):
    loaded = pod.run(modules_after(None)).value
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert foreign == {"ascend", "__main__"}
    assert [name for name in loaded if name.startswith("ascend")] == [
        "ascend",
        "ascend._core",
        "ascend._core.bytecode",
        "ascend._core.guard",
        "ascend._core.pickling",
        "ascend._core.wire",
        "ascend.runner",
    ]
    slow = {"asyncio", "dataclasses", "inspect", "json", "logging", "multiprocessing", "pathlib", "subprocess"}
    slow |= {"tempfile", "threading", "traceback", "typing", "urllib.request", "zipfile", "importlib.metadata"}
    assert slow.isdisjoint(loaded)


def test_a_call_by_value_finds_cloudpickle_in_the_archive(pod, archive):
    def where():
        return sys.modules["cloudpickle"].__file__

    assert pod.run(bundle(where)).value.startswith(str(archive))


def test_the_archive_is_the_same_every_time_and_names_no_folder_of_this_machine():
    runner_archive.cache_clear()
    first = runner_archive()
    runner_archive.cache_clear()
    assert runner_archive() == first
    assert str(Path(wire.__file__).parent).encode() not in first


def test_the_archive_leaves_the_clients_side_at_home():
    names = zipfile.ZipFile(io.BytesIO(runner_archive())).namelist()
    assert {name.split("/")[0] for name in names} == {"ascend", "cloudpickle", "packaging"}
    assert not [name for name in names if name.startswith(("ascend/cli", "ascend/testing"))]


def test_the_function_sees_its_own_variables_and_of_ours_only_the_task(pod):
    def variables():
        return {name: value for name, value in os.environ.items() if name.startswith(("ASCEND_", "MY_"))}

    assert pod.run(bundle(variables), MY_OWN="x").value == {"ASCEND_TASK_ID": pod.task, "MY_OWN": "x"}


def test_a_coroutine_is_awaited(pod):
    async def answer():
        import asyncio

        await asyncio.sleep(0)
        return 42

    assert pod.run(bundle(answer)).value == 42


def test_the_initializer_runs_before_the_call(pod):
    def prepare(value):
        os.environ["MY_PREPARED"] = value

    assert pod.run(bundle(os.getenv, "MY_PREPARED", initializer=(prepare, ("yes",)))).value == "yes"


def test_an_exception_of_the_function_is_an_answer_and_no_failure(pod):
    ended = pod.run(bundle(int, "x"))
    assert (ended.code, ended.fields["status"]) == (0, "exception")


def test_the_receipt_tells_when_loading_running_and_returning_began(pod):
    times = [float(each) for each in pod.run(bundle(abs, -1)).fields["times"].split(",")]
    assert len(times) == 3
    assert times == sorted(times)


# What is checked before anything is unpickled.


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_call_of_another_python_is_refused_before_it_is_unpickled(pod):
    trap = pod.folder / "sprung"
    kind, code, message = pod.run(bundle(abs, Trap(trap), python="3.2")).failure
    assert (kind, code) == ("version", wire.EXIT_LOAD)
    assert "Python 3.2" in message
    assert f"Python {wire.python_minor()}" in message
    assert not trap.exists()


@pytest.mark.parametrize(
    "requirement", ["not-there-at-all>=1", "pytest==0.0.1", "pytest[testing]<1 ; python_version > '3'"]
)
def test_what_the_image_lacks_is_said_before_the_call_is_unpickled(pod, requirement):
    trap = pod.folder / "sprung"
    ended = pod.end(pod.start(bundle(abs, Trap(trap)), flags=("-s",), ASCEND_REQUIREMENTS=f"pytest\n{requirement}"))
    kind, code, message = ended.failure
    assert (kind, code) == ("environment", wire.EXIT_ENVIRONMENT)
    assert message.startswith(f"{requirement} is asked for, and ")
    assert not trap.exists()


def test_what_the_image_has_is_enough(pod):
    requirements = "pytest>=8\nPyTest\nnot-there ; python_version < '3'"
    ended = pod.end(pod.start(bundle(abs, -1), flags=("-s",), ASCEND_REQUIREMENTS=requirements))
    assert ended.value == 1


def test_who_has_neither_uv_nor_pip_is_told_what_to_do(pod, tmp_path):
    lock = pod.store("lock", [b"six==1.17.0 --hash=sha256:00\n"])
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    variables = {"ASCEND_LOCK_URL": lock.as_uri(), "ASCEND_LOCK_DIGEST": digest, "PATH": str(tmp_path)}
    kind, code, message = pod.run(bundle(abs, -1), ASCEND_SOURCE_DIR=str(tmp_path / "source"), **variables).failure
    assert (kind, code) == ("install", wire.EXIT_ENVIRONMENT)
    assert "set storage, as in ASCEND_STORAGE=s3://bucket/prefix, or take a base_image that has uv" in message


def test_another_lock_than_the_announced_one_is_not_installed(pod, tmp_path):
    lock = pod.store("lock", [b"six==1.17.0 --hash=sha256:00\n"])
    variables = {"ASCEND_LOCK_URL": lock.as_uri(), "ASCEND_LOCK_DIGEST": "0" * 64}
    ended = pod.run(bundle(abs, -1), ASCEND_SOURCE_DIR=str(tmp_path / "source"), **variables)
    kind, code, message = ended.failure
    assert (kind, code) == ("install", wire.EXIT_ENVIRONMENT)
    assert "lock is not the one that was announced" in message


def test_the_trap_of_these_tests_works(pod):
    trap = pod.folder / "sprung"
    pod.run(bundle(abs, Trap(trap)))
    assert trap.exists()


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_call_that_was_tampered_with_is_refused_before_it_is_unpickled(pod, where):
    trap = pod.folder / "sprung"
    head, payload, *rest = bundle(abs, Trap(trap))
    digest = wire.digest_of(head)
    if where == "head":
        head = head.replace(b"cloudpickle: any", b"cloudpickle: 3.1")
    else:
        rest.append(b"\0" * 16)
    ended = pod.run([head, payload, *rest], ASCEND_CALL_DIGEST=digest)
    kind, code, message = ended.failure
    assert (kind, code) == ("load", wire.EXIT_LOAD)
    assert "digest differs" in message or "the digest of its body differs" in message
    assert not trap.exists()


def test_what_is_no_bundle_is_refused(pod):
    kind, code, message = pod.run([b"hello world"]).failure
    assert (kind, code) == ("load", wire.EXIT_LOAD)
    assert "hello world" in message


def test_a_call_that_cannot_be_unpickled_shows_why(pod):
    kind, code, message = pod.run(bundle(abs, Missing())).failure
    assert (kind, code) == ("load", wire.EXIT_LOAD)
    assert "No module named 'not_installed_there'" in message


class Missing:
    def __reduce__(self):
        return __import__, ("not_installed_there",)


def test_an_initializer_that_fails_shows_why(pod):
    kind, code, message = pod.run(bundle(abs, -1, initializer=(int, ("seven",)))).failure
    assert (kind, code) == ("initializer", wire.EXIT_INITIALIZER)
    assert "invalid literal for int() with base 10: 'seven'" in message


# Receipts.


def complain(text):
    raise RuntimeError(text)


class Complaint:
    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return complain, (self.text,)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 100_000, id="long"),
        pytest.param("\n".join(f"line {n}" for n in range(10_000)), id="many lines"),
        pytest.param("ü漢🙂" * 30_000, id="unicode"),
        pytest.param("a name of a file \udcff", id="surrogate"),
    ],
)
@pytest.mark.parametrize("when", ["unpickling", "initializer"])
def test_a_failure_always_fits_into_the_receipt(pod, text, when):
    call = bundle(abs, Complaint(text)) if when == "unpickling" else bundle(abs, 1, initializer=(complain, (text,)))
    # The system has no room for so large a variable.
    path = pod.store("call", call)
    ended = pod.run(call, ASCEND_CALL=None, ASCEND_CALL_URL=path.as_uri())
    assert ended.failure[0] == {"unpickling": "load", "initializer": "initializer"}[when]
    assert len(ended.receipt) <= wire.RECEIPT_LIMIT
    assert text[-3:-1] in ended.failure[2] or "udcff" in ended.failure[2]


@pytest.mark.parametrize("length", [0, 1_000, 2_000, 2_100, 2_200, 2_250, 2_300, 5_000, 100_000])
def test_an_answer_fits_into_the_receipt_or_goes_to_storage(pod, length):
    content = os.urandom(length)
    target = pod.folder / "outcome"
    path = pod.store("call", call := bundle(bytes, content))
    ended = pod.run(call, ASCEND_CALL=None, ASCEND_CALL_URL=path.as_uri(), ASCEND_OUTCOME_URL=target.as_uri())
    assert len(ended.receipt) <= wire.RECEIPT_LIMIT
    if ended.fields["where"] == "inline":
        assert ended.value == content
        assert not target.exists()
    else:
        assert load(target.read_bytes(), ended.fields["digest"]) == content


@pytest.mark.parametrize("text", ["x" * 100_000, "ü漢🙂" * 30_000, "\udcff" * 5_000])
def test_an_exception_with_a_huge_message_goes_to_storage(pod, text):
    target = pod.folder / "outcome"
    path = pod.store("call", call := bundle(complain, text))
    ended = pod.run(call, ASCEND_CALL=None, ASCEND_CALL_URL=path.as_uri(), ASCEND_OUTCOME_URL=target.as_uri())
    assert (ended.code, ended.fields["status"], ended.fields["where"]) == (0, "exception", "storage")
    assert len(ended.receipt) <= wire.RECEIPT_LIMIT
    remote_type, message, traceback, pickled, _ = load(target.read_bytes(), ended.fields["digest"])
    assert (remote_type, message) == ("builtins.RuntimeError", text)
    assert "in complain" in traceback
    assert wire.restore_exception(pickle.loads(pickled)).args == (text,)


def test_a_large_answer_without_storage_says_what_to_set(pod):
    kind, code, message = pod.run(bundle(os.urandom, 10_000)).failure
    assert (kind, code) == ("encode", wire.EXIT_ENCODE)
    assert "ASCEND_STORAGE" in message


# An answer between the lines of the output.


def from_output(ended):
    """Return what the output brought, and the lines that are the function's own."""
    assert (ended.code, ended.fields["where"]) == (0, "output"), ended
    assert len(ended.receipt) <= wire.RECEIPT_LIMIT
    own, frames = wire.split_output(ended.output.removesuffix("\n").split("\n"))
    return load(wire.unpack_inline(wire.join_frames(frames)), ended.fields["digest"]), own


def test_an_answer_comes_between_the_lines_of_the_output_where_there_is_no_storage(pod):
    def call():
        print("a line")
        return os.urandom(100_000)

    ended = pod.run(bundle(call), ASCEND_OUTCOME_LIMIT="1000000")
    value, own = from_output(ended)
    assert ended.fields["status"] == "value"
    assert len(value) == 100_000
    assert own == ["a line"]


def test_an_exception_comes_between_the_lines_of_the_output_too(pod):
    def call():
        raise RuntimeError(os.urandom(50_000).hex())

    ended = pod.run(bundle(call), ASCEND_OUTCOME_LIMIT="1000000")
    (remote_type, message, traceback, pickled, _), own = from_output(ended)
    assert ended.fields["status"] == "exception"
    assert (remote_type, len(message)) == ("builtins.RuntimeError", 100_000)
    assert "in call" in traceback
    assert wire.restore_exception(pickle.loads(pickled)).args == (message,)
    assert own == []


def test_a_small_answer_stays_in_the_receipt(pod):
    ended = pod.run(bundle(abs, -1), ASCEND_OUTCOME_LIMIT="1000000")
    assert (ended.value, ended.output) == (1, "")


def test_what_storage_takes_is_not_in_the_output(pod):
    target = pod.folder / "outcome"
    variables = {"ASCEND_OUTCOME_URL": target.as_uri(), "ASCEND_OUTCOME_LIMIT": "1000000"}
    ended = pod.run(bundle(os.urandom, 10_000), **variables)
    assert (ended.fields["where"], ended.output) == ("storage", "")


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_an_answer_over_the_limit_of_the_output_is_refused_and_says_what_to_set(pod, size):
    ended = pod.run(bundle(os.urandom, size), ASCEND_OUTCOME_LIMIT="10000")
    kind, code, message = ended.failure
    assert (kind, code) == ("encode", wire.EXIT_ENCODE)
    assert "ASCEND_STORAGE=" in message
    assert re.search(f"the answer has {size // 1000:,},\\d\\d\\d bytes", message)
    assert ended.output == ""


def test_the_limit_is_that_of_the_packed_answer(pod):
    ended = pod.run(bundle(eval, "'some words ' * 10_000"), ASCEND_OUTCOME_LIMIT="20000")
    assert int(ended.fields["size"]) > 100_000
    assert from_output(ended)[0] == "some words " * 10_000


def unfinished():
    print("no end of line", end="")


def closed():
    print("a line")
    sys.stdout.close()


def redirected():
    print("a line")
    sys.stdout = io.StringIO()
    print("goes nowhere")


def removed():
    print("a line")
    sys.stdout = None


def descriptor():
    os.write(1, b"a line\n")


def closed_descriptor():
    os.write(1, b"a line\n")
    os.close(1)


def redirected_descriptor():
    print("a line")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def buffered_by_c():
    import ctypes

    print("a line")
    ctypes.CDLL(None).printf(b"and one of C\n")


def not_blocking():
    os.set_blocking(1, False)


@posix_only
@pytest.mark.parametrize(
    ("write", "lines"),
    [
        (unfinished, ["no end of line"]),
        (closed, ["a line"]),
        (redirected, ["a line"]),
        (removed, ["a line"]),
        (descriptor, ["a line"]),
        (closed_descriptor, ["a line"]),
        (redirected_descriptor, ["a line"]),
        (buffered_by_c, ["a line", "and one of C"]),
        (not_blocking, []),
    ],
)
def test_an_answer_comes_home_whatever_the_function_did_to_its_output(pod, write, lines):
    def call():
        write()
        return os.urandom(100_000)

    value, own = from_output(pod.run(bundle(call), ASCEND_OUTCOME_LIMIT="1000000"))
    assert len(value) == 100_000
    assert own == lines


@posix_only
def test_no_line_of_another_thread_gets_into_one_of_the_answer(pod):
    def call():
        def chatter():
            while True:
                os.write(1, b"chatter\n")

        for _ in range(2):
            threading.Thread(target=chatter, daemon=True).start()
        return os.urandom(5_000_000)

    value, own = from_output(pod.run(bundle(call), ASCEND_OUTCOME_LIMIT="10000000"))
    assert len(value) == 5_000_000
    assert set(own) == {"chatter"}


@posix_only
def test_an_output_that_was_closed_behind_its_back_is_a_failure_that_says_so(pod):
    def call():
        os.closerange(3, 100)
        return os.urandom(10_000)

    kind, code, message = pod.run(bundle(call), ASCEND_OUTCOME_LIMIT="1000000").failure
    assert (kind, code) == ("encode", wire.EXIT_ENCODE)
    assert "could not be written to the output" in message


def test_an_answer_that_cannot_be_pickled_is_an_exception_that_names_it(pod):
    def lock():
        return threading.Lock()

    ended = pod.run(bundle(lock))
    assert (ended.code, ended.fields["status"]) == (0, "exception")
    _, message, traceback, _, _ = load(wire.unpack_inline(ended.body), ended.fields["digest"])
    assert "cannot pickle '_thread.lock' object" in message
    assert "while pickling the result, a _thread.lock" in traceback


# Transports.


def test_files_may_have_any_name(pod):
    call = bundle(bytes, 10_000)
    path = pod.store("a käll 100%.bin", call)
    target = pod.folder / "the # antwort ü"
    ended = pod.run(call, ASCEND_CALL=None, ASCEND_CALL_URL=path.as_uri(), ASCEND_OUTCOME_URL=target.as_uri())
    # So many zeros are small enough.
    assert ended.value == bytes(10_000)
    call = bundle(os.urandom, 10_000)
    path = pod.store("a käll 100%.bin", call)
    ended = pod.run(call, ASCEND_CALL=None, ASCEND_CALL_URL=path.as_uri(), ASCEND_OUTCOME_URL=target.as_uri())
    assert len(load(target.read_bytes(), ended.fields["digest"])) == 10_000
    assert sorted(each.name for each in pod.folder.iterdir()) == [path.name, "receipt", target.name]


def test_a_call_that_is_not_there_is_a_storage_failure(pod):
    url = (pod.folder / "nothing").as_uri()
    kind, code, message = pod.run(bundle(abs, -1), ASCEND_CALL=None, ASCEND_CALL_URL=url).failure
    assert (kind, code) == ("storage", wire.EXIT_STORAGE)
    assert "nothing" in message


def test_an_answer_that_cannot_be_stored_is_a_storage_failure(pod):
    (pod.folder / "no folder").touch()
    (pod.folder / "a file").touch()
    url = (pod.folder / "a file" / "outcome").as_uri()
    kind, code, message = pod.run(bundle(os.urandom, 10_000), ASCEND_OUTCOME_URL=url).failure
    assert (kind, code) == ("storage", wire.EXIT_STORAGE)
    assert "a file" in message


def buffers(count, size):
    return [pickle.PickleBuffer(bytearray([number]) * size) for number in range(count)]


def test_call_and_answer_travel_over_http_with_their_buffers(pod, web):
    def change(*given):
        return [pickle.PickleBuffer(bytearray(each)[:-1]) for each in given]

    call = bundle(change, *buffers(3, 100_001))
    web.content["/call?signature=a%2Fb"] = b"".join(call)
    ended = pod.run(
        call,
        ASCEND_CALL=None,
        ASCEND_CALL_URL=f"{web.url}/call?signature=a%2Fb",
        ASCEND_OUTCOME_URL=f"{web.url}/outcome?signature=x",
    )
    answer = load(web.content["/outcome?signature=x"], ended.fields["digest"])
    assert [bytes(each) for each in answer] == [bytes([number]) * 100_000 for number in range(3)]
    assert "Transfer-Encoding" not in web.headers
    assert web.headers["x-ms-blob-type"] == "BlockBlob"


def test_http_errors_are_storage_failures(pod, web):
    kind, code, message = pod.run(bundle(abs, -1), ASCEND_CALL=None, ASCEND_CALL_URL=f"{web.url}/call").failure
    assert (kind, code) == ("storage", wire.EXIT_STORAGE)
    assert "404" in message
    ended = pod.run(bundle(os.urandom, 10_000), ASCEND_OUTCOME_URL=f"{web.url}/refused")
    assert ended.failure[:2] == ("storage", wire.EXIT_STORAGE)
    assert "403" in ended.failure[2]


def test_a_connection_that_breaks_off_is_a_storage_failure(pod, web):
    call = bundle(abs, -1)
    web.content["/call"] = b"".join(call)
    web.missing = 1000
    kind, code, _ = pod.run(call, ASCEND_CALL=None, ASCEND_CALL_URL=f"{web.url}/call").failure
    # Another attempt may help, so it must not count as a broken call.
    assert (kind, code) == ("storage", wire.EXIT_STORAGE)


ENTRY_POINTS = """\
[ascend.transports]
memo = memo_plugin:Transport
[ascend.serializers]
memo = memo_plugin:Serializer
"""

PLUGIN = """
import os, pickle

class Transport:
    @staticmethod
    def read(url):
        with open(os.path.join(os.environ["MEMO_FOLDER"], url.removeprefix("memo://")), "rb") as file:
            return bytearray(file.read())

    @staticmethod
    def write(url, buffers):
        with open(os.path.join(os.environ["MEMO_FOLDER"], url.removeprefix("memo://")), "wb") as file:
            file.writelines(buffers)

class Serializer:
    @staticmethod
    def loads(data, buffers):
        assert bytes(data).startswith(b"memo"), "the serializer of the client is asked for"
        return pickle.loads(data[4:])

    @staticmethod
    def dumps(value, buffer_callback):
        return b"memo" + pickle.dumps(value)
"""


@pytest.fixture
def plugin(pod):
    """Return what makes a plugin visible to a runner; it cannot be isolated then."""
    folder = pod.folder / "site"
    info = folder / "memo_plugin-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: memo-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "memo_plugin.py").write_text(PLUGIN)
    return {"flags": ("-S",), "PYTHONPATH": str(folder), "MEMO_FOLDER": str(pod.folder)}


def test_a_plugins_transport_is_found_by_its_scheme(pod, plugin):
    call = bundle(os.urandom, 10_000)
    pod.store("the-call", call)
    urls = {"ASCEND_CALL": None, "ASCEND_CALL_URL": "memo://the-call", "ASCEND_OUTCOME_URL": "memo://the-outcome"}
    ended = pod.run(call, **urls, **plugin)
    assert ended.fields["where"] == "storage"
    assert len(load((pod.folder / "the-outcome").read_bytes(), ended.fields["digest"])) == 10_000


def test_a_plugins_serializer_is_found_by_its_name_and_used_for_the_answer_too(pod, plugin):
    def dumps(row, **_):
        return b"memo" + pickle.dumps(row)

    ended = pod.run(bundle(abs, -1, dumps=dumps, serializer="memo"), **plugin)
    fields, parts = wire.check(wire.unpack_inline(ended.body), ended.fields["digest"])
    assert fields["serializer"] == "memo"
    assert pickle.loads(parts[0][4:]) == 1


@pytest.mark.parametrize(
    ("more", "group"),
    [
        ({"ASCEND_CALL": None, "ASCEND_CALL_URL": "memo://x"}, "ascend.transports"),
        ({"serializer": "memo"}, "ascend.serializers"),
    ],
)
def test_a_plugin_that_is_missing_in_the_pod_is_named(pod, more, group):
    call = bundle(abs, -1, serializer=more.pop("serializer", "cloudpickle"))
    kind, code, message = pod.run(call, **more).failure
    assert (kind, code) == ("load", wire.EXIT_LOAD)
    assert "'memo'" in message
    assert group in message
    assert "requirements" in message


# The project's source.

MODULE = """
import pathlib
VALUE = pathlib.Path(__file__).with_name("data.txt").read_text()
def read():
    return VALUE
"""


def source_archive():
    files = {"shipped/__init__.py": "", "shipped/reader.py": MODULE, "shipped/data.txt": "beside it"}
    return zlib.compress(marshal.dumps({name: text.encode() for name, text in files.items()}, 2))


class ByReference:
    """Pickles as the function of that name, which is not importable here."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __reduce__(self):
        return getattr, (Module(self.module), self.name)


class Module:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return _import, (self.name,)


def _import(name):
    import importlib

    return importlib.import_module(name)


@pytest.fixture
def source(pod):
    content = source_archive()
    (pod.folder / "source").write_bytes(content)
    (pod.folder / "unpacked").mkdir()
    return {
        "ASCEND_SOURCE_URL": (pod.folder / "source").as_uri(),
        "ASCEND_SOURCE_DIGEST": hashlib.sha256(content).hexdigest(),
        "ASCEND_SOURCE_DIR": str(pod.folder / "unpacked"),
    }


def test_source_is_unpacked_once_and_imported_by_reference(pod, source):
    call = bundle(ByReference("shipped.reader", "read"))
    assert pod.run(call, **source).value == "beside it"
    (pod.folder / "source").unlink()
    assert pod.run(call, **source).value == "beside it"


def test_source_may_be_unpacked_by_two_processes_at_once(archive, pod, source, web):
    web.content["/source"] = (pod.folder / "source").read_bytes()
    # Neither gets it before both have asked for it.
    web.together = threading.Barrier(2)
    pods = []
    for number in range(2):
        (pod.folder / str(number)).mkdir()
        pods.append(Pod(archive, pod.folder / str(number)))
    call = bundle(ByReference("shipped.reader", "read"))
    started = [pod.start(call, **source | {"ASCEND_SOURCE_URL": f"{web.url}/source"}) for pod in pods]
    assert [pod.end(each).value for pod, each in zip(pods, started, strict=True)] == ["beside it"] * 2
    assert [each.name for each in (pod.folder / "unpacked").iterdir()] == [source["ASCEND_SOURCE_DIGEST"]]


def test_another_source_than_announced_is_refused_before_it_is_unpacked(pod, source):
    call = bundle(ByReference("shipped.reader", "read"))
    kind, code, message = pod.run(call, **source | {"ASCEND_SOURCE_DIGEST": "0" * 64}).failure
    assert (kind, code) == ("load", wire.EXIT_LOAD)
    assert "source archive" in message
    assert list((pod.folder / "unpacked").iterdir()) == []


# What the function writes, and what it leaves running.


def test_standard_output_and_error_keep_their_order(pod):
    def write():
        for number in range(300):
            print("line", number, file=(sys.stdout, sys.stderr)[number % 2])
            if number % 100 == 0:
                subprocess.run(["echo", "of a process"], check=True)

    lines = pod.run(bundle(write)).output.splitlines()
    assert [line for line in lines if line != "of a process"] == [f"line {number}" for number in range(300)]
    assert [number for number, line in enumerate(lines) if line == "of a process"] == [1, 102, 203]


def print_from_c():
    import ctypes

    ctypes.CDLL(None).printf(b"of C\n")


@posix_only
@pytest.mark.parametrize("thread", [False, True])
def test_what_c_code_has_buffered_is_written_at_the_end(pod, thread):
    def call():
        print_from_c()
        if thread:
            threading.Thread(target=threading.Event().wait).start()

    assert pod.run(bundle(call)).output == "of C\n"


def test_a_thread_that_goes_on_does_not_hold_up_the_end_nor_the_exit_handlers(pod):
    def call():
        import atexit

        atexit.register(print, "the handler ran")
        threading.Thread(target=threading.Event().wait).start()
        return 1

    ended = pod.run(bundle(call))
    assert ended.value == 1
    # Had the runner waited for its last resort, no handler would have run.
    assert ended.output == "the handler ran\n"


def test_exit_handlers_run(pod):
    def call():
        import atexit

        atexit.register(print, "the handler ran")

    assert pod.run(bundle(call)).output == "the handler ran\n"


@posix_only
def test_a_process_that_goes_on_does_not_hold_up_the_end(pod):
    def call():
        return subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid

    child = pod.run(bundle(call)).value
    os.kill(child, signal.SIGKILL)


@posix_only
def test_a_worker_of_multiprocessing_does_not_hold_up_the_end(pod):
    def stuck():
        os.closerange(0, 3)
        threading.Event().wait()

    def call():
        import atexit

        # Handlers run in the opposite order: that of multiprocessing, which waits for its workers, runs before.
        atexit.register(print, "the handler ran")
        import multiprocessing

        worker = multiprocessing.get_context("fork").Process(target=stuck)
        worker.start()
        return worker.pid

    ended = pod.run(bundle(call))
    with contextlib.suppress(ProcessLookupError):
        os.kill(ended.value, signal.SIGKILL)
    assert ended.output == "the handler ran\n"


def test_standard_input_is_empty(pod):
    process = pod.start(bundle(eval, "print(repr(__import__('sys').stdin.read()))"), ASCEND_LIFELINE="stdin")
    # As long as the client lives, it holds the other end open.
    assert process.stdout.readline().strip() == b"''"
    assert process.wait(PATIENCE) == 0
    pod.end(process)


# How it is stopped.


@posix_only
def test_a_termination_signal_ends_it_without_a_receipt(pod):
    def call():
        print("begun")
        threading.Event().wait()

    process = pod.start(bundle(call))
    assert process.stdout.readline() == b"begun\n"
    process.terminate()
    ended = pod.end(process)
    assert (ended.code, ended.receipt) == (-signal.SIGTERM, b"")


def test_a_timeout_ends_it_with_a_receipt_and_says_where_it_was(pod):
    def stuck():
        threading.Event().wait()

    kind, code, message = (ended := pod.run(bundle(stuck), ASCEND_TASK_TIMEOUT="0.1")).failure
    assert (kind, code) == ("timeout", wire.EXIT_TIMEOUT)
    assert "0.1 s" in message
    assert "in stuck" in ended.output


def test_a_function_in_time_does_not_notice_its_timeout(pod):
    assert pod.run(bundle(abs, -1), ASCEND_TASK_TIMEOUT="1000").value == 1


@posix_only
def test_the_end_of_the_client_ends_the_task_with_all_its_processes(pod):
    def call():
        subprocess.Popen(["sleep", "1000"])
        print("begun")
        threading.Event().wait()

    folder = pod.folder / "of the run"
    folder.mkdir()
    (folder / "file").write_text("content")
    process = pod.start(bundle(call), ASCEND_LIFELINE="stdin", ASCEND_CLIENT_DIR=str(folder))
    assert process.stdout.readline() == b"begun\n"
    # Reads until the last process that holds the other end of its output is gone.
    ended = pod.end(process)
    assert ended.code == -signal.SIGKILL
    assert not folder.exists()


@posix_only
def test_a_crash_in_compiled_code_shows_the_python_line(pod):
    def crash():
        import ctypes

        ctypes.string_at(0)

    ended = pod.run(bundle(crash))
    assert (ended.code, ended.receipt) == (-signal.SIGSEGV, b"")
    assert "Segmentation fault" in ended.output
    assert "in crash" in ended.output


def test_a_quoted_url_is_what_pathlib_makes(pod):
    path = pod.store("a b+c.bin", call := bundle(abs, -1))
    url = "file://" + quote(path.as_posix())
    assert pod.run(call, ASCEND_CALL=None, ASCEND_CALL_URL=url).value == 1
