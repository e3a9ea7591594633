"""The messages that attacks send, made byte by byte where a library would refuse to, or would be slow.

Trap: an attacker is bounded too. What is large is made once and sent by all cameras.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from functools import cache
from typing import Final

import cv2
import numpy as np

from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2

WIDTH, HEIGHT = 8000, 5000
"""40 megapixels: the most that a server takes unless it is told otherwise."""

_LONGEST_RUN: Final = 32_767


def opening(
    camera: str,
    *,
    window: int = 0,
    policy: session_pb2.OverloadPolicy.ValueType = session_pb2.OVERLOAD_POLICY_WAIT,
    priority: session_pb2.Priority.ValueType = session_pb2.PRIORITY_UNSPECIFIED,
    budget_ms: int | None = None,
    upright: bool = False,
    session_id: bytes = b"",
    epoch: int = 0,
    tracks: session_pb2.TrackOptions | None = None,
) -> bytes:
    """A SessionOpen, serialised. Without a `session_id` it is a new one."""
    message = session_pb2.SessionOpen(
        session_id=session_id or os.urandom(16),
        epoch=epoch,
        overload_policy=policy,
        ordering=session_pb2.ORDERING_IN_ORDER,
    )
    message.options.camera_id = camera
    message.options.priority = priority
    message.options.apply_exif_orientation = upright
    if budget_ms is not None:
        message.options.latency_budget_ms = budget_ms
    message.window.frames = window
    if tracks is not None:
        message.track_options.CopyFrom(tracks)
    return service_pb2.EmbedStreamRequest(session_open=message).SerializeToString()


def picture_frame(number: int, file: bytes) -> bytes:
    """A frame of a compressed picture with one box, serialised."""
    box = image_pb2.Box(rect=image_pb2.Rect(x1=10, y1=10, x2=138, y2=266))
    picture = image_pb2.EncodedImage(data=file)
    return service_pb2.EmbedStreamRequest(
        frame=frame_pb2.Frame(frame_id=number, encoded=picture, boxes=[box])
    ).SerializeToString()


def numbered(body: bytes, number: int) -> bytes:
    """The start of a request that holds Frame `body` and this frame_id; `body` follows it.

    So a body of many megabytes is neither copied nor serialised again for the next frame.
    """
    identity = b"\x08" + _varint(number)
    return b"\x12" + _varint(len(identity) + len(body)) + identity


@cache
def scan_bomb(scans: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A progressive grey JPEG: one scan that gives every block its brightness, then `scans` of about 64 bytes.

    Each of these says with a few codes that no block has anything more. A decoder walks through all blocks for it.
    """
    blocks = -(-width // 8) * -(-height // 8)
    tables = _segment(0xC4, bytes([0x00, 1, *[0] * 15, 0])) + _segment(0xC4, _ac_table())
    head = b"\xff\xd8" + _segment(0xDB, bytes([0, *[1] * 64]))
    head += _segment(0xC2, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)) + tables
    brightness = _scan(0, 0) + bytes(-(-blocks // 8) - 1) + _padded("0" * (blocks - (-(-blocks // 8) - 1) * 8))
    nothing = _scan(1, 63) + _padded(_runs(blocks))
    return head + brightness + nothing * scans + b"\xff\xd9"


def _ac_table() -> bytes:
    """Of end-of-band runs only: up to 16 blocks by 4 bits, and so on up to 32,767 by 14."""
    symbols = [0xE0 - 0x10 * step for step in range(15)]
    lengths = [0] * 16
    for length in range(1, 16):
        lengths[length - 1] = 1
    return bytes([0x10, *lengths, *symbols])


def _runs(blocks: int) -> str:
    bits = ""
    while blocks:
        run = min(blocks, _LONGEST_RUN)
        size = run.bit_length() - 1
        bits += "1" * (14 - size) + "0" + (format(run - (1 << size), f"0{size}b") if size else "")
        blocks -= run
    return bits


def _padded(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")


def _scan(first: int, last: int) -> bytes:
    return _segment(0xDA, bytes([1, 1, 0, first, last, 0]))


def _segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


@cache
def png_bomb(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A black PNG of three channels: 40 megapixels in 117 kB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    compress = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    pixels = b"".join(compress.compress(row) for _ in range(height)) + compress.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@cache
def crops_body(count: int, crop_bytes: int) -> bytes:
    """Of a Frame: `count` ready crops that are JPEGs of about `crop_bytes` each, all the same."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 128, 3), dtype=np.uint8)
    files = (cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for quality in range(95, 0, -5))
    data = next(file for file in files if len(file) <= crop_bytes).tobytes()
    crop = image_pb2.Crop(encoded=image_pb2.EncodedImage(data=data))
    return frame_pb2.Frame(crops=frame_pb2.CropList(crops=[crop] * count)).SerializeToString()


@cache
def empty_boxes(total: int) -> bytes:
    """Of a Frame: as many empty boxes as fit into `total` bytes, two bytes each."""
    return b"\x2a\x00" * (total // 2)


@cache
def crops_of_segments(crops: int, segments: int) -> bytes:
    """Of a Frame: ready crops whose JPEG headers have `segments` empty segments before anything that says a size."""
    file = b"\xff\xd8" + b"\xff\xe0\x00\x02" * segments + b"\xff\xd9"
    crop = image_pb2.Crop(encoded=image_pb2.EncodedImage(data=file))
    return frame_pb2.Frame(crops=frame_pb2.CropList(crops=[crop] * crops)).SerializeToString()


@cache
def raw_body(total: int) -> bytes:
    """Of a Frame: a raw picture of nearly `total` bytes, with one box."""
    width = 5000
    height = (total - 1000) // (3 * width)
    picture = image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_BGR, width=width, height=height, data=bytes(3 * width * height)
    )
    box = image_pb2.Box(rect=image_pb2.Rect(x1=10, y1=10, x2=138, y2=266))
    return frame_pb2.Frame(raw=picture, boxes=[box]).SerializeToString()


@cache
def new_tracks(number: int, boxes: int, side: int = 64) -> bytes:
    """A frame of a raw picture of `side` x `side`, with so many boxes of tracks that nobody has seen, serialised."""
    rect = image_pb2.Rect(x1=0, y1=0, x2=side, y2=side)
    found = [image_pb2.Box(rect=rect, track_id=number * boxes + one) for one in range(boxes)]
    frame = frame_pb2.Frame(frame_id=number, raw=_small_picture(side), boxes=found)
    return service_pb2.EmbedStreamRequest(frame=frame).SerializeToString()


def ended_tracks(count: int) -> bytes:
    """EndTracks of so many tracks that nobody has, serialised."""
    ended = session_pb2.EndTracks(track_ids=range(2**40, 2**40 + count))
    return service_pb2.EmbedStreamRequest(end_tracks=ended).SerializeToString()


def small_body(boxes: int, side: int = 64) -> bytes:
    """Of a Frame: a raw picture of `side` x `side`, with so many boxes that are cut from all of it."""
    box = image_pb2.Box(rect=image_pb2.Rect(x1=0, y1=0, x2=side, y2=side))
    return frame_pb2.Frame(raw=_small_picture(side), boxes=[box] * boxes).SerializeToString()


@cache
def boxes_of_nothing(boxes: int) -> bytes:
    """Of a Frame: a raw picture of 8 x 8, with so many boxes that have no rectangle, two bytes each."""
    return frame_pb2.Frame(raw=_small_picture(8)).SerializeToString() + empty_boxes(2 * boxes)


@cache
def crops_with_long_headers(good: int, bad: int, segments: int, age_ns: int = 0) -> bytes:
    """Of a Frame: ready crops whose JPEG headers have `segments` segments. The good ones' have a size; what follows is
    no picture.
    """
    empty = b"\xff\xd8" + b"\xff\xe0\x00\x02" * segments
    size = _segment(0xC0, struct.pack(">BHHBBBB", 8, 256, 128, 1, 1, 0x11, 0))
    whole = empty + size + _segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + b"\0\xff\xd9"
    crops = [_crop(whole)] * good + [_crop(empty + b"\xff\xd9")] * bad
    return frame_pb2.Frame(crops=frame_pb2.CropList(crops=crops), age_ns=age_ns).SerializeToString()


@cache
def one_good_crop(bad: int, segments: int) -> bytes:
    """Of a Frame: a ready crop of raw pixels, and many that are no pictures and take long to find that out."""
    empty = _crop(b"\xff\xd8" + b"\xff\xe0\x00\x02" * segments + b"\xff\xd9")
    crops = [image_pb2.Crop(raw=_small_picture(16)), *[empty] * bad]
    return frame_pb2.Frame(crops=frame_pb2.CropList(crops=crops)).SerializeToString()


@cache
def png_of_chunks(chunks: int) -> bytes:
    """A grey PNG of one pixel, with so many empty chunks behind its pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(72)))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"teXt", b"") * chunks + chunk(b"IEND", b"")


@cache
def png_body(chunks: int) -> bytes:
    """Of a Frame: that picture with one box."""
    box = image_pb2.Box(rect=image_pb2.Rect(x1=0, y1=0, x2=8, y2=8))
    return frame_pb2.Frame(encoded=image_pb2.EncodedImage(data=png_of_chunks(chunks)), boxes=[box]).SerializeToString()


def _crop(data: bytes) -> image_pb2.Crop:
    return image_pb2.Crop(encoded=image_pb2.EncodedImage(data=data))


def _small_picture(side: int) -> image_pb2.RawImage:
    return image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_BGR,
        width=side,
        height=side,
        data=bytes(range(256)) * (3 * side * side // 256 + 1),
    )


def gzipped(message: bytes) -> bytes:
    """As gRPC sends it compressed."""
    return gzip.compress(message, 9)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
