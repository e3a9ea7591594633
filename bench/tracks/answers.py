"""What a tracker gets for the boxes of a frame: a new row, the track's newest row again, or nothing.

`Memory` decides with the server's own rules (`reidstream_server.tracks`), as its memory of tracks does when every
answer has come before the next frame is sent. `EveryNth` is what people do without one: of every n-th frame all boxes
are embedded, and of the others none.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from reidstream_server.tracks.policy import RowSource, needs_row
from reidstream_server.tracks.sighting import Rect, sighting
from reidstream_server.tracks.terms import EmbedPolicy

from .clips import Moment
from .vectors import Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """Of each of N boxes: its row, whether it has one, and whether that was computed for this frame."""

    rows: Rows
    there: npt.NDArray[np.bool_]
    fresh: npt.NDArray[np.bool_]
    quality: npt.NDArray[np.float64]


class Answers(Protocol):
    """Answers the frames of one clip, one after the other."""

    __slots__ = ()

    @abstractmethod
    def ask(self, moment: Moment, tracks: Sequence[int | None]) -> Answered:
        """The answer to a frame. `tracks`: of each box the id of its track, None where the tracker has doubts."""
        ...


Server = Callable[[], Answers]
"""Makes the answers of one clip."""


@dataclass(slots=True, kw_only=True)
class _Track:
    source: RowSource | None = None
    last: Rect | None = None
    row: Rows | None = None


@dataclass(slots=True)
class Memory(Answers):
    """A session with track memory. `reasons`: how many boxes were embedded, and why."""

    policy: EmbedPolicy
    reasons: Counter[str] = field(default_factory=Counter)
    _frame: int = 0
    _tracks: dict[int, _Track] = field(default_factory=dict)

    @override
    def ask(self, moment: Moment, tracks: Sequence[int | None]) -> Answered:
        self._frame += 1
        rows, fresh = moment.rows.copy(), np.ones(len(tracks), bool)
        quality = moment.quality * (1 - moment.hidden)
        for index, track_id in enumerate(tracks):
            if track_id is None:
                self.reasons["no track id"] += 1
                continue
            track = self._tracks.setdefault(track_id, _Track())
            x1, y1, x2, y2 = moment.rects[index].tolist()
            seen = sighting(
                track_id,
                (x1, y1, x2, y2),
                crop_quality=float(moment.quality[index]),
                overlap=float(moment.overlap[index]),
                hidden=float(moment.hidden[index]),
            )
            reason = needs_row(
                self.policy, seen, frame=self._frame, taken_ns=moment.taken_ns, last=track.last, source=track.source
            )
            track.last = seen.rect
            if reason is not None or track.row is None or track.source is None:
                self.reasons["?" if reason is None else reason.value] += 1
                track.source = RowSource(frame=self._frame, taken_ns=moment.taken_ns, quality=seen.quality)
                track.row = moment.rows[index]
            else:
                self.reasons["cached"] += 1
                rows[index], fresh[index], quality[index] = track.row, False, track.source.quality
        return Answered(rows=rows, there=np.ones(len(tracks), bool), fresh=fresh, quality=quality)


@dataclass(slots=True)
class EveryNth(Answers):
    """All boxes of the first frame of every `n`, and none of the others."""

    n: int
    _frame: int = -1

    @override
    def ask(self, moment: Moment, tracks: Sequence[int | None]) -> Answered:
        self._frame += 1
        fresh = np.full(len(tracks), self._frame % self.n == 0)
        return Answered(rows=moment.rows, there=fresh, fresh=fresh, quality=moment.quality * (1 - moment.hidden))
