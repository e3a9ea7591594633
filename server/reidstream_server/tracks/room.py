"""What the tracks of all sessions hold together, and the bounds of it.

One rule shares the bytes, as it shares everything else (`core.sharing`): a session may have as much as is still free.

Trap: memory must not depend on how often a track gets a row. So a track takes all that it may ever hold when it begins,
and gives it back when its end is written, or its session is over:

    1 sum, 1 newest row, 4 kept rows, and the row before the newest one: answers that wait to be written may have it.

Older rows than that one are held by answers only that wait behind the answer which brought the next row. The scheduler
counts each row of that answer twice. Snapshots in answers are counted with the answer, too.

Answers with cached rows take no room of the scheduler's, since they need no engine. They have a part of the bound here,
so that tracks that fill theirs do not have every box embedded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reidstream_server.core.sharing import Pool
from reidstream_server.core.terms import SessionKey

from .rows import MAX_KEPT

TRACK_BYTES: Final = 2048
"""What a track takes without its rows: its objects, and those of its arrays."""

ROWS_A_TRACK: Final = 3 + MAX_KEPT

ANSWER_COPIES: Final = 3
"""An answer that is being written exists as the message, its bytes, and gRPC's copy of these. Its cached rows are the
tracks' own.
"""

ANSWERS_PART: Final = 4
"""Cached rows of answers that are not written have one part in so many of the bound."""

SNAPSHOT_ROWS: Final = 1 + MAX_KEPT
"""What a snapshot in an answer may have: the sum, and the kept rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackBounds:
    """`max_tracks`: open ones of a session; 0: there is no memory of tracks. `max_bytes`: of all sessions together."""

    max_tracks: int
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFigures:
    """What is held now. `open`: tracks that have not ended. `bytes`: of them, of ends that are not written, and of
    answers with cached rows.
    """

    open: int
    bytes: int


class TrackRoom:
    """The account of all sessions. Not thread-safe."""

    def __init__(self, bounds: TrackBounds) -> None:
        self.bounds = bounds
        self.open = 0
        answers = bounds.max_bytes // ANSWERS_PART
        self.tracks: Pool[SessionKey] = Pool(bounds.max_bytes - answers)
        self.answers: Pool[SessionKey] = Pool(answers)

    def figures(self) -> TrackFigures:
        """A snapshot."""
        return TrackFigures(open=self.open, bytes=self.tracks.taken + self.answers.taken)
