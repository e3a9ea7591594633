"""Ordinary cameras of one client, which are many, or call themselves important, or by the name of another."""

from __future__ import annotations

from reidstream_proto.v1 import session_pb2

from .cameras import cameras
from .messages import opening, small_body
from .target import Target


async def many_cameras(target: Target, *, count: int = 256, boxes: int = 8) -> None:
    """256 cameras on one connection, each with 8 boxes on small pictures, as fast as the server answers.

    Aims at: turns that are fair between cameras. Who has most cameras has most turns.
    """
    await cameras(target, count, lambda number: opening(f"attacker-{number}", window=4), small_body(boxes))


async def important_cameras(target: Target, *, count: int = 8, boxes: int = 8) -> None:
    """8 cameras with the highest priority, with full windows.

    Aims at: priorities, which everybody gives himself.
    """
    priority = session_pb2.PRIORITY_HIGH
    await cameras(
        target, count, lambda number: opening(f"attacker-{number}", window=64, priority=priority), small_body(boxes)
    )


async def same_name(target: Target, *, count: int = 8, boxes: int = 100) -> None:
    """8 sessions under the victim's camera_id, with frames of 100 boxes.

    Aims at: turns and shares, which are those of a name. Without tokens everybody may have any name.
    """
    await cameras(target, count, lambda _: opening("victim", window=64), small_body(boxes))
