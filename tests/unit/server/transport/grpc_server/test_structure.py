"""How much of a message is not pixels, judged from its bytes as every parser would read them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from reidstream_proto.kserve import inference_pb2
from reidstream_proto.v1 import contract, frame_pb2, image_pb2, service_pb2
from reidstream_server.transport.grpc_server.structure import BYTES_A_STEP, Verdict, judge, shape_of

Request = service_pb2.EmbedStreamRequest
SHAPE = shape_of(Request.DESCRIPTOR)
MOST = contract.MAX_STRUCTURE_BYTES + contract.MAX_STRUCTURE_BYTES_PER_BOX * 1000
SHORT = 128

_UNKNOWN = 700
_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)
_SCALARS = {
    FieldDescriptor.TYPE_FLOAT: _FIXED32,
    FieldDescriptor.TYPE_DOUBLE: _FIXED64,
    FieldDescriptor.TYPE_STRING: _LENGTH,
}


@dataclass(frozen=True)
class Built:
    """A message as bytes, how much of it is structure, and in how many fields."""

    data: bytes
    structure: int
    fields: int

    def __add__(self, other: Built) -> Built:
        return Built(self.data + other.data, self.structure + other.structure, self.fields + other.fields)


def varint(value: int, pad: int = 0) -> bytes:
    """With `pad` bytes more than it needs, as some writers leave them."""
    parts = []
    while value > 0x7F or pad:
        pad -= value <= 0x7F
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def seen(data: bytes) -> Built:
    """A field that counts whole."""
    return Built(data, len(data), 1)


def unseen(number: int, pixels: bytes) -> Built:
    """A field whose contents do not count."""
    head = tag(number, _LENGTH) + varint(len(pixels))
    return Built(head + pixels, len(head), 1)


@st.composite
def unknown_fields(draw: st.DrawFn) -> Built:
    """A field that no type has."""
    number = _UNKNOWN + draw(st.integers(0, 3))
    match draw(st.sampled_from(["varint", "bytes", "fixed", "group"])):
        case "varint":
            return seen(tag(number, _VARINT) + varint(draw(st.integers(0, 2**64 - 1))))
        case "bytes":
            return unseen(number, draw(st.binary(max_size=300)))
        case "fixed":
            return seen(tag(number, _FIXED64) + bytes(8))
        case _:
            inside = unseen(draw(st.integers(1, 9)), draw(st.binary(max_size=300)))
            return seen(tag(number, _GROUP)) + inside + seen(tag(number, _GROUP_END))


@st.composite
def known_fields(draw: st.DrawFn, of: Descriptor, depth: int) -> Built:
    """Any field of a type."""
    one = draw(st.sampled_from(list(of.fields)))
    if one.message_type is not None:
        inner = draw(messages(one.message_type, depth + 1))
        head = tag(one.number, _LENGTH) + varint(len(inner.data), draw(st.integers(0, 2)))
        if len(inner.data) < SHORT and shape_of(one.message_type).plain:
            return seen(head + inner.data)
        return seen(head) + inner
    if one.type == FieldDescriptor.TYPE_BYTES:
        return unseen(one.number, draw(st.binary(max_size=300)))
    wire = _SCALARS.get(one.type, _VARINT)
    if wire == _LENGTH or one.is_repeated:
        text = draw(st.text("aé", max_size=200)).encode() if wire == _LENGTH else bytes(draw(st.integers(0, 200)))
        return seen(tag(one.number, _LENGTH) + varint(len(text)) + text)
    value = varint(draw(st.integers(0, 2**31))) if wire == _VARINT else bytes(8 if wire == _FIXED64 else 4)
    return seen(tag(one.number, wire) + value)


@st.composite
def messages(draw: st.DrawFn, of: Descriptor, depth: int = 0) -> Built:
    """A message of a type, with its fields in any order and number."""
    found = Built(b"", 0, 0)
    if of.fields:
        for _ in range(draw(st.integers(0, 6 - depth))):
            found += draw(known_fields(of, depth) if draw(st.integers(0, 3)) else unknown_fields())
    return found


@given(messages(Request.DESCRIPTOR))
def test_a_legal_message_is_parsed_up_to_the_bound_and_never_above(built: Built) -> None:
    """Whatever its fields are, known and unknown, and in whatever order they come."""
    Request.FromString(built.data)
    enough = max(built.structure, (built.fields + 1) * BYTES_A_STEP)
    assert judge(built.data, SHAPE, enough) is Verdict.FITS
    assert judge(built.data, SHAPE, MOST) is Verdict.FITS
    if built.structure:
        assert judge(built.data, SHAPE, built.structure - 1) is Verdict.TOO_MUCH


@given(messages(Request.DESCRIPTOR), st.integers(0, 2000), st.binary(max_size=3), st.sampled_from([0, 60, 400]))
def test_what_is_called_broken_is_so_for_the_parser(built: Built, at: int, junk: bytes, most: int) -> None:
    """A message that was damaged anywhere may pass here, since it is parsed then; never the other way round."""
    at = min(at, len(built.data))
    data = built.data[:at] + junk + built.data[at + 1 :]
    if judge(data, SHAPE, most) is Verdict.BROKEN:
        with pytest.raises(DecodeError):
            Request.FromString(data)


@given(st.binary(max_size=400), st.sampled_from([0, 16, 160]))
def test_any_bytes_are_judged(data: bytes, most: int) -> None:
    """Nothing is raised, and nothing goes on for ever."""
    if judge(data, SHAPE, most) is Verdict.BROKEN:
        with pytest.raises(DecodeError):
            Request.FromString(data)


def message_of(**fields: object) -> bytes:
    return Request(frame=frame_pb2.Frame(**fields)).SerializeToString()  # type: ignore[arg-type]  # as it was given


_LARGEST = 2**32 - 1
FULL_BOX = image_pb2.Box(rect=image_pb2.Rect(x1=1, y1=2, x2=3, y2=4), class_id=_LARGEST, score=1, track_id=2**64 - 1)
FULL_RAW = image_pb2.RawImage(
    format=image_pb2.PIXEL_FORMAT_NV12,
    shared=image_pb2.SharedRange(offset_bytes=2**63, length_bytes=2**63),
    color_matrix=image_pb2.COLOR_MATRIX_BT709,
    color_range=image_pb2.COLOR_RANGE_FULL,
    width=_LARGEST,
    height=_LARGEST,
    stride=_LARGEST,
    offset=_LARGEST,
    chroma_stride=_LARGEST,
    chroma_offset=_LARGEST,
)
FULL_CROP = frame_pb2.Frame().crops.crops.add(raw=FULL_RAW, box=FULL_BOX, inner_rect=FULL_BOX.rect)


@pytest.mark.parametrize(
    "data",
    [
        message_of(boxes=[FULL_BOX] * 1000, raw=image_pb2.RawImage(data=bytes(1 << 20))),
        message_of(crops=frame_pb2.CropList(crops=[FULL_CROP] * 1000)),
        message_of(
            crops=frame_pb2.CropList(
                crops=[image_pb2.Crop(encoded=image_pb2.EncodedImage(data=bytes(500)), box=FULL_BOX)] * 1000
            )
        ),
    ],
    ids=["boxes", "raw crops", "encoded crops"],
)
def test_the_largest_frames_pass(data: bytes) -> None:
    """With as many boxes as the server takes, and every field at its longest."""
    assert judge(data, SHAPE, MOST) is Verdict.FITS


def within(*numbers: int, data: bytes) -> bytes:
    for number in reversed(numbers):
        data = tag(number, _LENGTH) + varint(len(data)) + data
    return data


LARGE = 8 << 20
BOMBS = {
    "empty boxes": within(2, data=within(5, data=b"") * (LARGE // 2)),
    "boxes": within(2, data=within(5, data=bytes([0x1D, 0, 0, 0, 0])) * (LARGE // 7)),
    "one box with many rectangles": within(2, 5, data=within(1, data=b"") * (LARGE // 2)),
    "empty crops": within(2, data=within(4, data=within(1, data=b"") * 60) * (LARGE // 122)),
    "class ids": within(1, 1, 2, 2, data=bytes(LARGE)),
    "classes one by one": within(1, 1, 2, data=b"\x10\x01" * (LARGE // 2)),
    "track ids": within(3, 1, data=bytes(LARGE)),
    "a long name": within(1, 1, 1, data=b"a" * LARGE),
    "frame ids": within(2, data=b"\x08\x01" * (LARGE // 2)),
    "unknown numbers": (tag(_UNKNOWN, _VARINT) + b"\x01") * (LARGE // 3),
    "unknown bytes": within(_UNKNOWN, data=b"") * (LARGE // 3),
    "groups": tag(_UNKNOWN, _GROUP) * (LARGE // 2),
    "pixels and then boxes": within(2, data=within(2, 1, data=bytes(LARGE)) + within(5, data=b"") * (LARGE // 2)),
}


class Counted(bytes):
    """Bytes that count how often they are looked at."""

    looks = 0

    def __getitem__(self, at: object) -> int:  # type: ignore[override]  # only numbers are asked for here
        self.looks += 1
        return super().__getitem__(at)  # type: ignore[no-any-return,call-overload]


@pytest.mark.parametrize("kind", BOMBS)
def test_what_would_take_long_to_parse_is_refused_after_a_bounded_walk(kind: str) -> None:
    """A few looks for each step, and a step for each 16 bytes of the bound, however long the message is."""
    data = Counted(BOMBS[kind])
    assert judge(data, SHAPE, MOST) is Verdict.TOO_MUCH
    assert data.looks < 8 * MOST / BYTES_A_STEP


def test_packed_floats_are_pixels_and_floats_one_by_one_are_not() -> None:
    """A parser copies the first in one piece, and takes a step for each of the others; also for packed integers."""
    shape = shape_of(inference_pb2.ModelInferRequest.DESCRIPTOR)

    def contents(data: bytes) -> bytes:
        tensor = tag(5, _LENGTH) + varint(len(data)) + data
        return tag(5, _LENGTH) + varint(len(tensor)) + tensor

    floats, count = bytes(4), 2**20
    packed = contents(tag(6, _LENGTH) + varint(4 * count) + floats * count)
    single = contents((tag(6, _FIXED32) + floats) * count)
    integers = contents(tag(4, _LENGTH) + varint(4 * count) + bytes(4 * count))
    assert [judge(data, shape, MOST) for data in (packed, single, integers)] == [
        Verdict.FITS,
        Verdict.TOO_MUCH,
        Verdict.TOO_MUCH,
    ]


def test_a_number_that_never_ends_is_no_walk() -> None:
    """Ten bytes are the most that a number has."""
    data = Counted(b"\x80" * LARGE)
    assert judge(data, SHAPE, MOST) is Verdict.BROKEN
    assert data.looks < 20


@pytest.mark.parametrize("boxes", [8, 100, 1000])
def test_a_usual_frame_takes_a_few_looks(boxes: int) -> None:
    """The picture comes before the boxes, so that they are never walked."""
    image = image_pb2.EncodedImage(data=bytes(400_000))
    data = Counted(message_of(frame_id=2**40, encoded=image, boxes=[FULL_BOX] * boxes))
    assert judge(data, SHAPE, MOST) is Verdict.FITS
    assert data.looks < 30
    assert judge(small := Counted(message_of(boxes=[FULL_BOX] * boxes)), SHAPE, MOST) is Verdict.FITS
    assert small.looks == 0
