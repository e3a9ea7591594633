"""The W3C header `traceparent`, read strictly.

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01      version, trace id, span id, flags

Why not the library's reader: this one runs for each frame that names a trace, also for those that are not recorded, and
says whether a header was broken, so that it can be counted. Trap: a later version may have more fields at its end, and
is read as far as it is known; version ff is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_KNOWN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class TraceParent:
    """Who is above us in the trace. `sampled`: whether it is recorded there."""

    trace_id: int
    span_id: int
    sampled: bool


def parse_traceparent(text: str) -> TraceParent | None:
    """None for a header that the standard has the receiver ignore."""
    found = _KNOWN.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    parent = TraceParent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return parent if parent.trace_id and parent.span_id else None
