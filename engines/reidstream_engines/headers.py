"""Reads the format and the size of a picture from its first bytes, before anything is decoded or allocated.

Why a parser of our own: libraries allocate memory while they open a file (Pillow also checks sizes against a global
setting, and warns). Here a claim of 100,000 x 100,000 pixels must cost nothing.

Trap: every length in a file may be hostile. Nothing is read beyond the data, each step moves forward, and the number of
steps is bounded: this runs on the event loop, and 16 MB of empty JPEG segments would stop it for seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace

from typing_extensions import assert_never

from .errors import InvalidImage, UnsupportedImage
from .exif import read_exif
from .header_steps import HeaderSteps
from .image import ColorMatrix, ColorRange, EncodedImage, ImageFormat, Lossless, Orientation, PixelFormat, RawImage
from .jpeg_header import MAX_SEGMENTS, parse_jpeg
from .other_formats import refuse_unknown

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_AFTER_HEADER = 33  # signature, and IHDR's length, type, 13 bytes and checksum
_PNG_DEPTHS = (1, 2, 4, 8)
_MAX_PNG_CHUNKS = 8_192
_WEBP_EXIF = 0x08
_VP8L_HEADER, _ALPHA_METHOD = 5, 0x03
_CHANNELS: Mapping[PixelFormat, int] = {PixelFormat.BGR: 3, PixelFormat.RGB: 3, PixelFormat.GRAY: 1}


def parse_encoded(data: bytes, *, upright: bool = False, steps: HeaderSteps | None = None) -> EncodedImage:
    """Format and size of a compressed picture, from its bytes. Takes a few milliseconds at most.

    `upright`: it is to be turned as its EXIF says; width and height are then those of the turned picture.
    `steps`: counts what is done, also if it raises.

    Raises InvalidImage (empty, garbage, or a header that is damaged, too short or claims no pixels) or UnsupportedImage
    (a format or a kind that is not supported). The rest of the picture may still fail to decode.
    """
    image = _parse(data, upright, HeaderSteps() if steps is None else steps)
    if not upright or image.orientation is Orientation.AS_STORED:
        return image
    width, height = image.width, image.height
    if image.orientation.swaps_sides:
        width, height = height, width
    return replace(image, width=width, height=height, upright=True)


def _parse(data: bytes, upright: bool, steps: HeaderSteps) -> EncodedImage:  # noqa: FBT001 - private
    if not data:
        raise InvalidImage("the image is empty")
    if data.startswith(b"\xff\xd8"):
        return parse_jpeg(data, steps)
    if data.startswith(_PNG_SIGNATURE):
        image_format, (width, height) = ImageFormat.PNG, _png_size(data, steps)
        exif = _png_exif(data, steps, behind_pixels=upright)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        image_format, (width, height), exif = ImageFormat.WEBP, _webp_size(data), _webp_exif(data, steps)
    else:
        refuse_unknown(data)
    if not (width and height):
        raise InvalidImage(f"the {image_format.name} header claims {width} x {height} pixels; both must be at least 1")
    orientation = Orientation.AS_STORED if exif is None else read_exif(data, exif, steps)
    return EncodedImage(
        data=data,
        format=image_format,
        width=width,
        height=height,
        orientation=orientation,
        lossless=_webp_lossless(data, steps) if image_format is ImageFormat.WEBP else None,
    )


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
    """Check a raw picture's layout against its length. Takes a microsecond or two, and copies nothing.

    0 means for `stride`: rows without gaps; for `chroma_stride`: as luma; for `chroma_offset`: right after the luma
    plane. Raises InvalidImage, with the numbers. The RawImage has the real numbers; all its rows lie within the data.
    """
    if width < 1 or height < 1:
        raise InvalidImage(f"the raw image has {width} x {height} pixels; both must be at least 1")
    if min(stride, offset, chroma_stride, chroma_offset) < 0:
        raise InvalidImage(
            f"strides and offsets of a raw image must be at least 0; they are stride {stride}, offset {offset}, "
            f"chroma_stride {chroma_stride}, chroma_offset {chroma_offset}"
        )
    match format:
        case PixelFormat.BGR | PixelFormat.RGB | PixelFormat.GRAY:
            row = width * _CHANNELS[format]
            stride = _plane(data, f"{format.name} pixels", row=row, rows=height, stride=stride, offset=offset)
        case PixelFormat.NV12:
            if width % 2 or height % 2:
                raise InvalidImage(f"the NV12 image has {width} x {height} pixels; both must be even")
            stride = _plane(data, "NV12 luma", row=width, rows=height, stride=stride, offset=offset)
            chroma_offset = chroma_offset or offset + stride * height
            chroma_stride = _plane(
                data, "NV12 chroma", row=width, rows=height // 2, stride=chroma_stride or stride, offset=chroma_offset
            )
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


def _plane(data: bytes | memoryview, what: str, *, row: int, rows: int, stride: int, offset: int) -> int:
    """Check that `rows` rows of `row` bytes lie in the data; returns the stride.

    The stride of a single row does not matter. It is set to the row's length, so that no number exceeds the data's
    length.
    """
    if stride and stride < row:
        raise InvalidImage(f"{what}: stride {stride} is shorter than a row of {row} bytes")
    if not stride or rows == 1:
        stride = row
    needed = offset + stride * (rows - 1) + row
    given = len(data) if isinstance(data, bytes) else data.nbytes
    if given < needed:
        raise InvalidImage(
            f"{what}: {needed} bytes are needed (offset {offset}, {rows} rows, stride {stride}), {given} are given"
        )
    return stride


def _png_size(data: bytes, steps: HeaderSteps) -> tuple[int, int]:
    """IHDR is the first chunk (PNG, 11.2.1); `acTL` before the pixels makes it an animation (11.3.6.1)."""
    if len(data) < _PNG_AFTER_HEADER:
        raise InvalidImage("the PNG is truncated: it ends within its header")
    if data[8:16] != b"\x00\x00\x00\x0dIHDR":
        raise InvalidImage("the PNG does not begin with its header")
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    if depth == 16:  # noqa: PLR2004 - bits
        raise UnsupportedImage("the PNG has 16 bits a channel; 8 are supported")
    if depth not in _PNG_DEPTHS:
        raise InvalidImage(f"the PNG header claims {depth} bits a channel; 1, 2, 4 and 8 are valid here")
    at = _PNG_AFTER_HEADER
    for _ in steps.up_to(MAX_SEGMENTS):
        kind = data[at + 4 : at + 8]
        if kind == b"acTL":
            raise UnsupportedImage("the PNG is animated; send one picture")
        if kind == b"IDAT" or at + 8 > len(data):
            return width, height
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    raise InvalidImage(f"the PNG has no pixels within {MAX_SEGMENTS} chunks")


def _webp_size(data: bytes) -> tuple[int, int]:
    """From the first chunk: VP8, VP8L or VP8X (RFC 9649, 2.5 to 2.7 and 3.4; RFC 6386, 9.1)."""
    kind = data[12:16]
    if kind not in (b"VP8 ", b"VP8L", b"VP8X"):
        raise InvalidImage(f"the WebP begins with an unknown chunk {kind!r}")
    if len(data) < (25 if kind == b"VP8L" else 30):
        raise InvalidImage("the WebP is truncated: it ends within its header")
    if kind == b"VP8 ":
        if data[20] & 1 or data[23:26] != b"\x9d\x01\x2a":
            raise InvalidImage("the WebP is damaged: it does not begin with a key frame")
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        if data[20] != 0x2F or bits >> 29:  # noqa: PLR2004 - the signature; the version
            raise InvalidImage("the WebP is damaged: its lossless header is not valid")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[20] & 0x02:
        raise UnsupportedImage("the WebP is animated; send one picture")
    return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1


def _webp_lossless(data: bytes, steps: HeaderSteps) -> Lossless | None:
    """The picture, or the alpha of a lossy one; of several alphas libwebp takes the last before the picture."""
    if data[12:16] == b"VP8 ":
        return None
    at, alpha = 12, None
    for _ in steps.up_to(MAX_SEGMENTS):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start = at + 8
        end = min(start + length, len(data))
        if kind == b"VP8L":
            return Lossless(start=start + _VP8L_HEADER, end=end, alpha=False)
        if kind == b"VP8 " or len(kind) < len(b"VP8 "):
            return alpha
        if kind == b"ALPH":
            compressed = start < end and data[start] & _ALPHA_METHOD
            alpha = Lossless(start=start + 1, end=end, alpha=True) if compressed else None
        at = start + length + length % 2
    raise InvalidImage(f"the WebP has no picture within {MAX_SEGMENTS} chunks")


def _png_exif(data: bytes, steps: HeaderSteps, *, behind_pixels: bool) -> int | None:
    """Where the EXIF record begins; None if there is none. It is looked for behind the pixels only if it is needed."""
    at = _PNG_AFTER_HEADER
    for _ in steps.up_to(_MAX_PNG_CHUNKS if behind_pixels else MAX_SEGMENTS):
        kind = data[at + 4 : at + 8]
        if kind == b"eXIf":
            return at + 8
        if len(kind) < len(b"eXIf") or kind == b"IEND" or (kind == b"IDAT" and not behind_pixels):
            return None
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return None


def _webp_exif(data: bytes, steps: HeaderSteps) -> int | None:
    """Where the EXIF record begins (RFC 9649, 2.7.1.5); None if there is none. Some writers put JPEG's mark before."""
    if data[12:16] != b"VP8X" or not data[20] & _WEBP_EXIF:
        return None
    at = 12
    for _ in steps.up_to(MAX_SEGMENTS):
        kind = data[at : at + 4]
        if kind == b"EXIF":
            return at + 14 if data[at + 8 : at + 14] == b"Exif\0\0" else at + 8
        if len(kind) < len(b"EXIF"):
            return None
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return None
