"""Names what was sent instead of a JPEG, PNG or WebP, and says what to do next.

Why so many: the usual mistakes are a page instead of a picture, base64 that nobody decoded, and a video. "Unknown
format" sends people to the wrong place; a name sends them to the right one. Trap: all of this runs on hostile bytes, on
the event loop: only the first `_LOOK` bytes are looked at.
"""

from __future__ import annotations

import re
import string
from typing import NamedTuple, NoReturn

from .errors import InvalidImage, UnsupportedImage

_LOOK = 4096
_SEND = "send JPEG, PNG or WebP, or raw pixels"
_FRAMES = "decode it first, and send its frames as JPEG or as raw pixels"
_UNPACK = "unpack it first, and send the picture's own bytes"
_TO_BYTES = "send the picture's bytes as they are in its file"


class _Kind(NamedTuple):
    at: int
    magic: bytes
    name: str
    next_step: str


def _pictures(*kinds: tuple[int, bytes, str]) -> tuple[_Kind, ...]:
    return tuple(_Kind(at, magic, f"{name} images are not supported", _SEND) for at, magic, name in kinds)


def _videos(*kinds: tuple[int, bytes, str]) -> tuple[_Kind, ...]:
    return tuple(_Kind(at, magic, f"the data is {name}, not one picture", _FRAMES) for at, magic, name in kinds)


def _packed(*kinds: tuple[int, bytes, str]) -> tuple[_Kind, ...]:
    return tuple(_Kind(at, magic, f"the data is {name}", _UNPACK) for at, magic, name in kinds)


_KINDS = (
    *_pictures(
        (0, b"GIF8", "GIF"),
        (0, b"BM", "BMP"),
        (0, b"II*\x00", "TIFF"),
        (0, b"MM\x00*", "TIFF"),
        (0, b"II+\x00", "TIFF"),
        (4, b"ftypavi", "AVIF"),
        (4, b"ftyphe", "HEIC"),
        (4, b"ftypmif1", "HEIF"),
        (4, b"ftypmsf1", "HEIF"),
        (4, b"ftypcrx", "Canon CR3"),
        (0, b"\xff\x0a", "JPEG XL"),
        (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
        (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
        (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
        (0, b"%PDF", "PDF"),
        (0, b"8BPS", "Photoshop"),
        (0, b"\x76\x2f\x31\x01", "OpenEXR"),
        (0, b"qoif", "QOI"),
        (0, b"\x00\x00\x01\x00", "ICO"),
        (128, b"DICM", "DICOM"),
    ),
    *_videos(
        (4, b"ftyp", "an MP4 or MOV file"),
        (8, b"AVI LIST", "an AVI file"),
        (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
        (0, b"FLV\x01", "an FLV file"),
        (0, b"DKIF", "an IVF file"),
        (0, b"\x00\x00\x01\xba", "an MPEG program stream"),
        (0, b"\x00\x00\x01\xb3", "MPEG-2 video"),
        (188, b"\x47", "an MPEG transport stream"),
    ),
    *_packed(
        (0, b"\x1f\x8b", "compressed with gzip"),
        (0, b"PK\x03\x04", "a ZIP file (or an .npz, or a PyTorch file)"),
        (0, b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (0, b"7z\xbc\xaf", "a 7z file"),
        (0, b"Rar!", "a RAR file"),
    ),
    _Kind(0, b"\x93NUMPY", "the data is a NumPy file (.npy)", "send its array as raw pixels"),
    _Kind(0, b"\x80\x04\x95", "the data is a Python pickle", "send the picture inside it, as JPEG or as raw pixels"),
)
_START_CODE = re.compile(rb"\x00?\x00\x00\x01(..)", re.DOTALL)
_H265 = (b"\x40\x01", b"\x42\x01", b"\x44\x01", b"\x46\x01", b"\x4e\x01", b"\x26\x01", b"\x02\x01")
_H264 = (1, 5, 6, 7, 8, 9)  # slices, SEI, parameter sets, delimiter
_TRANSPORT_SYNC = 0x47

_BASE64_STEP = f"decode it (in Python: base64.b64decode), and {_TO_BYTES}"
_TEXTS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), name, next_step)
    for pattern, name, next_step in (
        (rb"/9j/", "a JPEG in base64", _BASE64_STEP),
        (rb"iVBORw0KGgo", "a PNG in base64", _BASE64_STEP),
        (rb"UklGR", "a WebP in base64", _BASE64_STEP),
        (rb"data:", "a data URL", f"take what follows 'base64,': {_BASE64_STEP}"),
        (rb"(0x)?ffd8ff[0-9a-f]+", "a JPEG in hexadecimal", _TO_BYTES),
        (rb"b['\"]", "bytes that Python has printed", f"do not use str() or repr() on them; {_TO_BYTES}"),
        (rb".*<svg\b", "an SVG drawing", "draw it to pixels first, and send those"),
        (
            rb"<(!doctype html|html|head|body|script)",
            "an HTML page, not a picture",
            "look at the address that it came from: often it is a login page or an error message",
        ),
        (rb"<", "XML, not a picture", "look at where it came from: often it is an error message"),
        (rb"HTTP/\d", "an HTTP answer with its header", "check its status, and send only what follows the header"),
        (
            rb"[{\[]",
            "JSON, not a picture",
            "send the picture in it (decode base64 first), or read its error message",
        ),
        (rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "run git lfs pull where it came from"),
        (rb"(https?|rtsps?|file|s3)://", "an address, not a picture", "fetch the picture, and send its bytes"),
        (
            rb"[^\n]{1,300}\.(jpe?g|png|webp|bmp|mp4)\s*$",
            "the name of a file",
            "send the bytes in the file (in Python: pathlib.Path(name).read_bytes())",
        ),
    )
)
_TEXT = string.printable.encode()
_UTF8_MARK = b"\xef\xbb\xbf"
_COMMON_SIZES = ((320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))


def refuse_unknown(data: bytes) -> NoReturn:
    """Raise UnsupportedImage for a known kind of picture, video or archive, and InvalidImage for all else.

    `data`: bytes, at least one, that are no JPEG, PNG or WebP.
    """
    head = data[:_LOOK]
    for kind in _KINDS:
        if head[kind.at : kind.at + len(kind.magic)] == kind.magic and not _by_chance(kind, head):
            raise UnsupportedImage(f"{kind.name}; {kind.next_step}")
    if (name := _video_codec(head)) is not None:
        raise UnsupportedImage(f"the data is {name} video, not one picture; {_FRAMES}")
    text = head.removeprefix(_UTF8_MARK).lstrip()
    if text and not text.strip(_TEXT):
        _refuse_text(text)
    for mark, name in ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n", "PNG")):
        if (at := head.find(mark)) > 0:
            raise InvalidImage(f"the image has {at} bytes before a {name} begins; send the bytes from there on")
    if not head.strip(b"\0"):
        raise InvalidImage(f"the image begins with {len(head)} zeros: a buffer that nothing was written to; {_SEND}")
    raise InvalidImage(
        f"the image has an unknown format (it begins with {data[:8].hex(' ')}); {_as_raw_pixels(len(data))}{_SEND}"
    )


def _by_chance(kind: _Kind, head: bytes) -> bool:
    """A transport stream's mark is one byte; it has one in every packet."""
    return kind.magic == b"\x47" and not all(head[at] == _TRANSPORT_SYNC for at in range(0, len(head), 188))


def _video_codec(head: bytes) -> str | None:
    found = _START_CODE.match(head)
    if found is None:
        return None
    if found[1] in _H265:
        return "H.265"
    return "H.264" if found[1][0] < 0x80 and found[1][0] & 0x1F in _H264 else None  # noqa: PLR2004 - its zero bit


def _refuse_text(text: bytes) -> NoReturn:
    for pattern, name, next_step in _TEXTS:
        if pattern.match(text) is not None:
            raise InvalidImage(f"the image is {name}; {next_step}")
    raise InvalidImage(f"the image is text, not a picture; {_SEND}")


def _as_raw_pixels(size: int) -> str:
    """A guess from the length, for bytes that say nothing."""
    for halves, what in ((6, "BGR or RGB"), (3, "NV12"), (8, "BGRA or RGBA"), (2, "grey")):
        for width, height in _COMMON_SIZES:
            if size * 2 == width * height * halves:
                return f"{size} bytes is what {width} x {height} pixels in {what} have: send those as a raw image; or "
    return ""
