"""exif: the orientation that a file names, and a picture whose sides it exchanges."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from reidstream_engines.exif import read_exif
from reidstream_engines.header_steps import HeaderSteps
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import Orientation, PixelBox

WIDTH, HEIGHT = 50, 30
TAG, SHORT, LONG = 0x0112, 3, 4


def record(number: int, *, order: str = "<", kind: int = SHORT, before: int = 0, tag: int = TAG) -> bytes:
    """An EXIF record whose directory has `before` other entries before the orientation."""
    entries = [(0x0010 + index, SHORT, 1, 7) for index in range(before)] + [(tag, kind, 1, number)]
    packed = b"".join(
        struct.pack(order + "HHI", *entry[:3])
        + (struct.pack(order + "HH", entry[3], 0) if entry[1] == SHORT else struct.pack(order + "I", entry[3]))
        for entry in entries
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", len(entries)) + packed + bytes(4)


def segment(body: bytes) -> bytes:
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


def jpeg(*bodies: bytes) -> bytes:
    plain = encode(".jpg")
    return plain[:2] + b"".join(map(segment, bodies)) + plain[2:]


def encode(suffix: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def png(exif: bytes, *, behind: bool = False) -> bytes:
    plain = encode(".png")
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    at = len(plain) - 12 if behind else 33
    return plain[:at] + chunk + plain[at:]


def webp(exif: bytes) -> bytes:
    target = io.BytesIO()
    PilImage.new("RGB", (WIDTH, HEIGHT)).save(target, "WEBP", exif=exif)
    return target.getvalue()


EXIF = b"Exif\0\0"
FOUND = {
    "jpeg": jpeg(EXIF + record(6)),
    "jpeg, big-endian": jpeg(EXIF + record(6, order=">")),
    "jpeg, among others": jpeg(EXIF + record(6, before=20)),
    "jpeg, a long number": jpeg(EXIF + record(6, kind=LONG)),
    "jpeg, behind XMP": jpeg(b"http://ns.adobe.com/xap/1.0/\0<x/>", EXIF + record(6)),
    "jpeg, the first of two": jpeg(EXIF + record(6), EXIF + record(1)),
    "jpeg, with junk before it": jpeg(EXIF + record(6)).replace(b"\xff\xe1", b"\x07\xff\xe1", 1),
    "png": png(record(6, order=">")),
    "webp": webp(record(6)),
    "webp, with JPEG's mark": webp(EXIF + record(6)),
}
NONE = {
    "no record": jpeg(),
    "a number that does not exist": jpeg(EXIF + record(9)),
    "another tag": jpeg(EXIF + record(6, tag=0x0113)),
    "another type": jpeg(EXIF + record(6, kind=2)),
    "cut short": jpeg(EXIF + record(6)[:14]),
    "no TIFF": jpeg(EXIF + b"XX" + record(6)[2:]),
    "an offset beyond the file": jpeg(EXIF + record(6)[:4] + b"\xff\xff\xff\x7f"),
    "a name only": jpeg(EXIF),
    "png without": encode(".png"),
    "webp without": encode(".webp"),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_a_file_says_is_found(what: str) -> None:
    """Without being asked for, it changes nothing; asked for, width and height change places."""
    image = parse_encoded(FOUND[what])
    assert image.orientation is Orientation.TURN_RIGHT
    assert (image.width, image.height, image.turn) == (WIDTH, HEIGHT, Orientation.AS_STORED)
    turned = parse_encoded(FOUND[what], upright=True)
    assert (turned.width, turned.height, turned.turn) == (HEIGHT, WIDTH, Orientation.TURN_RIGHT)
    assert turned.stored_size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("what", NONE)
def test_what_says_nothing_is_no_error(what: str) -> None:
    """The picture is as it is stored."""
    image = parse_encoded(NONE[what], upright=True)
    assert (image.orientation, image.upright) == (Orientation.AS_STORED, False)
    assert (image.width, image.height) == (WIDTH, HEIGHT)


def test_behind_the_pixels_of_a_png() -> None:
    """Some tools write it there. It is looked for only if it is asked for, since that costs a walk through the file."""
    data = png(record(8, order=">"), behind=True)
    assert parse_encoded(data).orientation is Orientation.AS_STORED
    assert parse_encoded(data, upright=True).orientation is Orientation.TURN_LEFT


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.binary(max_size=80), st.integers(0, 90))
def test_any_bytes(data: bytes, at: int) -> None:
    """An orientation, and never an exception."""
    assert read_exif(data, at, HeaderSteps()) in Orientation
    assert read_exif(b"II*\0\x08\0\0\0" + data, 0, HeaderSteps()) in Orientation


@settings(deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(Orientation))
def test_boxes_there_and_back(data: st.DataObject, turn: Orientation) -> None:
    """In the stored picture a box lies inside, has the same number of pixels, and comes back to its place."""
    x1, y1 = data.draw(st.integers(0, WIDTH - 1)), data.draw(st.integers(0, HEIGHT - 1))
    box = PixelBox(x1=x1, y1=y1, x2=data.draw(st.integers(x1 + 1, WIDTH)), y2=data.draw(st.integers(y1 + 1, HEIGHT)))
    stored = turn.box_in_stored(box, width=WIDTH, height=HEIGHT)
    width, height = (HEIGHT, WIDTH) if turn.swaps_sides else (WIDTH, HEIGHT)
    assert 0 <= stored.x1 < stored.x2 <= width
    assert 0 <= stored.y1 < stored.y2 <= height
    assert turn.box_in_turned(stored, width=WIDTH, height=HEIGHT) == box
