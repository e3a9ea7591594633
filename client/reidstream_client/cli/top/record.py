"""Looks as JSON, for scripts.

Why a record of its own: its names are public. They are those of the client's `ServerState`, `OpenSession` and
`OpenFrame`, and of `Rates`; a field that is there stays, and others may come.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .columns import Sorting, sorted_rows
from .looks import DetailLook, Look, Seen


def look_record(look: Look, sorting: Sorting) -> dict[str, Any]:
    """The server, and its sessions in the order of the table."""
    return {
        "server": asdict(look.answer.server),
        "sessions": [_seen(seen) for seen in sorted_rows(look.seen, sorting)],
    }


def detail_record(look: DetailLook) -> dict[str, Any]:
    """The server, one session, and its open frames."""
    return {
        "server": asdict(look.answer.server),
        "session": _seen(look.seen),
        "open_frames": [asdict(frame) for frame in look.answer.open_frames],
    }


def _seen(seen: Seen) -> dict[str, Any]:
    rates = seen.rates
    return {
        **asdict(seen.session),
        "state": seen.state,
        "rates": None
        if rates is None
        else {**asdict(rates), "lost_fps": rates.lost_fps, "lost_percent": rates.lost_percent},
    }
