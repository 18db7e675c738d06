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
``ASCEND_OUTCOME_LIMIT``  without such a place: the size of a packed outcome that may go into the output
``ASCEND_RECEIPT``        the file for the receipt: the container's termination message
``ASCEND_REQUIREMENTS``   what the image must have, a line each, if nobody has made sure
``ASCEND_LOCK_URL``       what is to be installed, if anything; `ascend._core.pod_install` knows the rest of it
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

from ascend._core import guard, wire
from ascend._core.pickling import LightCloudpickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["main"]

# What stands between the runner and the function says nothing to its author.
_OUR_FRAMES = {"ascend.runner", "ascend._core.decorator", "ascend._core.mapping"}


def main() -> None:
    """Run the task that the environment describes, then exit."""
    times = [time.time()]
    settings = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ASCEND_")}
    os.environ["ASCEND_TASK_ID"] = settings["ASCEND_TASK_ID"]
    _prepare_process()
    receipt = settings["ASCEND_RECEIPT"]
    # What the container reads, whatever the function makes of its standard output.
    output = os.dup(1) if "ASCEND_OUTCOME_LIMIT" in settings else 1
    try:
        guard.guard_client(settings)
        if "ASCEND_LOCK_URL" in settings:
            from ascend._core.pod_install import install  # noqa: PLC0415

            install(settings, _transport)
            times.append(time.time())
        _check_environment(settings)
        call, serializer = _load_call(settings)
        times.append(time.time())
        with guard.TimeGuard(settings, receipt):
            status, value = _run(call)
        times.append(time.time())
        _deliver(settings, _pack(status, value, serializer), times, output)
    except guard.Failure as failure:
        # The name of a file may hold what UTF-8 has no bytes for.
        message = failure.message.encode(errors="backslashreplace")
        wire.write_receipt(receipt, {"status": "failed", "kind": failure.kind}, message)
        if len(message) > wire.INLINE_OUTCOME:
            # The receipt holds the end of it only.
            sys.stderr.buffer.write(message + b"\n")
        guard.leave(failure.exit_code)
    guard.leave(0)


def _prepare_process() -> None:
    import faulthandler  # noqa: PLC0415 - here and below: what a task does not need it does not pay for

    faulthandler.enable()
    # A container's streams are read separately, and their lines would come in any order.
    os.dup2(1, 2)
    for stream in (sys.stdout, sys.stderr):
        # Whole lines, as soon as they are written, and both streams in one order.
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    if os.getpid() == 1:
        import signal  # noqa: PLC0415

        # The kernel has no default action for process 1 of a container.
        signal.signal(signal.SIGTERM, lambda *_: guard.flush_and_exit(143))


def _check_environment(settings: dict[str, str]) -> None:
    if "ASCEND_REQUIREMENTS" not in settings:
        return
    from ascend._core.requirements import unmet  # noqa: PLC0415

    problems = unmet(settings["ASCEND_REQUIREMENTS"].splitlines())
    if problems:
        raise guard.Failure("environment", wire.EXIT_ENVIRONMENT, "; ".join(problems))


def _load_call(settings: dict[str, str]) -> tuple[list[Any], str]:
    """Return the call, as the only item of a list that `_run` empties, and the name of its serializer."""
    try:
        if "ASCEND_SOURCE_URL" in settings:
            sys.path.insert(0, _source(settings))
        if "ASCEND_CALL" in settings:
            data = wire.unpack_inline(settings["ASCEND_CALL"])
        else:
            data = memoryview(_transport(settings["ASCEND_CALL_URL"]).read(settings["ASCEND_CALL_URL"]))
        fields, parts = wire.check(data, settings["ASCEND_CALL_DIGEST"])
    except wire.FormatError as exc:
        raise guard.Failure("load", wire.EXIT_LOAD, str(exc)) from exc
    except OSError as exc:
        raise guard.Failure("storage", wire.EXIT_STORAGE, f"the call could not be fetched: {exc}") from exc
    if fields["python"] != wire.python_minor():
        message = f"the call was pickled by Python {fields['python']}, and this is Python {wire.python_minor()}"
        raise guard.Failure("version", wire.EXIT_LOAD, message)
    serializer = _serializer(fields["serializer"], fields["cloudpickle"])
    try:
        return [serializer.loads(parts[0], buffers=parts[1:])], fields["serializer"]
    except BaseException as exc:  # unpickling runs whatever the classes of the arguments like
        raise guard.Failure("load", wire.EXIT_LOAD, _traceback(exc)) from exc


def _source(settings: dict[str, str]) -> str:
    url = settings["ASCEND_SOURCE_URL"]
    transport = _transport(url)
    from ascend._core.transport import unpack_source  # noqa: PLC0415

    return unpack_source(transport, url, settings["ASCEND_SOURCE_DIR"], settings["ASCEND_SOURCE_DIGEST"])


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
        raise guard.Failure("initializer", wire.EXIT_INITIALIZER, _traceback(exc)) from exc


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
    while exc.__traceback__ and exc.__traceback__.tb_frame.f_globals.get("__name__") in _OUR_FRAMES:
        exc.__traceback__ = exc.__traceback__.tb_next
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


def _deliver(
    settings: dict[str, str], outcome: tuple[str, list[bytes | memoryview]], times: list[float], output: int
) -> None:
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
        wire.write_receipt(receipt, {**fields, "where": "inline"}, inline)
        return
    if "ASCEND_OUTCOME_URL" not in settings:
        _print_outcome(output, parts, size, int(settings.get("ASCEND_OUTCOME_LIMIT", "0")))
        wire.write_receipt(receipt, {**fields, "where": "output"}, b"")
        return
    url = settings["ASCEND_OUTCOME_URL"]
    try:
        _transport(url).write(url, parts)
    except OSError as exc:
        raise guard.Failure("storage", wire.EXIT_STORAGE, f"the answer could not be stored: {exc}") from exc
    wire.write_receipt(receipt, {**fields, "where": "storage"}, b"")


def _print_outcome(output: int, parts: list[bytes | memoryview], size: int, limit: int) -> None:
    """Write the outcome between the lines of the output, from which the client takes it out again."""
    # What does not compress to a tenth is not worth the try.
    packed = wire.pack_inline(parts) if size <= 10 * limit else b""
    if not packed or len(packed) > limit:
        message = (
            f"the answer has {size:,} bytes, more than fit into the output of a task, and there is no storage for it: "
            "set storage, as in ASCEND_STORAGE=s3://bucket/prefix"
        )
        raise guard.Failure("encode", wire.EXIT_ENCODE, message)
    guard.flush()
    try:
        # Somebody who shares it may have made it one that refuses what does not fit at once.
        os.set_blocking(output, True)
        with open(output, "wb", closefd=False) as file:
            for line in wire.output_lines(packed):
                file.write(line)
                file.flush()
    except OSError as exc:
        message = f"it could not be written to the output: {exc}"
        raise guard.Failure("encode", wire.EXIT_ENCODE, message) from exc


def _versions(serializer: str) -> dict[str, str]:
    import ascend  # noqa: PLC0415

    cloudpickle = sys.modules.get("cloudpickle")
    return {
        "serializer": serializer,
        "python": wire.python_minor(),
        "cloudpickle": getattr(cloudpickle, "__version__", "unused"),
        "ascend": ascend.__version__,
    }


def _serializer(name: str, cloudpickle: str = "") -> Any:
    if name == "cloudpickle":
        return LightCloudpickle(cloudpickle)
    from ascend._core.transport import entry_point  # noqa: PLC0415

    try:
        return entry_point("ascend.serializers", name)
    except LookupError as exc:
        raise guard.Failure("load", wire.EXIT_LOAD, str(exc)) from exc


def _transport(url: str) -> Any:
    from ascend._core.transport import transport_of  # noqa: PLC0415

    try:
        return transport_of(url)
    except LookupError as exc:
        raise guard.Failure("load", wire.EXIT_LOAD, str(exc)) from exc


def _traceback(exc: BaseException) -> str:
    import traceback  # noqa: PLC0415

    return "".join(traceback.format_exception(exc))
