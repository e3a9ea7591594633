"""Slots of shared memory: which frame gets one, and when it may be written again."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest

from reidstream_client.frames.framing import PreparedFrame
from reidstream_client.frames.images import Crops, Image, Nv12, PixelFormat, RawFrame
from reidstream_client.frames.shared_memory import SEGMENT_BYTES, SharedMemory
from reidstream_proto.v1 import image_pb2, service_pb2
from tests.unit.client.samples import prepare

WIDTH, HEIGHT = 64, 48
BYTES = WIDTH * HEIGHT * 3
WINDOW = 3
SLOTS = WINDOW + 2


@pytest.fixture
def shared() -> Iterator[SharedMemory]:
    memory = SharedMemory()
    memory.agreed(SEGMENT_BYTES, WINDOW)
    yield memory
    memory.close()


def picture(value: int = 0, height: int = HEIGHT) -> np.ndarray:
    return np.full((height, WIDTH, 3), value, np.uint8)


def a_frame(image: Image, number: int = 1) -> PreparedFrame:
    boxes = None if isinstance(image, Crops) else [[0, 0, 5, 5]]
    return prepare(image, boxes, frame_id=number, captured_s=0.0)


def sent(frame: PreparedFrame) -> image_pb2.RawImage:
    return service_pb2.EmbedStreamRequest.FromString(frame.stream_message(0.0)).frame.raw


def pixels(shared: SharedMemory, raw: image_pb2.RawImage) -> bytes:
    start = raw.shared.offset_bytes
    assert shared._map is not None
    return bytes(shared._map[start : start + raw.shared.length_bytes])


@pytest.mark.parametrize(
    ("image", "data"),
    [
        (picture(3), bytes([3]) * BYTES),
        (picture(3)[:, :, 0], bytes([3]) * (BYTES // 3)),
        (RawFrame(data=b"0123456789", width=2, height=1, format=PixelFormat.RGB, stride=7, offset=1), b"0123456789"),
        (Nv12(data=b"0123456789", width=2, height=2, chroma_offset=6), b"0123456789"),
    ],
)
def test_raw_pixels_go_by_handle(shared: SharedMemory, image: Image, data: bytes) -> None:
    """The same message, with a range for its data."""
    by_bytes = a_frame(image)
    by_handle, slot = shared.place(by_bytes)
    assert slot is not None
    found, expected = sent(by_handle), sent(by_bytes)
    assert not found.data
    assert pixels(shared, found) == data == expected.data
    found.ClearField("shared")
    expected.ClearField("data")
    assert found == expected
    assert by_handle.max_bytes < 200


@pytest.mark.parametrize("image", [b"\xff\xd8 a JPEG", Crops([picture()])])
def test_what_is_no_raw_picture_is_sent(shared: SharedMemory, image: Image) -> None:
    """Compressed files and crops go as they did."""
    frame = a_frame(image)
    assert shared.place(frame) == (frame, None)


def test_a_slot_is_written_again_when_it_was_given_back(shared: SharedMemory) -> None:
    """The window's frames and two more have one each; then frames are sent until one comes back."""
    placed = [shared.place(a_frame(picture(number))) for number in range(SLOTS)]
    slots = [slot for _, slot in placed]
    assert len(set(slots)) == SLOTS
    assert None not in slots
    for number, (frame, _) in enumerate(placed):
        assert pixels(shared, sent(frame)) == bytes([number]) * BYTES
    frame = a_frame(picture(9))
    assert shared.place(frame) == (frame, None)
    shared.give_back(slots[1])
    assert shared.place(frame)[1] == slots[1]


def test_larger_pictures_get_slots_when_all_are_free(shared: SharedMemory) -> None:
    """Until then they are sent; smaller ones fit at once."""
    _, first = shared.place(a_frame(picture()))
    large = a_frame(picture(1, HEIGHT * 4))
    assert shared.place(large)[1] is None
    _, second = shared.place(a_frame(picture(1, 2)))
    shared.give_back(first)
    assert shared.place(large)[1] is None
    shared.give_back(second)
    frame, slot = shared.place(large)
    assert slot is not None
    assert pixels(shared, sent(frame)) == bytes([1]) * BYTES * 4


def test_no_more_is_used_than_was_agreed() -> None:
    """The server may have lowered it: fewer slots, or none."""
    shared = SharedMemory()
    shared.agreed(mmap.PAGESIZE + 2 * -(-BYTES // mmap.PAGESIZE) * mmap.PAGESIZE, 10)
    assert [shared.place(a_frame(picture()))[1] is not None for _ in range(3)] == [True, True, False]
    small = SharedMemory()
    small.agreed(100, 10)
    assert small.place(a_frame(picture()))[1] is None
    for memory in (shared, small):
        memory.close()


def test_a_lent_array_is_not_copied(shared: SharedMemory) -> None:
    """What lies in it is sent by handle, and its slot is the frame's until that is answered."""
    array = shared.lend(HEIGHT, WIDTH)
    assert array is not None
    array[:] = 7
    frame, slot = shared.place(a_frame(array))
    raw = sent(frame)
    assert raw.shared.offset_bytes == slot
    assert pixels(shared, raw) == bytes([7]) * BYTES
    array[0] = 8
    assert pixels(shared, raw)[0] == 8
    del array
    others = [shared.place(a_frame(picture()))[1] for _ in range(SLOTS)]
    assert slot not in others
    assert others.count(None) == 1


def test_a_lent_array_that_is_given_up_comes_back(shared: SharedMemory) -> None:
    """Also when only a part of it was kept for a while."""
    arrays = [shared.lend(HEIGHT, WIDTH) for _ in range(SLOTS)]
    assert shared.lend(HEIGHT, WIDTH) is None
    kept = arrays[0][1:2] if arrays[0] is not None else None
    arrays.clear()
    arrays += [shared.lend(HEIGHT, WIDTH) for _ in range(SLOTS)]
    assert [array is None for array in arrays] == [False] * (SLOTS - 1) + [True]
    del kept
    assert shared.lend(HEIGHT, WIDTH) is not None


def test_a_part_of_a_lent_array_is_copied(shared: SharedMemory) -> None:
    """It does not begin where a slot does, so it is a picture like any other."""
    array = shared.lend(HEIGHT, WIDTH)
    assert array is not None
    array[:] = 5
    frame, slot = shared.place(a_frame(array[8:]))
    assert slot is not None
    assert pixels(shared, sent(frame)) == bytes([5]) * (BYTES - 8 * WIDTH * 3)


def test_the_file_is_closed_once_the_server_has_it() -> None:
    """The mapping is enough; and after closing, frames are sent."""
    shared = SharedMemory()
    os.fstat(shared.offer.fd)
    shared.agreed(SEGMENT_BYTES, WINDOW)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(shared.offer.fd)
    shared.close()
    shared.close()
    assert shared.place(a_frame(picture()))[1] is None
