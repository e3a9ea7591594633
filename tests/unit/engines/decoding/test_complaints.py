"""Which odd JPEGs are taken and which are refused: the same answer whatever the boxes are, and whoever decodes."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.turbojpeg import find_turbojpeg
from reidstream_engines.errors import ImageError, InvalidImage, UnsupportedImage
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 320, 240
BOXES = {
    "first rows": PixelBox(x1=0, y1=0, x2=40, y2=30),
    "middle": PixelBox(x1=150, y1=90, x2=220, y2=150),
    "last rows": PixelBox(x1=270, y1=200, x2=WIDTH, y2=HEIGHT),
    "all": PixelBox(x1=0, y1=0, x2=WIDTH, y2=HEIGHT),
}


def scene() -> Pixels:
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (WIDTH, HEIGHT)), np.uint8)


def encode(*parameters: int) -> bytes:
    done, data = cv2.imencode(".jpg", scene(), list(parameters))
    assert done
    return data.tobytes()


CLEAN = encode()
RESTARTS = encode(cv2.IMWRITE_JPEG_RST_INTERVAL, 20)  # a row of MCUs
SCAN = CLEAN.index(b"\xff\xda")


def before(data: bytes, marker: int, junk: bytes, start: int = 2) -> bytes:
    """`data` with `junk` before each such marker from byte `start` on."""
    mark = bytes([0xFF, marker])
    return data[:start] + data[start:].replace(mark, junk + mark)


def before_restarts(data: bytes, junk: bytes) -> bytes:
    start = data.index(b"\xff\xda") + 2
    for marker in range(0xD0, 0xD8):
        data = before(data, marker, junk, start)
    return data


def with_segment(marker: int, body: bytes) -> bytes:
    return CLEAN[:2] + bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body + CLEAN[2:]


def patched(at: int, value: bytes) -> bytes:
    return CLEAN[:at] + value + CLEAN[at + len(value) :]


JFIF = CLEAN.index(b"JFIF\0")
ICC = b"ICC_PROFILE\0\x01\x02" + bytes(40)  # the first of two, and there is no second
ADOBE = b"Adobe\0\x64" + bytes(4) + b"\x07"
WHOLE = {
    "clean": CLEAN,
    "restart markers": RESTARTS,
    "a byte before a quantisation table": before(CLEAN, 0xDB, b"\x07"),
    "bytes before a Huffman table": before(CLEAN, 0xC4, b"\0\0\0"),
    "bytes before the frame header": before(CLEAN, 0xC0, b"junk"),
    "bytes before the scan": before(CLEAN, 0xDA, b"\x11\xff\0\x12"),
    "hundreds of bytes before a comment": before(with_segment(0xFE, b"hello"), 0xFE, b"\x55" * 608),
    "three bytes before each restart marker": before_restarts(RESTARTS, b"\x01\x02\x03"),
    "twelve bytes before each restart marker": before_restarts(RESTARTS, bytes(range(1, 13))),
    "sixty bytes before the end": before(CLEAN, 0xD9, b"\x31" * 60, SCAN),
    "a thousand zeros before the end": before(CLEAN, 0xD9, bytes(1000), SCAN),
    "junk in every place": before(
        before_restarts(before(RESTARTS, 0xDB, b"\x07"), b"\xaa" * 9), 0xD9, b"\xaa" * 20, SCAN
    ),
    "a part of an ICC profile missing": with_segment(0xE2, ICC),
    "a JFIF version of the future": patched(JFIF + 5, b"\x02"),
    "an Adobe transform that nobody knows": with_segment(0xEE, ADOBE).replace(b"JFIF\0", b"JUNK\0"),
    "scan parameters all zero": patched(SCAN + 11, b"\0\0\0"),
}
PROGRESSIVE = encode(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
HALF = (SCAN + len(CLEAN)) // 2
LATE = len(CLEAN) - 900
JUNK = before_restarts(RESTARTS, b"\x01\x02\x03")
FIFTH = JUNK.index(b"\xff\xd5") + 20
DAMAGED = {
    "half of the file": CLEAN[:HALF],
    "without its end marker": CLEAN[:-2],
    "a hole in the middle": CLEAN[:HALF] + CLEAN[HALF + 1400 :],
    "a hole near the end": CLEAN[:LATE] + CLEAN[LATE + 500 :],
    "a part twice": CLEAN[:HALF] + CLEAN[HALF - 1400 :],
    "a part twice, near the end": CLEAN[:LATE] + CLEAN[LATE - 500 :],
    "an end marker in the middle": CLEAN[:HALF] + CLEAN[-2:],
    "a restart marker lost": RESTARTS.replace(b"\xff\xd5", b"\x01\x02", 1),
    "two restart markers exchanged": RESTARTS.replace(b"\xff\xd5", b"\xff\xd6", 1),
    "junk before restart markers, and a hole between two of them": JUNK[:FIFTH] + JUNK[FIFTH + 300 :],
    "junk before restart markers, and a hole at the end": JUNK[:-400] + JUNK[-300:],
    "junk before restart markers, and one of them lost": JUNK.replace(b"\xff\xd5", b"\x01\x02", 1),
    "junk in the header, and a hole": before(CLEAN, 0xDB, b"\x07")[:HALF] + CLEAN[HALF + 1400 :],
    "a part of an ICC profile missing, and a hole": with_segment(0xE2, ICC)[:HALF] + CLEAN[HALF + 1400 :],
    "progressive, and hundreds of bytes before the end": before(PROGRESSIVE, 0xD9, b"\x31" * 300, 700),
    "progressive, and a hole": PROGRESSIVE[:HALF] + PROGRESSIVE[HALF + 900 :],
    "hundreds of bytes before the end": before(CLEAN, 0xD9, b"\x31" * 300, SCAN),
}


def cut(stager: CpuStager, data: bytes, box: PixelBox) -> Pixels:
    with stager.stage(parse_encoded(data), [box]) as frame:
        return frame.cut(box).copy()


@pytest.fixture(params=["part", "whole"])
def stager(request: pytest.FixtureRequest) -> CpuStager:
    """With the library that decodes a part of a picture, and without it."""
    if request.param == "whole":
        return CpuStager(JpegDecoder(None))
    library = find_turbojpeg()
    if library is None:
        pytest.skip("no library here decodes a part of a JPEG")
    return CpuStager(JpegDecoder(library))


@pytest.mark.parametrize("where", BOXES)
class TestWhereverTheBoxesAre:
    @pytest.mark.parametrize("what", WHOLE)
    def test_pixels_that_are_whole_are_taken(self, stager: CpuStager, what: str, where: str) -> None:
        """As every other decoder does it: they are those of the clean picture."""
        box = BOXES[where]
        expected = cv2.imdecode(np.frombuffer(CLEAN, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(
            cut(stager, WHOLE[what], box), np.asarray(expected)[box.y1 : box.y2, box.x1 : box.x2]
        )

    @pytest.mark.parametrize("what", DAMAGED)
    def test_damage_is_refused(self, stager: CpuStager, what: str, where: str) -> None:
        """Also where the boxes have nothing to do with it, and where junk comes first."""
        with pytest.raises(InvalidImage, match="JPEG"):
            cut(stager, DAMAGED[what], BOXES[where])


def test_damage_anywhere_has_one_verdict() -> None:
    """A thousand small damages: either all boxes are taken, by both decoders, or none is."""
    library = find_turbojpeg()
    stagers = [CpuStager(JpegDecoder(None)), *([] if library is None else [CpuStager(JpegDecoder(library))])]
    random = np.random.default_rng(11)
    files = [RESTARTS, CLEAN, JUNK, encode(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411)]
    seen = set()
    for _ in range(250):
        data = bytearray(files[random.integers(len(files))])
        at = int(random.integers(2, len(data)))
        match random.integers(3):
            case 0:
                data[at] = random.integers(256)
            case 1:
                del data[at : at + int(random.integers(1, 300))]
            case _:
                data[at:at] = random.integers(0, 256, int(random.integers(1, 90)), np.uint8).tobytes()
        try:
            image = parse_encoded(bytes(data))
        except ImageError:
            continue
        if (image.width, image.height) != (WIDTH, HEIGHT):
            continue
        verdicts = {taken(one, bytes(data), box) for one in stagers for box in BOXES.values()}
        assert len(verdicts) == 1
        seen |= verdicts
    assert seen == {True, False}


def taken(stager: CpuStager, data: bytes, box: PixelBox) -> bool:
    try:
        cut(stager, data, box)
    except ImageError:
        return False
    return True


def test_junk_before_the_end_of_a_progressive_picture() -> None:
    """It comes last, so it hides nothing."""
    odd = before(PROGRESSIVE, 0xD9, b"\x31" * 20, 700)
    for box in BOXES.values():
        np.testing.assert_array_equal(cut(CpuStager(), odd, box), cut(CpuStager(), PROGRESSIVE, box))


def test_what_cannot_be_checked_is_refused_in_words() -> None:
    """Junk between the scans of a progressive picture: no camera writes it, and damage could hide behind it."""
    odd = before(PROGRESSIVE, 0xDA, b"\x01" * 20, PROGRESSIVE.index(b"\xff\xda") + 2)
    with pytest.raises(InvalidImage, match="extraneous bytes before marker"):
        cut(CpuStager(), odd, BOXES["all"])


def rare(
    factors: tuple[int, ...], *, across: int = 6, down: int = 3, progressive: bool = False, restarts: int = 0
) -> tuple[bytes, int, int]:
    """A JPEG with these sampling factors, and its size: the blocks of a 4:4:4 one, dealt out in another way.

    The picture makes no sense, but its data is valid, since all components share one Huffman table.
    """
    in_unit = sum((one >> 4) * (one & 15) for one in factors)
    noise = np.random.default_rng(5).integers(0, 256, (8, across * down * in_unit // 3 * 8, 3), np.uint8)
    target = io.BytesIO()
    PilImage.fromarray(np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)).save(
        target,
        "JPEG",
        keep_rgb=True,
        quality=90,
        progressive=progressive,
        restart_marker_blocks=restarts * in_unit // 3,
    )
    data = bytearray(target.getvalue())
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    width, height = across * 8 * max(one >> 4 for one in factors), down * 8 * max(one & 15 for one in factors)
    data[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    data[at + 11 : at + 20 : 3] = bytes(factors)
    if restarts:
        at = data.index(b"\xff\xdd")
        data[at + 4 : at + 6] = restarts.to_bytes(2, "big")
    return bytes(data), width, height


def in_ycbcr(data: bytes) -> bytes:
    """The same data, with the names that components have in YCbCr."""
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    renamed = bytearray(data)
    renamed[frame + 10 : frame + 19 : 3] = renamed[scan + 5 : scan + 11 : 2] = b"\1\2\3"
    return bytes(renamed).replace(b"Adobe", b"NoOne")


@pytest.mark.needs("turbojpeg")
@pytest.mark.parametrize("factors", [(0x11, 0x11, 0x11), (0x22, 0x11, 0x11), (0x31, 0x11, 0x11)])
@pytest.mark.parametrize("colours", ["RGB", "YCbCr"])
def test_junk_in_other_codings(factors: tuple[int, ...], colours: str) -> None:
    """In RGB, and in a rare sampling: it is taken, and damage behind it is refused."""
    clean, width, height = rare(factors, across=9, down=9, restarts=6)
    if colours == "YCbCr":
        clean = in_ycbcr(clean)
    odd = before_restarts(clean, b"\x01" * 20)
    box = PixelBox(x1=width // 2, y1=0, x2=width, y2=height)
    np.testing.assert_array_equal(cut(CpuStager(), odd, box), cut(CpuStager(), clean, box))
    at = odd.index(b"\xff\xd3") + 8
    with pytest.raises(InvalidImage, match="JPEG"):
        cut(CpuStager(), odd[:at] + odd[at + 40 :], PixelBox(x1=0, y1=0, x2=8, y2=8))


def test_so_many_restart_markers_are_not_looked_at() -> None:
    """One for each block of a large picture: each costs a call of the decoder, so junk among them is refused."""
    noise = np.random.default_rng(1).integers(0, 256, (640, 640), np.uint8)
    clean = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
    CpuStager().stage(parse_encoded(clean), ()).close()
    with pytest.raises(InvalidImage, match="junk among 6399 restart markers; at most 4096 are looked at"):
        CpuStager().stage(parse_encoded(before_restarts(clean, b"\x01" * 20)), ())


RARE = {
    "4:1:0": (0x42, 0x11, 0x11),
    "4x1 with 2x1": (0x41, 0x21, 0x11),
    "4x1 with two of 2x1": (0x41, 0x21, 0x21),
    "2x4": (0x24, 0x11, 0x11),
    "3x1": (0x31, 0x11, 0x11),
    "1x3": (0x13, 0x11, 0x11),
    "finer chroma than luma": (0x11, 0x22, 0x22),
}


class TestRareSamplings:
    @pytest.mark.needs("turbojpeg")
    @pytest.mark.parametrize("name", RARE)
    def test_they_are_decoded_as_opencv_does(self, name: str) -> None:
        """Whole, whatever the boxes are."""
        data, width, height = rare(RARE[name])
        expected = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
        box = PixelBox(x1=width // 3, y1=height // 3, x2=width, y2=height)
        np.testing.assert_array_equal(cut(CpuStager(), data, box), expected[box.y1 :, box.x1 :])
        with pytest.raises(InvalidImage, match="decoded to its end"):
            cut(CpuStager(), data[:-300], PixelBox(x1=0, y1=0, x2=8, y2=8))

    def test_without_the_library_they_are_named(self) -> None:
        """With what to send, and what to install."""
        with pytest.raises(
            UnsupportedImage, match=r"rare chroma sampling 4x2, 1x1, 1x1; send 4:2:0, or install .*region"
        ):
            cut(CpuStager(JpegDecoder(None)), rare(RARE["4:1:0"])[0], PixelBox(x1=0, y1=0, x2=8, y2=8))

    @pytest.mark.needs("turbojpeg")
    def test_a_progressive_one_is_named(self) -> None:
        """The oldest library that is used has faults there."""
        data, _, _ = rare(RARE["3x1"], progressive=True)
        with pytest.raises(UnsupportedImage, match="3x1, 1x1, 1x1; a progressive JPEG of it is not decoded"):
            cut(CpuStager(), data, PixelBox(x1=0, y1=0, x2=8, y2=8))

    @pytest.mark.parametrize("factors", [(0x51, 0x11, 0x11), (0x11, 0x01, 0x11)])
    def test_factors_that_do_not_exist_are_damage(self, factors: tuple[int, ...]) -> None:
        """1 to 4 are valid."""
        data = CLEAN
        at = data.index(b"\xff\xc0")
        for index, factor in enumerate(factors):
            place = at + 11 + 3 * index
            data = data[:place] + bytes([factor]) + data[place + 1 :]
        for library in (None, find_turbojpeg()):
            with pytest.raises(InvalidImage, match="decoded to its end"):
                cut(CpuStager(JpegDecoder(library)), data, BOXES["all"])
