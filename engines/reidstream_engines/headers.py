"""What a picture claims to be, from its first bytes: format and size, before anything is decoded or allocated.

Why a parser of our own: libraries allocate while they open a file, or check sizes against a global setting; a claim of
100,000 x 100,000 pixels must cost nothing here. Trap: every length in a file is hostile. Nothing is read beyond the
data, and each step moves forward.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NoReturn

from typing_extensions import assert_never

from .errors import InvalidImage, UnsupportedImage
from .image import ColorMatrix, ColorRange, EncodedImage, ImageFormat, PixelFormat, RawImage

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BASELINE_SOFS = (0xC0, 0xC1, 0xC2)
_FILL = 0xFF
_WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xD9))
_OTHER_SOFS: Mapping[int, str] = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "arithmetic-coded lossless",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "hierarchical",
}
_KNOWN_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
)
_SUPPORTED = "send JPEG, PNG or WebP, or raw pixels"
_CHANNELS: Mapping[PixelFormat, int] = {PixelFormat.BGR: 3, PixelFormat.RGB: 3, PixelFormat.GRAY: 1}


def parse_encoded(data: bytes) -> EncodedImage:
    """Format and size of a compressed picture.

    Raises InvalidImage (empty, garbage, or a header that ends too early or claims no pixels) or UnsupportedImage (a format or a
    kind that is refused).
    """
    if not data:
        raise InvalidImage("the image is empty")
    if data.startswith(b"\xff\xd8"):
        image_format, (width, height) = ImageFormat.JPEG, _jpeg_size(data)
    elif data.startswith(_PNG_SIGNATURE):
        image_format, (width, height) = ImageFormat.PNG, _png_size(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        image_format, (width, height) = ImageFormat.WEBP, _webp_size(data)
    else:
        _refuse_unknown(data)
    if not (width and height):
        raise InvalidImage(f"the {image_format.value} header claims {width} x {height} pixels")
    return EncodedImage(data=data, format=image_format, width=width, height=height)


def parse_raw(
    *,
    data: bytes | memoryview,
    format: PixelFormat,  # noqa: A002 - the word of the wire
    width: int,
    height: int,
    stride: int,
    offset: int,
    chroma_stride: int,
    chroma_offset: int,
    color_matrix: ColorMatrix,
    color_range: ColorRange,
) -> RawImage:
    """Check a raw picture's layout against its length; 0 in strides and offsets stands for a packed picture.

    Raises InvalidImage, with the numbers.
    """
    if width < 1 or height < 1:
        raise InvalidImage(f"raw image of {width} x {height} pixels; both must be at least 1")
    name = format.value.upper()
    match format:
        case PixelFormat.BGR | PixelFormat.RGB | PixelFormat.GRAY:
            stride = _plane(data, f"{name} pixels", (width * _CHANNELS[format], height), stride, offset)
        case PixelFormat.NV12:
            if width % 2 or height % 2:
                raise InvalidImage(f"NV12 image of {width} x {height} pixels; both must be even")
            stride = _plane(data, "NV12 luma", (width, height), stride, offset)
            chroma_stride = chroma_stride or stride
            chroma_offset = chroma_offset or offset + stride * height
            _plane(data, "NV12 chroma", (width, height // 2), chroma_stride, chroma_offset)
        case _:
            assert_never(format)
    return RawImage(
        data=data,
        format=format,
        width=width,
        height=height,
        stride=stride,
        offset=offset,
        chroma_stride=chroma_stride,
        chroma_offset=chroma_offset,
        color_matrix=color_matrix,
        color_range=color_range,
    )


def _plane(data: bytes | memoryview, what: str, size: tuple[int, int], stride: int, offset: int) -> int:
    """Check that a plane of `size` (bytes a row, rows) lies in the data; returns the stride."""
    row, rows = size
    stride = stride or row
    if stride < row:
        raise InvalidImage(f"{what}: stride {stride} is shorter than a row of {row} bytes")
    needed = offset + stride * (rows - 1) + row
    if len(data) < needed:
        raise InvalidImage(f"{what}: {needed} bytes are needed (offset {offset}, stride {stride}), {len(data)} given")
    return stride


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the frame header (ITU-T T.81, B.2)."""
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise InvalidImage("the JPEG ends before its frame header")
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in (0xD9, 0xDA):
            raise InvalidImage("the JPEG has no frame header before its image data")
        elif marker in _BASELINE_SOFS:
            return _jpeg_frame(data, at)
        elif marker in _OTHER_SOFS:
            raise UnsupportedImage(f"the JPEG is {_OTHER_SOFS[marker]}; send a baseline or progressive one")
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))


def _jpeg_frame(data: bytes, at: int) -> tuple[int, int]:
    if at + 10 > len(data):
        raise InvalidImage("the JPEG ends within its frame header")
    precision, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
    if precision != 8:  # noqa: PLR2004 - bits a sample
        raise UnsupportedImage(f"the JPEG has {precision} bits a sample; 8 are supported")
    if components not in (1, 3):
        kind = "CMYK" if components == 4 else "unknown"  # noqa: PLR2004 - components
        raise UnsupportedImage(f"the JPEG has {components} components ({kind}); grey and colour are supported")
    return width, height


def _png_size(data: bytes) -> tuple[int, int]:
    """IHDR is the first chunk (PNG, 11.2.1); `acTL` before the pixels makes it an animation."""
    if len(data) < 33 or data[12:16] != b"IHDR":  # noqa: PLR2004 - signature, length, type, 13 bytes, checksum
        raise InvalidImage("the PNG ends within its header")
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    if depth == 16:  # noqa: PLR2004 - bits
        raise UnsupportedImage("the PNG has 16 bits a channel; 8 are supported")
    at = 33
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]) != b"IDAT":
        if kind == b"acTL":
            raise UnsupportedImage("the PNG is animated; send one picture")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    """The first chunk says it: VP8, VP8L or VP8X (RFC 9649, 2.5 to 2.7)."""
    if len(data) < 30:  # noqa: PLR2004 - the longest of the three headers
        raise InvalidImage("the WebP ends within its header")
    match data[12:16]:
        case b"VP8 ":
            if data[23:26] != b"\x9d\x01\x2a":
                raise InvalidImage("the WebP has no key frame")
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            if data[20] & 0x02:
                raise UnsupportedImage("the WebP is animated; send one picture")
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case other:
            raise InvalidImage(f"the WebP begins with an unknown chunk {other!r}")


def _refuse_unknown(data: bytes) -> NoReturn:
    for at, magic, name in _KNOWN_OTHERS:
        if data[at : at + len(magic)] == magic:
            raise UnsupportedImage(f"{name} images are not supported; {_SUPPORTED}")
    raise InvalidImage(f"the image is of no known format (it begins with {data[:8].hex(' ')}); {_SUPPORTED}")
