"""What it costs to bring a picture to where crops are taken, from its header: nanoseconds of one core, and memory.

Why before the work: frames share the cores fairly only if a frame's cost is known when it is queued. Two cameras with
PNGs of 40 megapixels in 117 kB look small by their bytes and by their boxes.

How the numbers were found: best of five by the thread's own clock, on the kind of core that serves, with the frames of
the golden tests as they are and encoded anew (JPEG at qualities 30 to 95, grey, 4:2:0, 4:4:4, progressive; PNG and WebP
at two settings each), and with one colour of 8000x5000. The estimate is within a factor of two of all of them. It is
for fairness between cameras on one machine, so it matters little how fast that machine is.

Trap: an estimate may be wrong for a picture that somebody made for it to be wrong. What a frame really cost is measured
afterwards.
"""

from __future__ import annotations

from typing_extensions import assert_never

from reidstream_engines.image import EncodedImage, ImageFormat

from .lossless_webp import READING_NS, is_read, tables_bytes

A_PICTURE = 20_000
"""For any picture: a decoder is made and asked."""
ON_DEVICE = 50_000
"""To hand a picture to a device's decoder: a share of a batch."""

_JPEG_BYTE = 4.5  # a byte of Huffman codes
_JPEG_STORED = 0.5  # a pixel of the picture, wherever the boxes are
_JPEG_DECODED = 1.0  # a pixel that boxes need: the inverse transform, upsampling, colours
_SCANS_BYTE = 20.0  # where several scans refine the same coefficients
_SCANS_STORED = 0.3  # a pixel in each scan, even if the scan says nothing of it
_PNG_BYTE, _PNG_PIXEL = 5.0, 11.0
_WEBP_BYTE, _LOSSLESS_BYTE, _WEBP_PIXEL = 50.0, 14.0, 3.5
_TURNED = 0.5
_WHOLE_PIXEL = 4  # bytes: OpenCV decodes PNG and WebP apart from the result, with their alpha
_TURNED_PIXEL = 6  # bytes: the picture as it is stored, and that with its sides changed
_COPIED_BYTE = 0.2
_NV12_PIXEL = 0.25


def decoding_ns(image: EncodedImage, pixels: int) -> int:
    """To decode `pixels` of a compressed picture; of PNG and WebP it is always the whole one. Under a microsecond."""
    size, stored = len(image.data), image.width * image.height
    match image.format:
        case ImageFormat.JPEG if image.scans == 1:
            cost = size * _JPEG_BYTE + stored * _JPEG_STORED + pixels * _JPEG_DECODED
        case ImageFormat.JPEG:
            per_pixel = _JPEG_STORED + image.scans * _SCANS_STORED
            cost = size * _SCANS_BYTE + stored * per_pixel + pixels * _JPEG_DECODED
        case ImageFormat.PNG:
            cost = size * _PNG_BYTE + stored * _PNG_PIXEL
        case ImageFormat.WEBP:
            part = image.lossless
            a_byte = _WEBP_BYTE if part is None or part.alpha else _LOSSLESS_BYTE
            cost = size * a_byte + stored * _WEBP_PIXEL
            if part is not None and is_read(image.width, image.height, part):
                cost += READING_NS
        case _:
            assert_never(image.format)
    if image.upright:
        cost += pixels * _TURNED
    return A_PICTURE + int(cost)


def scratch_bytes(image: EncodedImage, pixels: int) -> int:
    """What decoding needs for a while beside the `pixels` that stay, measured at 40 megapixels."""
    scratch = image.coefficient_bytes if image.format is ImageFormat.JPEG else image.width * image.height * _WHOLE_PIXEL
    if image.lossless is not None:
        scratch += tables_bytes(image.width, image.height, image.lossless)
    return scratch + pixels * _TURNED_PIXEL if image.upright else scratch


def device_ns(image: EncodedImage) -> int:
    """To have a device decode a compressed picture: its bytes are read here once."""
    return ON_DEVICE + int(len(image.data) * _COPIED_BYTE)


def copying_ns(size: int) -> int:
    """To copy `size` bytes of pixels."""
    return A_PICTURE + int(size * _COPIED_BYTE)


def nv12_ns(pixels: int) -> int:
    """To convert `pixels` of NV12."""
    return A_PICTURE + int(pixels * _NV12_PIXEL)
