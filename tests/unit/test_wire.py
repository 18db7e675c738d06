"""The format of what travels: nothing that was changed on the way is unpickled, and exceptions survive the way."""

import pickle
import random
import string
import traceback

import cloudpickle
import pytest

from ascend._core import wire

VERSIONS = {"serializer": "cloudpickle", "python": wire.python_minor(), "cloudpickle": "3", "ascend": "0"}


def bundle(payload=b"payload", buffers=(b"one", b"", b"three" * 10)):
    parts = wire.frame(payload, [memoryview(buffer) for buffer in buffers], VERSIONS)
    return memoryview(bytearray(b"".join(parts))), wire.digest_of(parts[0])


# Bundles.


def test_a_bundle_comes_back_as_it_was():
    data, digest = bundle()

    fields, parts = wire.check(data, digest)

    assert [bytes(part) for part in parts] == [b"payload", b"one", b"", b"three" * 10]
    assert fields.items() >= VERSIONS.items()


def test_every_part_begins_at_a_multiple_of_sixteen():
    for length in range(40):
        parts = wire.frame(b"x" * length, [memoryview(b"y" * 3)], {**VERSIONS, "filler of": "z" * length})
        assert len(parts[0]) % 16 == 0
        assert sum(len(part) for part in parts) % 16 == 0


def test_parts_are_views_and_not_copies():
    data, digest = bundle()

    _, parts = wire.check(data, digest)

    assert all(part.obj is data.obj for part in parts)
    assert not parts[1].readonly


def test_a_byte_changed_anywhere_is_noticed():
    data, digest = bundle()

    for position in range(len(data)):
        for mask in (0x01, 0x80, 0x30):
            data[position] ^= mask
            with pytest.raises(wire.FormatError):
                wire.check(data, digest)
            data[position] ^= mask
    wire.check(data, digest)


def test_a_bundle_that_is_cut_off_anywhere_is_noticed():
    data, digest = bundle()

    for length in range(len(data)):
        with pytest.raises(wire.FormatError):
            wire.check(data[:length], digest)


def test_a_bundle_with_more_behind_it_is_noticed():
    data, digest = bundle()

    with pytest.raises(wire.FormatError):
        wire.check(memoryview(bytes(data) + b"\0"), digest)


def test_another_bundle_is_not_the_announced_one():
    data, _ = bundle()
    _, digest = bundle(b"another")

    with pytest.raises(wire.FormatError, match="announced"):
        wire.check(data, digest)


def test_a_head_of_more_than_a_page_can_be_read():
    data, digest = bundle(buffers=[b"x"] * 5000)

    assert len(wire.check(data, digest)[1]) == 5001


@pytest.mark.parametrize(
    "text", [b"", b"ascend", b"ascend-bundle/2\n\n", b"ascend-bundle/1\nwithout an end", b"<html>\n\n"]
)
def test_what_is_no_bundle_is_a_format_error(text):
    with pytest.raises(wire.FormatError):
        wire.read_head(wire.BUNDLE, text)


def test_a_head_with_a_line_that_names_nothing_is_a_format_error():
    with pytest.raises(wire.FormatError):
        wire.read_head(wire.BUNDLE, b"ascend-bundle/1\nno colon\n\n")


def test_a_small_bundle_travels_as_text():
    data, digest = bundle()
    text = wire.pack_inline([data])

    assert text.isascii()
    assert bytes(wire.unpack_inline(text)) == bytes(data)
    assert bytes(wire.unpack_inline(text.decode())) == bytes(data)
    wire.check(wire.unpack_inline(text), digest)


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA", "eJw="])
def test_text_that_is_damaged_is_a_format_error(text):
    with pytest.raises(wire.FormatError):
        wire.unpack_inline(text)


def test_a_head_is_lines_that_people_can_read():
    data, _ = bundle()

    lines = bytes(data).split(b"\n\n")[0].decode().splitlines()

    assert lines[0] == "ascend-bundle/1"
    assert lines[1] == "serializer: cloudpickle"
    assert [line.split(": ")[0] for line in lines[1:]] == [*VERSIONS, "sizes", "sha256", "filler"]


# Between the lines of the output.

SIZES = [1, 2, 3_999, 4_000, 4_001, 8_000, 100_000, 1 << 20]


def packed_of(size):
    return bytes(random.choices(string.ascii_letters.encode(), k=size))


def lines_of(packed):
    return b"".join(wire.output_lines(packed)).decode().split("\n")[:-1]


@pytest.mark.parametrize("size", SIZES)
def test_an_outcome_comes_out_of_the_output_as_it_went_in(size):
    packed = packed_of(size)

    own, frames = wire.split_output(lines_of(packed))

    assert own == []
    assert wire.join_frames(frames).encode() == packed


def test_a_frame_is_one_line_that_a_pipe_takes_in_one_piece():
    for line in wire.output_lines(packed_of(5 << 20)):
        assert len(line) < 4096
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        # Whoever cuts an output into lines does it in one of these ways.
        assert len(line.splitlines()) == len(line.decode().splitlines()) == 1


OWN = ["", "a line", "\x1f", "\x1fascend-outcome/2 x", "ascend-outcome/1 1/1 x", "x\x1e", "ü漢🙂", " ", "\r50 %\r100 %"]


def test_lines_of_the_function_stay_as_they_are():
    assert wire.split_output(OWN) == (OWN, [])
    assert wire.split_output([]) == ([], [])


@pytest.mark.parametrize("seed", range(20))
def test_wherever_lines_come_between_and_however_they_are_handed_over_nothing_is_lost(seed):
    chance = random.Random(seed)
    packed = packed_of(chance.randrange(1, 50_000))
    expected, written = [], []
    for line in lines_of(packed):
        for own in chance.choices(OWN, k=chance.randrange(3)):
            expected.append(own)
            written.append(own)
        unfinished = chance.choice(["", "", "no end of line"])
        if unfinished:
            expected.append(unfinished)
        written.append(unfinished + line)
    own, frames = [], []
    while written:
        count = chance.randrange(1, 5)
        some_own, some_frames = wire.split_output(written[:count])
        own += some_own
        frames += some_frames
        del written[:count]

    assert own == expected
    assert wire.join_frames(frames).encode() == packed


@pytest.mark.parametrize("lost", [0, 3, -1])
def test_a_lost_line_is_noticed_and_counted(lost):
    frames = wire.split_output(lines_of(packed_of(30_000)))[1]
    del frames[lost]

    if lost == -1:
        del frames[-1]
    with pytest.raises(wire.FormatError, match=f"{2 if lost == -1 else 1} of its 8 lines are missing"):
        wire.join_frames(frames)


@pytest.mark.parametrize("frames", [[], [""], ["1"], ["1/"], ["/1 x"], ["x/y z"], ["0/0 "], ["0/1 x"], ["2/1 x"]])
def test_what_are_no_frames_is_a_format_error(frames):
    with pytest.raises(wire.FormatError):
        wire.join_frames(frames)


def test_lines_that_come_twice_or_in_another_order_do_no_harm():
    packed = packed_of(30_000)
    frames = wire.split_output(lines_of(packed))[1]

    assert wire.join_frames(frames + frames[2:5]).encode() == packed
    assert wire.join_frames(random.sample(frames, len(frames))).encode() == packed


@pytest.mark.parametrize("sizes", [(30_000, 30_000), (30_000, 5_000), (5_000, 30_000)])
@pytest.mark.parametrize("came", [1, 2, 8])
def test_what_an_earlier_attempt_began_to_send_does_no_harm(sizes, came):
    first, second = (packed_of(size) for size in sizes)
    earlier = wire.split_output(lines_of(first))[1][:came]

    assert wire.join_frames([*earlier, *wire.split_output(lines_of(second))[1]]).encode() == second


# Exceptions.


class PlainError(Exception):
    pass


class NeedsMoreError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.first = first
        self.second = second


class KeywordOnlyError(ValueError):
    def __init__(self, *, code):
        super().__init__()
        self.code = code


class ForgetfulError(Exception):
    def __init__(self, message):
        self.message = message


class WithSlotsError(Exception):
    __slots__ = ("extra",)


class OwnReduceError(Exception):
    def __init__(self, one, two):
        super().__init__()
        self.both = (one, two)

    def __reduce__(self):
        return OwnReduceError, self.both


class OwnNewError(Exception):
    def __new__(cls, one, *, two=2):
        self = super().__new__(cls, one)
        self.two = two
        return self

    def __init__(self, one, **_):
        super().__init__(one)


class MissingError(FileNotFoundError):
    def __init__(self, path):
        super().__init__(2, "not there", path)
        self.path = path


class TwoParentsError(KeyError, AttributeError):
    pass


class OwnGroup(ExceptionGroup):
    def derive(self, excs):
        return OwnGroup(self.message, excs)


class GroupWithMore(ExceptionGroup):
    def __new__(cls, excs, code):
        self = super().__new__(cls, "fixed message", excs)
        self.code = code
        return self

    def __init__(self, excs, code):
        pass


def there_and_back(exc, chain=True):
    return wire.restore_exception(pickle.loads(cloudpickle.dumps(wire.flatten_exception(exc, chain=chain), 5)))


def raised(call, *args):
    try:
        call(*args)
    except BaseException as exc:
        return exc
    pytest.fail("nothing was raised")


def forgetful():
    exc = ForgetfulError("the message")
    exc.more = [1, 2]
    return exc


SAMPLES = {
    "plain": lambda: PlainError("message", 2),
    "no arguments": PlainError,
    "needs more": lambda: NeedsMoreError(1, 2),
    "keyword only": lambda: KeywordOnlyError(code=3),
    "forgetful": forgetful,
    "own reduce": lambda: OwnReduceError(1, 2),
    "own new": lambda: OwnNewError(1, two=3),
    "two parents": lambda: TwoParentsError("key"),
    "base": lambda: BaseException(1),
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "stop": lambda: StopIteration("value"),
    "key": lambda: raised({}.__getitem__, "key"),
    "index": lambda: raised([].__getitem__, 0),
    "no file": lambda: raised(open, "/nowhere/to/be/found"),
    "two files": lambda: OSError(1, "why", "from", None, "to"),
    "own file error": lambda: MissingError("/a/path"),
    "connection": lambda: ConnectionResetError(104, "reset"),
    "timeout": lambda: TimeoutError("late"),
    "blocking": lambda: BlockingIOError(11, "again", 5),
    "decode": lambda: raised(b"\xff".decode),
    "encode": lambda: raised("\u20ac".encode, "ascii"),
    "translate": lambda: UnicodeTranslateError("text", 0, 1, "reason"),
    "syntax": lambda: raised(compile, "a b", "file.py", "exec"),
    "indentation": lambda: raised(compile, "if 1:\na", "file.py", "exec"),
    "import": lambda: raised(__import__, "nowhere_to_be_found"),
    "import with path": lambda: ImportError("why", name="name", path="path"),
    "name": lambda: raised(eval, "nowhere_to_be_found"),
    "attribute": lambda: raised(getattr, 1, "nowhere"),
    "assertion": lambda: AssertionError("claim"),
    "warning": lambda: UserWarning("careful"),
    "calculation": lambda: raised(lambda: 1 // 0),
}

ATTRIBUTES = (
    "args",
    "both",
    "characters_written",
    "code",
    "encoding",
    "end",
    "end_lineno",
    "end_offset",
    "errno",
    "filename",
    "filename2",
    "first",
    "lineno",
    "message",
    "more",
    "msg",
    "name",
    "object",
    "offset",
    "path",
    "reason",
    "second",
    "start",
    "strerror",
    "text",
    "two",
    "value",
)


@pytest.mark.parametrize("name", SAMPLES)
def test_an_exception_survives_with_all_that_it_says(name):
    exc = SAMPLES[name]()

    back = there_and_back(exc)

    assert type(back) is type(exc)
    assert str(back) == str(exc)
    assert repr(back) == repr(exc)
    for attribute in ATTRIBUTES:
        # What has no such attribute, or has not set it, must not have it there either.
        missing = object()
        assert getattr(back, attribute, missing) == getattr(exc, attribute, missing) or not hasattr(exc, attribute)
        assert hasattr(back, attribute) == hasattr(exc, attribute)
    assert back.__cause__ is None
    assert there_and_back(exc, chain=False).args == exc.args


def test_what_an_exception_keeps_in_slots_survives():
    exc = WithSlotsError("message")
    exc.extra = 5

    assert there_and_back(exc).extra == 5


def test_notes_survive():
    exc = PlainError("message")
    exc.add_note("a note")

    assert there_and_back(exc).__notes__ == ["a note"]


def test_a_chain_survives_link_by_link():
    first, second, last = NeedsMoreError(1, 2), KeywordOnlyError(code=3), PlainError("last")
    second.__cause__ = second.__context__ = first
    last.__context__ = second

    back = there_and_back(last)

    assert type(back) is PlainError
    assert (back.__cause__, back.__suppress_context__) == (None, False)
    assert back.__context__.code == 3
    assert back.__context__.__suppress_context__
    assert back.__context__.__cause__ is back.__context__.__context__
    assert back.__context__.__cause__.second == 2


def test_a_suppressed_context_stays_suppressed():
    exc = PlainError("shown")
    exc.__context__ = ValueError("hidden")
    exc.__cause__ = None

    back = there_and_back(exc)

    assert "hidden" not in "".join(traceback.format_exception(back))


def test_without_the_chain_only_the_exception_travels():
    exc = PlainError("message")
    exc.__cause__ = ValueError("left behind")

    assert there_and_back(exc, chain=False).__cause__ is None


def test_a_circle_of_causes_and_contexts_survives():
    one, two = PlainError(1), PlainError(2)
    one.__cause__, two.__cause__ = two, one
    one.__context__ = one

    back = there_and_back(one)

    assert back.__cause__.__cause__ is back
    assert back.__context__ is back


def test_a_long_chain_travels_or_is_refused_and_never_crashes():
    exc = None
    for number in range(5000):
        one = PlainError(number)
        one.__context__ = exc
        exc = one

    try:
        back = there_and_back(exc)
    except RecursionError:
        back = there_and_back(exc, chain=False)

    assert back.args == (4999,)


def test_a_group_survives_with_nested_groups_and_their_causes():
    inner = OSError(2, "inner")
    inner.__cause__ = NeedsMoreError(1, 2)
    exc = ExceptionGroup("outer", [KeywordOnlyError(code=3), ExceptionGroup("middle", [inner, PlainError()])])
    exc.add_note("a note")

    back = there_and_back(exc)

    assert type(back) is ExceptionGroup
    assert (back.message, back.__notes__) == ("outer", ["a note"])
    assert back.exceptions[0].code == 3
    assert back.exceptions[1].exceptions[0].errno == 2
    assert back.exceptions[1].exceptions[0].__cause__.second == 2


def test_a_group_of_base_exceptions_survives():
    back = there_and_back(BaseExceptionGroup("all", [KeyboardInterrupt(), SystemExit(1)]))

    assert [type(each) for each in back.exceptions] == [KeyboardInterrupt, SystemExit]


def test_a_group_of_a_class_of_its_own_survives():
    back = there_and_back(OwnGroup("all", [ValueError(1)]))

    assert type(back) is OwnGroup
    assert type(back.split(ValueError)[0]) is OwnGroup


def test_a_group_that_makes_its_own_message_survives():
    back = there_and_back(GroupWithMore([ValueError(1)], code=5))

    assert type(back) is GroupWithMore
    assert (back.message, back.code) == ("fixed message", 5)


def test_a_member_that_is_also_the_context_is_one_object():
    member = ValueError(1)
    exc = ExceptionGroup("all", [member])
    exc.__context__ = member
    member.__context__ = exc

    back = there_and_back(exc)

    assert back.__context__ is back.exceptions[0]
    assert back.exceptions[0].__context__ is back
