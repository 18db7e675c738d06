"""The program in the pod: reads a call, makes it, delivers the outcome, writes the receipt.

Standard library and cloudpickle only: it starts from an archive on a bare Python of the client's minor version.
What it is told comes in environment variables:

========================  ==========================================================================
``ASCEND_TASK_ID``        the task; also what tells a decorated function that it is inside one
``ASCEND_CALL``           the packed call itself, if it is small
``ASCEND_CALL_URL``       where the call lies otherwise
``ASCEND_CALL_DIGEST``    the digest of its bundle, checked before anything is unpickled
``ASCEND_SOURCE_URL``     where the project's source archive lies, if there is any
``ASCEND_SOURCE_DIGEST``  the SHA-256 of that archive
``ASCEND_SOURCE_DIR``     the folder below which it is unpacked
``ASCEND_OUTCOME_URL``    where an outcome goes that does not fit into the receipt
``ASCEND_RECEIPT``        the file for the receipt: the container's termination message
``ASCEND_TASK_TIMEOUT``   how many seconds the function may run
``ASCEND_LIFELINE``       ``stdin`` if the end of standard input means that the client is gone
``ASCEND_CLIENT_DIR``     what to remove in that case
========================  ==========================================================================

It exits with 0 when an outcome was delivered, an exception of the function included: that is an answer, and no
failure of the pod. The other codes are in `ascend._core.wire`.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import allocate_lock, get_ident, start_new_thread

from ascend._core import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

__all__ = ["main"]

_CLIENT_CHECK = 2.0
_EXIT_GRACE = 10.0


class _Failure(Exception):  # noqa: N818 - it becomes a receipt, nobody catches it as an error
    """The runner cannot go on; *kind* tells the client which error to raise."""

    def __init__(self, kind: str, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code
        self.message = message


def main() -> None:
    """Run the task that the environment describes, then exit."""
    times = [time.time()]
    settings = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ASCEND_")}
    os.environ["ASCEND_TASK_ID"] = settings["ASCEND_TASK_ID"]
    _prepare_process()
    receipt = settings["ASCEND_RECEIPT"]
    try:
        _guard_client(settings)
        call, serializer = _load_call(settings)
        times.append(time.time())
        with _TimeGuard(settings, receipt):
            status, value = _run(call)
        times.append(time.time())
        _deliver(settings, _pack(status, value, serializer), times)
    except _Failure as failure:
        # The name of a file may hold what UTF-8 has no bytes for.
        message = failure.message.encode(errors="backslashreplace")
        _write_receipt(receipt, {"status": "failed", "kind": failure.kind}, message)
        if len(message) > wire.INLINE_OUTCOME:
            # The receipt holds the end of it only.
            sys.stderr.buffer.write(message + b"\n")
        _leave(failure.exit_code)
    _leave(0)


def _prepare_process() -> None:
    import faulthandler  # noqa: PLC0415 - here and below: what a task does not need it does not pay for

    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        # Whole lines, as soon as they are written, and both streams in one order.
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    if os.getpid() == 1:
        import signal  # noqa: PLC0415

        # The kernel has no default action for process 1 of a container.
        signal.signal(signal.SIGTERM, lambda *_: _flush_and_exit(143))


def _guard_client(settings: dict[str, str]) -> None:
    if settings.get("ASCEND_LIFELINE") != "stdin":
        return
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    start_new_thread(_watch_client, (lifeline, settings))


def _watch_client(lifeline: int, settings: dict[str, str]) -> None:
    parent = os.getppid()
    if os.name == "posix":
        import select  # noqa: PLC0415

        # A forked sibling of ours may hold the other end open: a new parent tells as well.
        while os.getppid() == parent and not select.select([lifeline], [], [], _CLIENT_CHECK)[0]:
            pass
    else:
        os.read(lifeline, 1)
    if "ASCEND_CLIENT_DIR" in settings:
        import shutil  # noqa: PLC0415

        # Nobody is left to tell, and the other tasks of the run do the same.
        shutil.rmtree(settings["ASCEND_CLIENT_DIR"], ignore_errors=True)
    _kill_escaped(f"ASCEND_TASK_ID={settings['ASCEND_TASK_ID']}".encode())
    if os.name == "posix":
        os.killpg(os.getpgrp(), 9)
    os._exit(1)


def _kill_escaped(variable: bytes) -> None:
    """Kill what the task started and what left its process group, told by its environment."""
    if sys.platform != "linux":
        return
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if name.isdigit() and int(name) != os.getpid() and variable in file.read().split(b"\0"):
                    os.kill(int(name), 9)
        except OSError:
            # It is not a process, not ours, or gone.
            continue


class _TimeGuard:
    """Ends the process when the function runs too long; says where it was."""

    def __init__(self, settings: dict[str, str], receipt: str) -> None:
        self._timeout = float(settings.get("ASCEND_TASK_TIMEOUT", "0"))
        self._receipt = receipt
        self._running = allocate_lock()
        self._thread = get_ident()

    def __enter__(self) -> None:
        self._running.acquire()
        if self._timeout:
            start_new_thread(self._watch, ())

    def __exit__(self, *_: object) -> None:
        self._running.release()

    def _watch(self) -> None:
        if self._running.acquire(timeout=self._timeout):
            self._running.release()
            return
        import traceback  # noqa: PLC0415

        sys.stderr.write(f"ascend: stopped after {self._timeout:g} s; this is where it was:\n")
        traceback.print_stack(sys._current_frames()[self._thread])  # noqa: SLF001 - documented, for debuggers
        message = f"it ran longer than {self._timeout:g} s"
        _write_receipt(self._receipt, {"status": "failed", "kind": "timeout"}, message.encode())
        _flush_and_exit(wire.EXIT_TIMEOUT)


def _load_call(settings: dict[str, str]) -> tuple[list[Any], str]:
    """Return the call, as the only item of a list that `_run` empties, and the name of its serializer."""
    try:
        if "ASCEND_SOURCE_URL" in settings:
            sys.path.insert(0, _unpack_source(settings))
        if "ASCEND_CALL" in settings:
            data = wire.unpack_inline(settings["ASCEND_CALL"])
        else:
            data = memoryview(_transport(settings["ASCEND_CALL_URL"]).read(settings["ASCEND_CALL_URL"]))
        fields, parts = wire.check(data, settings["ASCEND_CALL_DIGEST"])
    except wire.FormatError as exc:
        raise _Failure("load", wire.EXIT_LOAD, str(exc)) from exc
    except OSError as exc:
        raise _Failure("storage", wire.EXIT_STORAGE, f"the call could not be fetched: {exc}") from exc
    if fields["python"] != wire.python_minor():
        message = f"the call was pickled by Python {fields['python']}, and this is Python {wire.python_minor()}"
        raise _Failure("version", wire.EXIT_LOAD, message)
    serializer = _serializer(fields["serializer"])
    try:
        return [serializer.loads(parts[0], buffers=parts[1:])], fields["serializer"]
    except BaseException as exc:  # unpickling runs whatever the classes of the arguments like
        raise _Failure("load", wire.EXIT_LOAD, _traceback(exc)) from exc


def _unpack_source(settings: dict[str, str]) -> str:
    digest = settings["ASCEND_SOURCE_DIGEST"]
    target = os.path.join(settings["ASCEND_SOURCE_DIR"], digest)
    if os.path.isdir(target):
        return target
    import hashlib  # noqa: PLC0415
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    url = settings["ASCEND_SOURCE_URL"]
    data = _transport(url).read(url)
    if hashlib.sha256(data).hexdigest() != digest:
        msg = "the source archive is not the one that was announced: its digest differs"
        raise wire.FormatError(msg)
    partial = f"{target}.{os.getpid()}"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(partial)
    try:
        os.rename(partial, target)
    except OSError:
        # Another task of the run was faster; its copy is the same.
        if not os.path.isdir(target):
            raise
        import shutil  # noqa: PLC0415

        shutil.rmtree(partial)
    return target


def _run(call: list[Any]) -> tuple[str, Any]:
    """Make the call; return whether it returned a value or raised, and what."""
    initializer, function, args, kwargs = call.pop()
    if initializer is not None:
        _initialize(*initializer)
    try:
        value = function(*args, **kwargs)
        if hasattr(value, "__await__") and type(value).__name__ == "coroutine":
            import asyncio  # noqa: PLC0415

            value = asyncio.run(value)
    except BaseException as exc:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are answers like any other
        return "exception", exc
    return "value", value


def _initialize(initializer: Callable[..., object], initargs: tuple[Any, ...]) -> None:
    try:
        initializer(*initargs)
    except BaseException as exc:  # whatever it raises, the task cannot go on without it
        raise _Failure("initializer", wire.EXIT_INITIALIZER, _traceback(exc)) from exc


def _pack(status: str, value: Any, serializer: str) -> tuple[str, list[bytes | memoryview]]:
    dumps = _serializer(serializer).dumps
    buffers: list[Any] = []
    payload = None
    if status == "value":
        try:
            payload = dumps(value, buffer_callback=buffers.append)
        except BaseException as exc:  # noqa: BLE001 - a __reduce__ raises anything, and then that is the answer
            exc.add_note(f"while pickling the result, a {type(value).__module__}.{type(value).__qualname__}")
            status, value = "exception", exc
            buffers.clear()
    if payload is None:
        payload = dumps(_describe_exception(dumps, value), buffer_callback=None)
    return status, wire.frame(payload, [buffer.raw() for buffer in buffers], _versions(serializer))


def _describe_exception(dumps: Any, exc: BaseException) -> tuple[str, str, str, bytes | None, str]:
    """Return what the client needs to raise *exc* again: its text always, and its pickle if it has one."""
    # The first frame is the runner's own.
    exc.__traceback__ = exc.__traceback__ and exc.__traceback__.tb_next
    cls = type(exc)
    try:
        message = str(exc)
    except BaseException:  # noqa: BLE001 - a __str__ raises anything; the traceback says so
        message = ""
    pickled, reason = None, ""
    for chain in (True, False):
        try:
            pickled = dumps(wire.flatten_exception(exc, chain=chain), buffer_callback=None)
            break
        except BaseException as failure:  # noqa: BLE001 - its attributes may be anything; the text remains
            reason = f"{type(failure).__name__}: {failure}"
    return (f"{cls.__module__}.{cls.__qualname__}", message, _traceback(exc), pickled, reason)


def _deliver(settings: dict[str, str], outcome: tuple[str, list[bytes | memoryview]], times: list[float]) -> None:
    status, parts = outcome
    size = sum(len(part) for part in parts)
    fields = {
        "status": status,
        "digest": wire.digest_of(parts[0]),
        "size": str(size),
        "times": ",".join(f"{moment:.4f}" for moment in times),
    }
    receipt = settings["ASCEND_RECEIPT"]
    inline = wire.pack_inline(parts) if size <= 8 * wire.INLINE_OUTCOME else b""
    if inline and len(inline) <= wire.INLINE_OUTCOME:
        _write_receipt(receipt, {**fields, "where": "inline"}, inline)
        return
    url = settings.get("ASCEND_OUTCOME_URL")
    if url is None:
        message = (
            f"the answer has {size:,} bytes and this task has no storage: set storage, as in ASCEND_STORAGE=s3://…"
        )
        raise _Failure("encode", wire.EXIT_ENCODE, message)
    try:
        _transport(url).write(url, parts)
    except OSError as exc:
        raise _Failure("storage", wire.EXIT_STORAGE, f"the answer could not be stored: {exc}") from exc
    _write_receipt(receipt, {**fields, "where": "storage"}, b"")


def _write_receipt(path: str, fields: dict[str, str], body: bytes) -> None:
    head = wire.write_head(wire.RECEIPT, fields)
    if fields["status"] == "failed":
        # The end of a traceback says more than its beginning.
        body = body[-(wire.RECEIPT_LIMIT - len(head)) :]
    with open(path, "wb") as file:
        file.write(head + body)


def _versions(serializer: str) -> dict[str, str]:
    import ascend  # noqa: PLC0415

    cloudpickle = sys.modules.get("cloudpickle")
    return {
        "serializer": serializer,
        "python": wire.python_minor(),
        "cloudpickle": getattr(cloudpickle, "__version__", "unused"),
        "ascend": ascend.__version__,
    }


class _FileTransport:
    """Reads and writes ``file://`` URLs."""

    @staticmethod
    def read(url: str) -> bytearray:
        with open(_path_of(url), "rb", buffering=0) as file:
            data = bytearray(os.fstat(file.fileno()).st_size)
            view = memoryview(data)
            while view and (count := file.readinto(view)):
                view = view[count:]
        if view:
            msg = f"the file became shorter while it was read: {url}"
            raise OSError(msg)
        return data

    @staticmethod
    def write(url: str, buffers: Sequence[bytes | memoryview]) -> None:
        path = _path_of(url)
        partial = f"{path}.{os.getpid()}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(partial, "wb", buffering=0) as file:
            for buffer in buffers:
                view = memoryview(buffer)
                while view:
                    view = view[file.write(view) :]
        os.replace(partial, path)


class _HttpTransport:
    """Reads and writes signed ``http://`` and ``https://`` URLs."""

    @staticmethod
    def read(url: str) -> bytearray:
        from http.client import HTTPException  # noqa: PLC0415
        from urllib.request import urlopen  # noqa: PLC0415

        try:
            with urlopen(url, timeout=60) as response:
                if "Content-Length" not in response.headers:
                    return bytearray(response.read())
                data = bytearray(int(response.headers["Content-Length"]))
                view = memoryview(data)
                while view and (count := response.readinto(view)):
                    view = view[count:]
        except HTTPException as exc:
            raise OSError(repr(exc)) from exc
        if view:
            msg = f"the connection broke off {len(view):,} bytes before the end"
            raise OSError(msg)
        return data

    @staticmethod
    def write(url: str, buffers: Sequence[Any]) -> None:
        from http.client import HTTPException  # noqa: PLC0415
        from urllib.request import Request, urlopen  # noqa: PLC0415

        length = str(sum(len(buffer) for buffer in buffers))
        headers = {
            "Content-Length": length,
            "Content-Type": "application/octet-stream",
            # Azure refuses a PUT without it; the others ignore it.
            "x-ms-blob-type": "BlockBlob",
        }
        request = Request(url, data=iter(buffers), method="PUT", headers=headers)
        try:
            with urlopen(request, timeout=600):
                pass
        except HTTPException as exc:
            raise OSError(repr(exc)) from exc


def _path_of(url: str) -> str:
    from urllib.parse import unquote  # noqa: PLC0415

    path = unquote(url.removeprefix("file://"))
    # file:///C:/folder is how Windows writes it.
    return path[1:] if os.name == "nt" else path


def _transport(url: str) -> Any:
    scheme = url.split(":", 1)[0]
    if scheme == "file":
        return _FileTransport
    if scheme in {"http", "https"}:
        return _HttpTransport
    return _entry_point("ascend.transports", scheme)


class _Cloudpickle:
    """The built-in serializer: plain pickle where that is enough, since importing cloudpickle takes longer."""

    @staticmethod
    def loads(data: Any, buffers: Sequence[Any]) -> Any:
        import pickle  # noqa: PLC0415

        return pickle.loads(data, buffers=buffers)

    @staticmethod
    def dumps(value: Any, buffer_callback: Any) -> bytes:
        import pickle  # noqa: PLC0415

        buffers: list[Any] = []
        try:
            data = pickle.dumps(value, 5, buffer_callback=buffer_callback and buffers.append)
        except Exception:  # noqa: BLE001 - any failure of plain pickle is cloudpickle's turn, which raises its own
            import cloudpickle  # noqa: PLC0415

            buffers.clear()
            data = cloudpickle.dumps(value, 5, buffer_callback=buffer_callback and buffers.append)
        for buffer in buffers:
            buffer_callback(buffer)
        return data


def _serializer(name: str) -> Any:
    return _Cloudpickle if name == "cloudpickle" else _entry_point("ascend.serializers", name)


def _entry_point(group: str, name: str) -> Any:
    from importlib.metadata import entry_points  # noqa: PLC0415

    for entry_point in entry_points(group=group, name=name):
        return entry_point.load()
    message = (
        f"nothing installed here serves {name!r} in the entry point group {group!r}: "
        "add the plugin that does to the task's requirements or to its image"
    )
    raise _Failure("load", wire.EXIT_LOAD, message)


def _traceback(exc: BaseException) -> str:
    import traceback  # noqa: PLC0415

    return "".join(traceback.format_exception(exc))


def _leave(code: int) -> NoReturn:
    """End the process in good order, but do not wait for what the function left running."""
    start_new_thread(_exit_after, (_EXIT_GRACE, code))
    threading = sys.modules.get("threading")
    if threading is not None and any(not thread.daemon for thread in threading.enumerate()[1:]):
        import atexit  # noqa: PLC0415

        atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter would do, but for waiting for those threads
        _flush_and_exit(code)
    sys.exit(code)


def _exit_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    os._exit(code)


def _flush_and_exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if "ctypes" in sys.modules and os.name == "posix":
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).fflush(None)
    os._exit(code)
