"""Frames: whatever way the bytes are cut they decode the same, and no bytes do worse than a ProtocolError."""

from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skep_shared.errors import FrameTooLarge, MalformedFrame, ProtocolError, VersionMismatch
from skep_shared.json_form import MAX_LEVELS
from skep_shared.protocol.frame_codec import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    FrameDecoder,
    encode_blob,
    encode_frame,
)
from skep_shared.protocol.frames import (
    FRAME_CODES,
    Blob,
    Display,
    Hello,
    Leaving,
    Left,
    Output,
    Ping,
    Restored,
    Result,
    Saved,
    Work,
)

any_text = st.text(max_size=20)
packable_ints = st.integers(-(2**63), 2**64 - 1)
VALUES = {
    NoneType: st.none(),
    bool: st.booleans(),
    int: packable_ints,
    float: st.floats(allow_nan=False) | st.integers(0, 1000),
    str: any_text,
    bytes: st.binary(max_size=50),
    memoryview: st.nothing(),  # what is sent may be one, what comes is bytes
    list[str]: st.lists(any_text, max_size=3),
    dict[str, str]: st.dictionaries(any_text, any_text, max_size=3),
    dict[bytes, bytes]: st.dictionaries(st.binary(max_size=16), st.binary(max_size=50), max_size=3),
    dict[str, Any]: st.dictionaries(
        any_text, any_text | st.binary(max_size=20) | st.lists(packable_ints | st.none(), max_size=3), max_size=3
    ),
}


def values_of(hint: Any) -> st.SearchStrategy:
    if isinstance(hint, UnionType):
        return st.one_of([VALUES[option] for option in get_args(hint)])
    return VALUES[hint]


def frames_of(kind: type) -> st.SearchStrategy:
    fields = {name: values_of(hint) for name, hint in get_type_hints(kind).items()}
    if kind is Hello:
        fields["version"] = st.just(PROTOCOL_VERSION)
    return st.builds(kind, **fields)


frames = st.one_of([frames_of(kind) for kind in FRAME_CODES])


def decode(*pieces: bytes, **options) -> list:
    decoder = FrameDecoder(**options)
    decoded = [frame for piece in pieces for frame in decoder.feed(piece)]
    decoder.check_finished()
    return decoded


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def typed(decoded: list) -> list:
    """Make frames comparable: as tuples alone, Ping(1) equals Pong(1)."""
    return [(type(frame), frame) for frame in decoded]


@st.composite
def cut(draw, data: bytes) -> list[bytes]:
    """Cut the data anywhere, into empty pieces too."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=20)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("kind", FRAME_CODES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_frame_comes_back_as_it_went(kind, data):
    frame = data.draw(frames_of(kind))

    assert typed(decode(encode_frame(frame))) == [(kind, frame)]


@given(blob=frames_of(Blob))
@example(Blob(b"n" * 16, b"x" * 300))
@example(Blob(b"n" * 300, b"x" * 70_000))
def test_a_chunk_in_two_parts_comes_back_as_it_went_and_its_data_is_not_copied(blob):
    start, data = encode_blob(blob)

    assert data is blob.data
    assert typed(decode(start, data)) == [(Blob, blob)]


@given(
    sent=st.lists(frames | st.builds(Blob, st.binary(min_size=16, max_size=16), st.binary(max_size=300)), max_size=6),
    taken=st.randoms(use_true_random=False),
    data=st.data(),
)
def test_chunks_that_are_received_in_their_place_come_in_their_turn_and_whole(sent, taken, data):
    places = []

    def place(name, size):
        if taken.random() < 0.3:
            return None
        places.append(memoryview(bytearray(size)))
        return places[-1]

    decoder, decoded = FrameDecoder(find_destination=place), []
    parts = b"".join(
        part for frame in sent for part in (encode_blob(frame) if type(frame) is Blob else [encode_frame(frame)])
    )
    for piece in data.draw(cut(parts)):
        rest = memoryview(piece)
        while rest:
            if decoder.rest is None:
                decoded += decoder.feed(rest)
                break
            count = min(len(rest), len(decoder.rest))
            decoder.rest[:count] = rest[:count]
            decoded += decoder.mark_received(count)
            rest = rest[count:]
    decoder.check_finished()

    assert typed(decoded) == typed(sent)
    assert all(any(place is frame.data for frame in decoded if type(frame) is Blob) for place in places)


def test_a_stream_that_ends_inside_a_chunk_with_a_place_is_malformed():
    start, data = encode_blob(Blob(b"n" * 16, b"x" * 300))
    decoder = FrameDecoder(find_destination=lambda _, size: memoryview(bytearray(size)))
    assert list(decoder.feed(start + data[:100])) == []

    with pytest.raises(MalformedFrame, match="200 bytes before the end"):
        decoder.check_finished()


def test_a_chunk_too_large_for_a_frame_is_refused():
    with pytest.raises(FrameTooLarge):
        encode_blob(Blob(b"n", bytes(MAX_FRAME_BYTES)))


@given(sent=st.lists(frames, max_size=6), data=st.data())
def test_frames_cut_anywhere_decode_to_the_same_frames(sent, data):
    pieces = data.draw(cut(b"".join(map(encode_frame, sent))))

    assert typed(decode(*pieces)) == typed(sent)


@given(sent=st.lists(frames, max_size=4))
def test_frames_that_come_byte_by_byte_decode_to_the_same_frames(sent):
    data = b"".join(map(encode_frame, sent))

    assert typed(decode(*(data[i : i + 1] for i in range(len(data))))) == typed(sent)


@given(sent=st.lists(frames, min_size=1, max_size=4), data=st.data())
def test_a_frame_is_given_as_soon_as_it_is_whole(sent, data):
    ends = [len(b"".join(map(encode_frame, sent[: i + 1]))) for i in range(len(sent))]
    here = data.draw(st.integers(0, ends[-1]))

    given_now = list(FrameDecoder().feed(b"".join(map(encode_frame, sent))[:here]))

    assert typed(given_now) == typed(sent[: sum(end <= here for end in ends)])


@given(sent=st.lists(frames, min_size=1, max_size=4), data=st.data())
def test_a_stream_that_ends_inside_a_frame_is_told_with_what_is_left(sent, data):
    whole = [encode_frame(frame) for frame in sent]
    missing = data.draw(st.integers(1, len(whole[-1]) - 1))

    with pytest.raises(MalformedFrame, match=rf"ended {len(whole[-1]) - missing} bytes into a frame"):
        decode(b"".join(whole)[:-missing])


@given(garbage=st.binary(max_size=400), data=st.data())
@example(garbage=framed(b""), data=None)
@example(garbage=framed(b"\xc1"), data=None)
@example(garbage=framed(b"\x90"), data=None)
@example(garbage=framed(b"\x91\xc3"), data=None)
@example(garbage=framed(b"\x91\x90"), data=None)
@example(garbage=framed(b"\xdd\xff\xff\xff\xff"), data=None)
@example(garbage=framed(b"\x91" * 5000), data=None)
def test_garbage_is_a_protocol_error_at_most(garbage, data):
    pieces = data.draw(cut(garbage)) if data else [garbage]
    try:
        decode(*pieces)
    except ProtocolError as error:
        assert str(error)  # noqa: PT017 - there may be none


@given(body=st.binary(max_size=100).map(framed) | st.recursive(
    st.none() | st.booleans() | packable_ints | st.floats() | st.binary(max_size=9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
).map(msgpack.packb).map(framed))  # fmt: skip
def test_a_whole_frame_of_anything_is_a_frame_of_ours_or_a_protocol_error(body):
    try:
        [frame] = decode(body)
    except ProtocolError:
        return
    assert type(frame) in FRAME_CODES
    assert typed(decode(encode_frame(frame))) == typed([frame])


@given(sent=st.lists(frames, min_size=1, max_size=4), data=st.data())
def test_a_damaged_byte_is_another_frame_or_a_protocol_error(sent, data):
    stream = bytearray(b"".join(map(encode_frame, sent)))
    stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(stream))
    except ProtocolError:
        return
    assert {type(frame) for frame in decoded} <= FRAME_CODES.keys()


@given(sent=st.lists(frames, max_size=3), after=st.lists(frames, max_size=2))
def test_frames_before_a_bad_one_are_given_and_none_after_it(sent, after):
    bad = framed(b"\x91\xcc\xff")
    decoder = FrameDecoder()
    stream = decoder.feed(b"".join([*map(encode_frame, sent), bad, *map(encode_frame, after)]))

    assert typed([next(stream) for _ in sent]) == typed(sent)
    with pytest.raises(MalformedFrame, match="unknown code 255"):
        next(stream)
    with pytest.raises(MalformedFrame, match="unknown code 255"):
        next(decoder.feed(encode_frame(Ping(1))))


@given(limit=st.integers(1, 64), over=st.integers(1, 2**31))
def test_a_frame_over_the_limit_is_refused_by_its_header_alone(limit, over):
    decoder = FrameDecoder(max_bytes=limit)

    with pytest.raises(FrameTooLarge) as caught:
        list(decoder.feed((limit + over).to_bytes(HEADER_BYTES, "big")))

    assert (caught.value.size_bytes, caught.value.limit_bytes) == (limit + over, limit)


@given(frame=frames)
def test_a_frame_is_sent_up_to_the_limit_and_not_over_it(frame):
    size = len(encode_frame(frame)) - HEADER_BYTES

    assert typed(decode(encode_frame(frame, max_bytes=size), max_bytes=size)) == typed([frame])
    with pytest.raises(FrameTooLarge) as caught:
        encode_frame(frame, max_bytes=size - 1)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (size, size - 1)


@given(theirs=packable_ints.filter(lambda version: version != PROTOCOL_VERSION), rest=st.lists(any_text, max_size=5))
def test_another_version_is_told_with_both_whatever_its_hello_holds(theirs, rest):
    body = msgpack.packb([FRAME_CODES[Hello], theirs, *rest], unicode_errors="surrogatepass")

    with pytest.raises(VersionMismatch) as caught:
        decode(framed(body))

    assert (caught.value.theirs, caught.value.ours) == (theirs, PROTOCOL_VERSION)


@given(frame=frames, bad=st.sampled_from([object(), 2**64, -(2**63) - 1]))
def test_what_can_not_be_packed_leaves_nothing_behind(frame, bad):
    with pytest.raises((TypeError, OverflowError)):
        encode_frame(Ping(bad))

    assert typed(decode(encode_frame(frame))) == typed([frame])


def test_lone_surrogates_are_escaped():
    (frame,) = decode(encode_frame(Output(1, 1, "stdout", "é\ud800\udcff")))

    assert frame.text == "é\\ud800\\udcff"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "frame",
    [
        Display(1, 1, {1: "a key that is no text"}, None, False),
        Result(1, 1, {b"text/plain": "1"}, None),
        Saved(1, b"", {"a name of text": b"x"}),
        Saved(1, b"", {b"name": "text"}),
        Restored("", {"variable": 1}, []),
        Leaving([1], [], [], []),
        Work(1, [], [b"x"], []),
        Left([None]),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_a_container_with_an_item_of_another_type_is_malformed(frame):
    with pytest.raises(MalformedFrame, match=r"may have (items|keys) of type"):
        decode(encode_frame(frame))


def test_a_bundle_that_readers_could_not_read_is_malformed():
    deepest = Display(1, 1, {"application/json": nested(MAX_LEVELS - 1)}, None, False)
    assert decode(encode_frame(deepest)) == [deepest]

    with pytest.raises(MalformedFrame, match=f"deeper than {MAX_LEVELS} levels"):
        decode(encode_frame(deepest._replace(bundle={"application/json": nested(MAX_LEVELS)})))
