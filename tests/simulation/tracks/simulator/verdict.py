"""What a client may rely on, told by what it was told alone, over all its servers.

- Each frame is answered once, in order.
- A box CACHED has the very row that was answered for its source frame, the newest one of its track.
- Each box with a row belongs to one track, from its first frame to its last, and that track ends once.
- A track's count, weight and sum are those of the rows that were answered, in their order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reidstream_server.tracks.rows import Vector
from reidstream_server.tracks.terms import TrackVector
from reidstream_server.tracks.track import Snapshot, TrackEnded

from .books import check
from .plan import ClientPlan
from .wire import FrameAnswer, Outcome


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxWithRow:
    """A box of a track that was answered with a row. `source`: of a cached one."""

    frame_id: int
    row: Vector
    quality: float
    source: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a track ended, in numbers that can be compared. The cause is not among them: a track that times out on one
    server may be ended by the client on another.
    """

    track_id: int
    count: int
    weight: float
    total: bytes
    first_frame_id: int
    last_frame_id: int
    vector: bytes
    representatives: tuple[int, ...]


@dataclass(slots=True)
class Verdict:
    """Of one client."""

    plan: ClientPlan
    answers: int = 0
    fates: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    _last: int | None = None
    _boxes: dict[int, list[BoxWithRow]] = field(default_factory=dict)

    def answered(self, answer: FrameAnswer) -> None:
        """A frame."""
        check(
            "order", self._last is None or answer.frame_id > self._last, f"frame {answer.frame_id} after {self._last}"
        )
        self._last = answer.frame_id
        self.answers += 1
        frame = next(one for one in self.plan.frames if one.frame_id == answer.frame_id)
        self.fates.append((answer.frame_id, tuple(box.outcome.value for box in answer.boxes)))
        for box, plan in zip(answer.boxes, frame.boxes, strict=False):
            check("without a track", plan.track_id is not None or box.outcome is not Outcome.CACHED, answer.frame_id)
            if plan.track_id is None or not box.tracked or box.row is None:
                continue
            boxes = self._boxes.setdefault(plan.track_id, [])
            if box.outcome is Outcome.CACHED:
                rows = [one for one in boxes if one.source is None]
                check("cached row", rows, f"frame {answer.frame_id}, track {plan.track_id}: no row before")
                newest = rows[-1]
                check(
                    "cached row", newest.frame_id == box.source_frame_id, f"{box.source_frame_id} in {answer.frame_id}"
                )
                check("cached row", newest.row.tobytes() == box.row.tobytes(), f"frame {answer.frame_id}")
                check("cached quality", newest.quality == box.quality, f"frame {answer.frame_id}")
            boxes.append(
                BoxWithRow(
                    frame_id=answer.frame_id, row=box.row.copy(), quality=box.quality, source=box.source_frame_id
                )
            )
        for snapshot in answer.snapshots:
            self._check(snapshot)

    def ended(self, ended: TrackEnded) -> None:
        """A track. What comes of its id from now on is another one."""
        snapshot = ended.track.snapshot()
        boxes = self._boxes.pop(snapshot.track_id, [])
        check("ended once", (snapshot.rows is None) is (not boxes), f"track {snapshot.track_id}: rows or none")
        self.causes.add(ended.cause.value)
        vector = ended.vector()
        rows = snapshot.rows
        if rows is not None:
            self._check(snapshot, boxes)
        self.endings.append(
            Ending(
                track_id=snapshot.track_id,
                count=0 if rows is None else rows.count,
                weight=0.0 if rows is None else rows.weight,
                total=b"" if rows is None else rows.total.tobytes(),
                first_frame_id=0 if rows is None else rows.first_frame_id,
                last_frame_id=0 if rows is None else rows.last_frame_id,
                vector=b"" if vector is None else vector.tobytes(),
                representatives=tuple(row.frame_id for row in ended.representatives(self.plan.terms.representatives)),
            )
        )

    def over(self) -> None:
        """Everything is told."""
        check("answered", self.answers == len(self.plan.frames), f"{self.answers} of {len(self.plan.frames)} frames")
        left = [track_id for track_id, boxes in self._boxes.items() if boxes]
        check("ended once", not left, f"tracks {left} had rows, and never ended")

    def _check(self, snapshot: Snapshot, boxes: list[BoxWithRow] | None = None) -> None:
        known = self._boxes.get(snapshot.track_id, []) if boxes is None else boxes
        rows, name = snapshot.rows, f"track {snapshot.track_id}"
        check("told sum", rows is not None, name)
        if rows is None:
            return
        asked = [box for box in known if box.source is None]
        check("told count", rows.count == len(asked), f"{name}: {rows.count}, not {len(asked)}")
        mean = self.plan.terms.vector is TrackVector.MEAN
        total, weight = np.zeros(len(rows.total), np.float32), 0.0
        for box in asked:
            share = 1.0 if mean else float(np.float32(max(box.quality, 0.001)))
            total = total + np.float32(share) * box.row
            weight += share
        check("told sum", total.tobytes() == rows.total.tobytes(), name)
        check("told weight", weight == rows.weight, f"{name}: {rows.weight}, not {weight}")
        spans = (rows.first_frame_id, rows.last_frame_id)
        check("told span", spans == (known[0].frame_id, known[-1].frame_id), f"{name}: {spans}")
        frames = {box.frame_id for box in asked}
        kept = [row.frame_id for row in rows.kept]
        check("told rows", len(kept) == min(4, rows.count) and set(kept) <= frames, f"{name}: {kept}")
        by_frame = {box.frame_id: box.row.tobytes() for box in asked}
        check("told rows", all(by_frame[row.frame_id] == row.vector.tobytes() for row in rows.kept), name)
