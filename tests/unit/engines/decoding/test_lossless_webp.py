"""Lossless WebP: what libwebp writes is decoded unchanged; what makes it build tables without end is refused before."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.lossless_webp import MAX_GROUPS, is_read, tables_bytes
from reidstream_engines.errors import ImageError, InvalidImage, UnsupportedImage
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import EncodedImage
from reidstream_engines.jpeg_header import MAX_SEGMENTS

Bytes = npt.NDArray[np.uint8]
_MIB = 2**20


class Bits:
    """Written as VP8L reads them, the lowest first."""

    def __init__(self) -> None:
        self.value = self.count = 0

    def put(self, value: int, count: int) -> None:
        self.value |= value << self.count
        self.count += count

    def bytes(self) -> bytes:
        return self.value.to_bytes(-(-self.count // 8) + 8, "little")


def one_symbol(bits: Bits, symbol: int = 0) -> None:
    for value, count in ((1, 1), (0, 1), (1, 1), (symbol, 8)):
        bits.put(value, count)


def transform(bits: Bits, kind: int, block_bits: int) -> None:
    """Of one value for all blocks."""
    for value, count in ((1, 1), (kind, 2), (block_bits - 2, 3), (0, 1)):
        bits.put(value, count)
    for _ in range(5):
        one_symbol(bits)


def groups(last: int, listed: int, *, transforms: tuple[int, ...] = ()) -> bytes:
    """A stream whose only block names the group `last`, with so many groups of one colour."""
    bits = Bits()
    for kind in transforms:
        transform(bits, kind, 4)
    bits.put(0, 1)  # no more transforms
    bits.put(0, 1)  # no cache
    bits.put(1, 1)  # blocks have groups,
    bits.put(7, 3)  # and are 512 pixels wide
    bits.put(0, 1)  # no cache for these
    one_symbol(bits, last & 255)
    one_symbol(bits, last >> 8)
    for _ in range(3):
        one_symbol(bits)
    short = Bits()
    for _ in range(listed * 5):
        short.put(1, 4)
    return _joined(bits, short).bytes()


def _joined(first: Bits, second: Bits) -> Bits:
    first.put(second.value, second.count)
    return first


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless(stream: bytes, width: int = 512, height: int = 512) -> bytes:
    return riff(chunk(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + stream))


def photo() -> Bytes:
    """Smooth, with edges and some noise."""
    random = np.random.default_rng(3)
    small = random.integers(0, 256, (12, 16, 3), np.uint8)
    pixels = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.asarray(np.clip(pixels + random.integers(-6, 7, pixels.shape), 0, 255), np.uint8)


def drawing() -> Bytes:
    pixels = np.full((600, 800, 3), 255, np.uint8)
    for number in range(40):
        cv2.circle(pixels, (number * 19, number * 37 % 600), 30, (number * 6, 255 - number * 5, 90), -1)
    return pixels


def few_colours() -> Bytes:
    return np.random.default_rng(5).integers(0, 2, (500, 1500, 3), np.uint8) * np.uint8(255)


SLOWEST = 6
PICTURES = {"photo": photo(), "drawing": drawing(), "few colours": few_colours(), "crop": photo()[:256, :128]}


def encoded(pixels: Bytes, method: int, quality: int) -> EncodedImage:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, ::-1]).save(file, "WEBP", lossless=True, method=method, quality=quality)
    return parse_encoded(file.getvalue())


@pytest.mark.parametrize("quality", [0, 100])
@pytest.mark.parametrize("method", range(7))
@pytest.mark.parametrize("kind", PICTURES)
def test_what_libwebp_writes_is_decoded_unchanged(kind: str, method: int, quality: int) -> None:
    """With every setting, also where the groups are looked at first. The last method takes seconds for a large one."""
    pixels = PICTURES[kind] if method < SLOWEST or not quality else PICTURES[kind][:96, :96]
    image = encoded(pixels, method, quality)
    assert image.lossless is not None
    np.testing.assert_array_equal(CpuStager().stage(image, ()).pixels, pixels)


def test_the_groups_of_some_of_these_are_looked_at() -> None:
    """Of a large file they are, of a small one they need not be."""
    large, small = encoded(photo(), 4, 75), encoded(photo()[:128, :64], 4, 75)
    assert large.lossless is not None
    assert small.lossless is not None
    assert is_read(640, 480, large.lossless)
    assert not is_read(64, 128, small.lossless)


@pytest.mark.parametrize("transforms", [(), (0,), (0, 1), (1, 0)])
def test_a_group_too_many_is_refused(transforms: tuple[int, ...]) -> None:
    """Whatever transforms stand before it, and however small the picture; one group less is decoded."""
    for side in (16, 512):
        stream = groups(MAX_GROUPS, 9000, transforms=transforms)
        with pytest.raises(UnsupportedImage, match=f"more than {MAX_GROUPS} groups .* as a PNG"):
            CpuStager().stage(parse_encoded(lossless(stream, side, side)), ())
        stream = groups(MAX_GROUPS - 1, 9000, transforms=transforms)
        CpuStager().stage(parse_encoded(lossless(stream, side, side)), ()).close()


def test_the_alpha_of_a_lossy_picture_is_one_too() -> None:
    """It is decoded, though nothing of it is used."""
    lossy = cv2.imencode(".webp", photo(), (cv2.IMWRITE_WEBP_QUALITY, 80))[1].tobytes()
    extended = chunk(b"VP8X", b"\x10\0\0\0" + struct.pack("<I", 639)[:3] + struct.pack("<I", 479)[:3])
    alpha = chunk(b"ALPH", b"\1" + groups(MAX_GROUPS, 9000))
    image = parse_encoded(riff(extended, chunk(b"ALPH", b"\0"), alpha, lossy[12:]))
    assert image.lossless is not None
    assert image.lossless.alpha
    with pytest.raises(UnsupportedImage, match="groups"):
        CpuStager().stage(image, ())


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_one_is_refused_or_decoded(seed: int) -> None:
    """Nothing else happens, wherever the damage is."""
    random = np.random.default_rng(seed)
    data = bytearray(encoded(photo(), 4, 75).data)
    for at in random.integers(25, 400, 5):
        data[at] = random.integers(256)
    try:
        CpuStager().stage(parse_encoded(bytes(data)), ()).close()
    except ImageError as error:
        assert "WebP" in str(error) or "WEBP" in str(error)  # noqa: PT017 - or it is decoded


def test_one_that_ends_in_its_transforms_is_refused() -> None:
    """Before libwebp sees it."""
    data = encoded(photo(), 4, 75).data
    broken = lossless(data[25:60], 640, 480)
    with pytest.raises(InvalidImage, match="truncated"):
        CpuStager().stage(parse_encoded(broken), ())


def test_tables_are_counted() -> None:
    """As many as the file has room for, at most as many as are decoded: none for a lossy one."""
    little, much = parse_encoded(lossless(groups(0, 10))), parse_encoded(lossless(groups(9, 65_536)))
    assert little.lossless is not None
    assert much.lossless is not None
    assert tables_bytes(512, 512, little.lossless) < _MIB
    assert 6 * _MIB < tables_bytes(512, 512, much.lossless) <= 20 * _MIB
    stager = CpuStager()
    assert stager.staged_bytes(much, ()) - stager.staged_bytes(little, ()) > 5 * _MIB
    assert stager.staging_ns(much, ()) > 2 * stager.staging_ns(little, ())


def test_chunks_without_end_are_refused() -> None:
    """They are counted as other headers' are."""
    extended = chunk(b"VP8X", bytes(10))
    with pytest.raises(InvalidImage, match=f"no picture within {MAX_SEGMENTS} chunks"):
        parse_encoded(riff(extended, chunk(b"ABCD", b"") * MAX_SEGMENTS))
