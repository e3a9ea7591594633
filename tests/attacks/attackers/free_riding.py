"""Frames that are read and answered, and for which no core works: the event loop alone pays for them."""

from __future__ import annotations

from reidstream_proto.v1 import session_pb2

from .cameras import cameras
from .messages import (
    boxes_of_nothing,
    crops_with_long_headers,
    empty_boxes,
    one_good_crop,
    opening,
    png_body,
    small_body,
)
from .target import Target

_HOUR_NS = 3_600 * 10**9


async def boxes_below_the_bound(target: Target, *, count: int = 32, total: int = 320_000) -> None:
    """32 cameras with frames of 160,000 empty boxes, just below the bound on what a message holds beside pixels.

    Aims at: the time of parsing, which is over before anybody looks at the clock.
    """
    await cameras(target, count, lambda number: opening(f"attacker-{number}"), empty_boxes(total))


async def boxes_without_crops(target: Target, *, count: int = 64, boxes: int = 1000) -> None:
    """64 cameras with frames of 2 kB: 1,000 boxes without a rectangle, which are all answered.

    Aims at: frames without crops. They take no place in the window or the queue, and nothing is refused.
    """
    await cameras(target, count, lambda number: opening(f"attacker-{number}"), boxes_of_nothing(boxes))


async def late_frames(target: Target, *, count: int = 32, crops: int = 1000) -> None:
    """32 cameras with frames of 1,000 ready crops that are an hour old, with a latency budget of a millisecond.

    Aims at: faults that are found after everything was read. Such a frame is no bad one, so nobody pays.
    """
    body = crops_with_long_headers(crops, 0, 30, _HOUR_NS)
    await cameras(target, count, lambda number: opening(f"attacker-{number}", budget_ms=1), body)


async def broken_crops(target: Target, *, count: int = 32, bad: int = 999) -> None:
    """32 cameras with frames of one good crop and 999 whose headers are long and say nothing.

    Aims at: pictures that are refused one by one, in a frame that is not.
    """
    await cameras(target, count, lambda number: opening(f"attacker-{number}"), one_good_crop(bad, 34))


async def hidden_chunks(target: Target, *, count: int = 32, chunks: int = 8000) -> None:
    """32 cameras with PNGs of 64 pixels and 8,000 empty chunks behind them, to be turned as their EXIF says.

    Aims at: the search for EXIF behind the pixels, on the event loop.
    """
    await cameras(target, count, lambda number: opening(f"attacker-{number}", upright=True), png_body(chunks))


async def dropped_frames(target: Target, *, count: int = 64, boxes: int = 8) -> None:
    """64 cameras that send small frames as fast as they can, with the policy DROP_OLDEST.

    Aims at: sessions that are read without waiting for anything, and frames that are dropped for nothing.
    """
    policy = session_pb2.OVERLOAD_POLICY_DROP_OLDEST
    await cameras(
        target, count, lambda number: opening(f"attacker-{number}", window=64, policy=policy), small_body(boxes, 16)
    )
