"""The format of what travels between client and pod; the same code on both sides, standard library only.

A bundle is a head of ``name: value`` lines, an empty line, and a body::

    ascend-bundle/1
    serializer: cloudpickle
    python: 3.12
    cloudpickle: 3.1.2
    ascend: 0.1.0
    sizes: 1204,80000000          the serialized value, then its out-of-band buffers (PEP 574)
    sha256: 9f2c…                 of the body
    <empty line>
    body                          each part begins at a multiple of 16

The digest of a bundle is the SHA-256 of its head, which holds that of the body. It reaches the other side by way of the
Kubernetes API, so whoever can write to the storage but not to the namespace cannot slip in a pickle. Nothing is
unpickled before head, versions and digests were checked.

A receipt, which fits the 4,096 bytes of a termination message, has the same kind of head, and a text or
a small packed bundle below it.
"""

from __future__ import annotations

import sys
from binascii import a2b_base64, b2a_base64
from zlib import compress, decompress
from zlib import error as zlib_error

# Everything that the runner imports is paid for by every task: no dataclasses, no json, no typing at run time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

BUNDLE = "ascend-bundle/1"
RECEIPT = "ascend-receipt/1"
RECEIPT_LIMIT = 4096
INLINE_OUTCOME = 3000
# No character at which str.splitlines would cut.
OUTPUT_MARK = "\x1fascend-outcome/1 "

EXIT_LOAD = 64
EXIT_ENVIRONMENT = 65
EXIT_TIMEOUT = 66
EXIT_ENCODE = 67
EXIT_INITIALIZER = 69
EXIT_STORAGE = 75

FINAL_EXIT_CODES = (EXIT_LOAD, EXIT_ENVIRONMENT, EXIT_TIMEOUT, EXIT_ENCODE, EXIT_INITIALIZER)
"""Exit codes of the runner after which another attempt cannot help."""

_ALIGNMENT = 16
_LARGE = 1 << 20
# With all around it less than the 4,096 bytes that a pipe takes as one piece, so that nothing gets in between which
# another thread or process writes at the same time. Container runtimes cut lines at 16 kB.
_FRAME = 4_000


class FormatError(ValueError):
    """What arrived is not a bundle, is incomplete, or its digest does not fit."""


def python_minor() -> str:
    """Return the minor version of this Python, as in ``3.12``: functions pickled by one crash another."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def write_head(kind: str, fields: dict[str, str]) -> bytes:
    lines = [kind, *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\n".join(lines).encode()


def read_head(kind: str, data: memoryview | bytes) -> tuple[dict[str, str], int]:
    """Return the fields of the head and where the body begins."""
    start = bytes(data[:RECEIPT_LIMIT])
    if not start.startswith(kind.encode() + b"\n"):
        msg = f"expected {kind}, got {start[:24]!r}"
        raise FormatError(msg)
    # A call with thousands of buffers has a head of more than one page.
    end = start.find(b"\n\n")
    if end < 0:
        start = bytes(data)
        end = start.find(b"\n\n")
    if end < 0:
        msg = f"the head of this {kind} does not end"
        raise FormatError(msg)
    lines = start[:end].decode(errors="replace").split("\n")[1:]
    fields = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon:
            msg = f"the head of this {kind} has a line without a name: {line!r}"
            raise FormatError(msg)
        fields[name] = value
    return fields, end + 2


def write_receipt(path: str, fields: dict[str, str], body: bytes) -> None:
    """Write a receipt that fits into a termination message."""
    head = write_head(RECEIPT, fields)
    if fields["status"] == "failed":
        # The end of a traceback says more than its beginning.
        body = body[-(RECEIPT_LIMIT - len(head)) :]
    with open(path, "wb") as file:
        file.write(head + body)


def frame(payload: bytes, buffers: Sequence[memoryview], versions: dict[str, str]) -> list[bytes | memoryview]:
    """Return the parts of a bundle, head first; the buffers are not copied."""
    body: list[bytes | memoryview] = []
    parts: tuple[bytes | memoryview, ...] = (payload, *buffers)
    for part in parts:
        body += (part, bytes(-len(part) % _ALIGNMENT))
    sizes = ",".join(str(len(part)) for part in parts)
    fields = {**versions, "sizes": sizes, "sha256": sha256_of(*body)}
    # The filler aligns the body.
    length = len(write_head(BUNDLE, {**fields, "filler": ""}))
    return [write_head(BUNDLE, {**fields, "filler": "." * (-length % _ALIGNMENT)}), *body]


def digest_of(head: bytes | memoryview) -> str:
    """Return the digest of the bundle with this head."""
    return sha256_of(head)


def sha256_of(*pieces: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of the pieces, one behind the other."""
    digest = _hasher(sum(map(len, pieces)))()
    for piece in pieces:
        digest.update(piece)
    made: str = digest.hexdigest()
    return made


def _hasher(size: int) -> Any:
    # hashlib loads OpenSSL, which hashes several times as fast as the interpreter's own code; to load it takes longer
    # than all else that the runner does, and its bytecode is not to be had either.
    if size < _LARGE:
        for module in ("_sha2", "_sha256"):
            try:
                return __import__(module).sha256
            except ImportError:
                continue
    from hashlib import sha256  # noqa: PLC0415 - as above

    return sha256


def check(data: memoryview, digest: str) -> tuple[dict[str, str], list[memoryview]]:
    """Return the head's fields and the parts of the body, after both digests were found to fit."""
    fields, start = read_head(BUNDLE, data)
    if digest_of(data[:start]) != digest:
        msg = "the bundle is not the one that was announced: its digest differs"
        raise FormatError(msg)
    if sha256_of(data[start:]) != fields["sha256"]:
        msg = "the bundle is damaged or incomplete: the digest of its body differs"
        raise FormatError(msg)
    parts = []
    for size in map(int, fields["sizes"].split(",")):
        parts.append(data[start : start + size])
        start += size + -size % _ALIGNMENT
    return fields, parts


def pack_inline(parts: Sequence[bytes | memoryview]) -> bytes:
    """Return a small bundle as text, for an environment variable or a receipt."""
    return b2a_base64(compress(b"".join(parts), 1), newline=False)


def unpack_inline(text: bytes | str) -> memoryview:
    try:
        return memoryview(bytearray(decompress(a2b_base64(text))))
    except (ValueError, zlib_error) as exc:
        msg = f"what should be a packed bundle is damaged: {exc}"
        raise FormatError(msg) from exc


def output_lines(packed: bytes) -> Iterator[bytes]:
    """Yield what a task writes between its own lines to send a packed outcome home without any storage.

    A frame may begin behind the last characters of a line that the function did not end.
    """
    count = -(-len(packed) // _FRAME)
    for number in range(count):
        text = packed[number * _FRAME : (number + 1) * _FRAME]
        yield b"%s%d/%d %s\n" % (OUTPUT_MARK.encode(), number + 1, count, text)


def split_output(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the lines that are the function's own, and the frames of its outcome that came between them."""
    own: list[str] = []
    frames: list[str] = []
    for line in lines:
        before, mark, frame = line.partition(OUTPUT_MARK)
        if before or not mark:
            own.append(before)
        if mark:
            frames.append(frame)
    return own, frames


def join_frames(frames: Sequence[str]) -> str:
    """Return the packed outcome that came in *frames*; one that comes again, as from another attempt, counts last."""
    found: dict[int, str] = {}
    count = 0
    for frame in frames:
        place, _, text = frame.partition(" ")
        number, _, total = place.partition("/")
        if number.isdecimal() and total.isdecimal():
            count = int(total)
            found[int(number)] = text
    texts = [found[number] for number in sorted(found) if 0 < number <= count]
    if not texts or len(texts) < count:
        msg = f"{count - len(texts)} of its {count} lines are missing" if count else "none of its lines is there"
        raise FormatError(msg)
    return "".join(texts)


def flatten_exception(exc: BaseException, *, chain: bool = True) -> list[tuple[Any, ...]]:
    """Return *exc*, its group members and, with *chain*, its causes and contexts as plain rows that pickle.

    Pickle itself drops causes and contexts, and calls a class with ``args`` that its ``__init__`` may not take.
    """
    rows: list[Any] = []
    seen: dict[int, int] = {}

    def index(one: BaseException | None) -> int | None:
        if one is None:
            return None
        if id(one) not in seen:
            seen[id(one)] = len(rows)
            rows.append(None)
            made = _recipe(one, index)
            linked = (index(one.__cause__), index(one.__context__)) if chain else (None, None)
            rows[seen[id(one)]] = (*made, *linked, one.__suppress_context__)
        return seen[id(one)]

    index(exc)
    return rows


def restore_exception(rows: list[tuple[Any, ...]]) -> BaseException:
    """Return the exception that `flatten_exception` was given."""
    made: dict[int, BaseException] = {}

    def build(number: int) -> BaseException:
        if number not in made:
            cls, args, state, members, whole = rows[number][:5]
            if members is not None:
                args = (args[0], [build(member) for member in members])
            made[number] = whole if whole is not None else _make(cls, args, state)
        return made[number]

    for number in range(len(rows)):
        exc = build(number)
        cause, context, suppress = rows[number][5:]
        exc.__cause__ = None if cause is None else build(cause)
        exc.__context__ = None if context is None else build(context)
        exc.__suppress_context__ = suppress
    return build(0)


def _recipe(exc: BaseException, index: Any) -> tuple[Any, ...]:
    """Return class, args, attributes, members of a group, and the exception itself if it must be pickled as such."""
    cls = type(exc)
    # A class that brings its own __reduce__ knows best.
    owner = next(base for base in cls.__mro__ if "__reduce__" in vars(base) or "__reduce_ex__" in vars(base))
    if owner.__module__ != "builtins":
        return (None, None, None, None, exc)
    reduced: Any = exc.__reduce__()
    _, args, *rest = reduced
    state = {**_slots(exc), **(rest[0] if rest and rest[0] else {})}
    if isinstance(exc, NameError | AttributeError):
        # What suggestions are made of; the object of an AttributeError may be anything, and stays behind.
        state["name"] = exc.name
    if isinstance(exc, BaseExceptionGroup):
        return (cls, (exc.message,), state, [index(member) for member in exc.exceptions], None)
    return (cls, args, state, None, None)


def _slots(exc: BaseException) -> dict[str, Any]:
    found = {}
    for base in type(exc).__mro__:
        names = vars(base).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if hasattr(exc, name) and name not in {"__dict__", "__weakref__"}:
                found[name] = getattr(exc, name)
    return found


def _make(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    bases = (base for base in cls.__mro__ if issubclass(base, BaseException))
    native: Any = next(base for base in bases if base.__module__ == "builtins")
    exc: BaseException = native.__new__(cls, *args)
    native.__init__(exc, *args)
    exc.__setstate__(state)
    return exc
