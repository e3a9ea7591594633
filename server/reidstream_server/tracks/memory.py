"""The memory of one session's tracks: which of its boxes are embedded, what their answers brought, when tracks end.

    decide       a frame has come: each box of a track is embedded, or is promised the track's newest row
    answered     its answer is handed out: rows are added up, promises are kept, tracks that have ended are told
    failed       the same for a frame without vectors
    end          the client says that tracks are over
    time_out     time has passed
    finish       all frames are answered, and the client has half-closed

A box may be promised a row that is still on its way. Answers are handed out in the order in which frames came, so by
its own turn the row is there; or it was lost, and the box gets an older one, or SOURCE_LOST.

What has ended is in `ended`, in order; whoever calls takes it from there, and says when it is `written`.

Traps. A track that has ended may still have frames in flight, and its id may be another track's by then; so what is in
flight knows its track, and never looks it up. And the end of a track takes room until it is written: a client that does
not read must not get more and more of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reidstream_server.core.terms import ModelIndex, SessionKey

from .policy import RowSource, needs_row
from .room import ANSWER_COPIES, ROWS_A_TRACK, TRACK_BYTES, TrackRoom
from .rows import TrackRow, TrackRows, Vector
from .terms import TrackTerms
from .track import (
    FrameTracks,
    LastBox,
    SightedBox,
    Snapshot,
    Track,
    TrackedBox,
    TrackEndCause,
    TrackEnded,
    rows_of,
)

_FLOAT_BYTES: Final = 4
_HELD: Final = 2
"""So many times the tracks that may be open are held at most, with those whose end is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKind:
    """A model's rows. `unit`: their L2 norm is 1."""

    dim: int
    unit: bool


class TrackMemory:
    """See the module. `now` is a monotonic clock in nanoseconds, and `taken_ns` a time of it. Not thread-safe.

    `kinds`: of every model that boxes may go to. `holder`: whom the room counts.
    """

    def __init__(
        self, terms: TrackTerms, kinds: Mapping[ModelIndex, RowKind], room: TrackRoom, holder: SessionKey
    ) -> None:
        self.terms = terms
        self.ended: list[TrackEnded] = []
        self._kinds = kinds
        self._room = room
        self._holder = holder
        row_bytes = _FLOAT_BYTES * max(kind.dim for kind in kinds.values())
        self._track_bytes = TRACK_BYTES + ROWS_A_TRACK * row_bytes
        self._answer_bytes = ANSWER_COPIES * row_bytes
        self._open: OrderedDict[int, Track] = OrderedDict()  # by their newest box, the oldest first
        self._idle: OrderedDict[int, Track] = OrderedDict()  # those without frames in flight, in the same order
        self._ending: dict[Track, None] = {}  # those that have ended, with frames in flight
        self._held = 0
        self._ending_bytes = 0
        self._last_frame_id: int | None = None
        self._number: int | None = None
        self._closed = False

    @property
    def open(self) -> int:
        """Tracks that have not ended."""
        return len(self._open)

    @property
    def held(self) -> int:
        """Those, and the ones whose end is not written."""
        return self._held

    def adopt(self, snapshots: Sequence[Snapshot], now: int) -> None:
        """Go on with tracks that another server had, before the first frame. If there is no room for all, those without
        a box for longest end.
        """
        by_age = sorted(snapshots, key=lambda one: now if one.last is None else one.last.taken_ns)
        adopted: list[Track] = []
        for snapshot in reversed(by_age):
            fits = len(adopted) < self._room.bounds.max_tracks
            fits = fits and self._room.tracks.fits(self._holder, self._track_bytes)
            track = self._adopted(snapshot, now)
            if fits:
                adopted.append(track)
            else:
                track.cause = TrackEndCause.EVICTED
                self._ending_bytes += track.bytes
                self._tell(track)
        for track in reversed(adopted):
            self._open[track.track_id] = self._idle[track.track_id] = track
        self._room.open += len(adopted)

    # Frames.

    def takes(self, frame_id: int) -> bool:
        """Whether the frame is one more of the session: its id is larger than those before it."""
        return self._last_frame_id is None or frame_id > self._last_frame_id

    def passed(self, frame_id: int) -> int:
        """A frame that it takes has come; its number. Frames are counted on from the first one's id, so that the frames
        that another server had are counted too, as far as their ids had no gaps.
        """
        self._last_frame_id = frame_id
        self._number = frame_id if self._number is None else self._number + 1
        return self._number

    def decide(self, frame_id: int, boxes: Sequence[SightedBox], *, taken_ns: int, now: int) -> FrameTracks:
        """Which boxes of a frame are embedded, and which get the newest row of their track. Those of `boxes` that are
        not in the answer belong to no track, and are embedded.
        """
        number = self.passed(frame_id)
        tracked: list[TrackedBox] = []
        cached, policy = 0, self.terms.policy
        fits = self._room.answers.fits(self._holder, self._answer_bytes * len(boxes))
        for box in boxes:
            track = self._track_of(box, number, taken_ns=taken_ns, now=now)
            if track is None:
                continue
            seen = box.seen
            last = None if track.last is None else track.last.rect
            source: RowSource | None = None
            if not fits or needs_row(policy, seen, frame=number, taken_ns=taken_ns, last=last, source=track.source):
                source = track.source = RowSource(frame=number, taken_ns=taken_ns, quality=seen.quality)
            else:
                cached += 1
            track.model, track.number, track.came_ns = box.model, number, now
            track.last = LastBox(rect=seen.rect, taken_ns=taken_ns)
            track.in_flight += 1
            tracked.append(TrackedBox(index=box.index, track=track, last=track.last, source=source))
        held = cached * self._answer_bytes
        self._room.answers.take(self._holder, held)
        return FrameTracks(frame_id=frame_id, taken_ns=taken_ns, boxes=tuple(tracked), held_bytes=held)

    def answered(self, frame: FrameTracks, row_of: Callable[[int], Vector | None]) -> Mapping[int, TrackRow]:
        """The frame's answer is handed out. `row_of`: the row of an embedded box (dim,) as it is answered, None if it
        has none. Returns the rows of the boxes that were promised one; a box that is not there gets none.
        """
        kept: dict[int, TrackRow] = {}
        changed: list[Snapshot] = []
        for box in frame.boxes:
            track = box.track
            track.told, track.told_last = True, box.last
            if box.source is None:
                row = None if track.rows is None else track.rows.latest
                if row is not None:
                    kept[box.index] = row
                    track.has_row(frame.frame_id)
            elif (vector := row_of(box.index)) is None:
                self._lost(track, box.source)
            else:
                self._add(track, vector, frame.frame_id, box.source)
                track.has_row(frame.frame_id)
                if self.terms.snapshots:
                    changed.append(track.snapshot())
            self._landed(track)
        frame.snapshots = tuple(changed)
        return kept

    def failed(self, frame: FrameTracks) -> None:
        """The frame is answered without vectors."""
        for box in frame.boxes:
            track = box.track
            track.told, track.told_last = True, box.last
            if box.source is not None:
                self._lost(track, box.source)
            self._landed(track)
        self.answer_written(frame)

    def answer_written(self, frame: FrameTracks) -> None:
        """The frame's answer needs no room any more. Harmless to repeat."""
        if not self._closed:
            self._room.answers.give_back(self._holder, frame.held_bytes)
        frame.held_bytes = 0

    # Ends.

    def end(self, track_ids: Iterable[int]) -> None:
        """The client says that these tracks are over; those that are not open are ignored."""
        for track_id in track_ids:
            track = self._open.get(track_id)
            if track is not None:
                self._end(track, TrackEndCause.CLIENT)

    def due_ns(self) -> int | None:
        """When `time_out` has something to do, if nothing else happens."""
        first = next(iter(self._idle.values()), None)
        return None if first is None else first.came_ns + self.terms.timeout_ns

    def time_out(self, now: int) -> None:
        """End the tracks that had no box for too long."""
        while (due := self.due_ns()) is not None and due <= now:
            self._end(next(iter(self._idle.values())), TrackEndCause.TIMEOUT)

    def finish(self) -> None:
        """Every frame is answered, and no more will come."""
        for track in list(self._open.values()):
            self._end(track, TrackEndCause.SESSION)

    def written(self, ended: TrackEnded) -> None:
        """The end of a track is written: its room is free."""
        if not self._closed:
            self._room.tracks.give_back(self._holder, ended.track.bytes)
            self._held -= 1
            self._ending_bytes -= ended.track.bytes

    def open_tracks(self) -> tuple[Snapshot, ...]:
        """Every track that its client must take for open: of which something was told, and not its end."""
        return tuple(track.snapshot() for track in (*self._ending, *self._open.values()) if track.told)

    def close(self) -> None:
        """The session is over: everything that it holds is given back. Harmless to repeat."""
        self._closed = True
        for pool in (self._room.tracks, self._room.answers):
            pool.give_back(self._holder, pool.of(self._holder))
        self._room.open -= len(self._open)
        self._open.clear()
        self._idle.clear()
        self._ending.clear()
        self.ended.clear()

    # Tracks.

    def _track_of(self, box: SightedBox, number: int, *, taken_ns: int, now: int) -> Track | None:
        """The track that a box belongs to, perhaps a new one; None if it can have none."""
        track = self._open.get(box.seen.track_id)
        if track is None:
            return self._begin(box.seen.track_id, number, now)
        if track.number == number:
            return None  # two boxes of a frame with one id: the first has it
        if track.last is not None and taken_ns - track.last.taken_ns >= self.terms.timeout_ns:
            self._end(track, TrackEndCause.TIMEOUT)
        elif track.model not in (None, box.model):
            self._end(track, TrackEndCause.MODEL_CHANGED)
        else:
            self._open.move_to_end(track.track_id)
            self._idle.pop(track.track_id, None)
            return track
        return self._begin(box.seen.track_id, number, now)

    def _begin(self, track_id: int, number: int, now: int) -> Track | None:
        """A new track, if there is room, or can be made."""
        if not self._has_room():
            oldest = next(iter(self._open.values()), None)
            full = len(self._open) >= self._room.bounds.max_tracks
            if oldest is None or oldest.number == number or (not full and self._ending_bytes >= self._track_bytes):
                return None
            self._end(oldest, TrackEndCause.EVICTED)
            if not self._has_room():  # until the end is written
                return None
        track = self._new(track_id, now)
        self._open[track_id] = track
        self._room.open += 1
        return track

    def _has_room(self) -> bool:
        """For one more open track."""
        bounds = self._room.bounds
        return (
            len(self._open) < bounds.max_tracks
            and self._held < _HELD * bounds.max_tracks
            and self._room.tracks.fits(self._holder, self._track_bytes)
        )

    def _new(self, track_id: int, now: int) -> Track:
        self._room.tracks.take(self._holder, self._track_bytes)
        self._held += 1
        return Track(track_id=track_id, bytes=self._track_bytes, came_ns=now)

    def _adopted(self, snapshot: Snapshot, now: int) -> Track:
        track = self._new(snapshot.track_id, now)
        track.last = track.told_last = snapshot.last
        track.told = True
        if (known := snapshot.rows) is not None:
            track.model = known.model
            track.rows = rows_of(known, self._rows(known.model))
            latest = known.latest
            track.source = RowSource(frame=latest.frame_id, taken_ns=latest.taken_ns, quality=latest.quality)
            track.first_frame_id, track.last_frame_id = known.first_frame_id, known.last_frame_id
        return track

    def _rows(self, model: ModelIndex) -> TrackRows:
        kind = self._kinds[model]
        return TrackRows(dim=kind.dim, unit=kind.unit, vector_of=self.terms.vector)

    def _add(self, track: Track, vector: Vector, frame_id: int, source: RowSource) -> None:
        if track.rows is None and track.model is not None:
            track.rows = self._rows(track.model)
        if track.rows is not None:
            track.rows.add(TrackRow(vector=vector, frame_id=frame_id, quality=source.quality, taken_ns=source.taken_ns))

    @staticmethod
    def _lost(track: Track, source: RowSource) -> None:
        """The row will not come. If boxes were promised it, or would be, the next one is embedded."""
        if track.source is source:
            track.source = None

    def _landed(self, track: Track) -> None:
        """One frame less of the track is in flight."""
        track.in_flight -= 1
        if track.in_flight:
            return
        if track.cause is None:
            self._idle[track.track_id] = track
        else:
            del self._ending[track]
            self._tell(track)

    def _end(self, track: Track, cause: TrackEndCause) -> None:
        """The track takes no more boxes. It is told when its frames are answered."""
        del self._open[track.track_id]
        self._idle.pop(track.track_id, None)
        self._room.open -= 1
        track.cause = cause
        self._ending_bytes += track.bytes
        if track.in_flight:
            self._ending[track] = None
        else:
            self._tell(track)

    def _tell(self, track: Track) -> None:
        if track.cause is not None:
            self.ended.append(TrackEnded(track=track, cause=track.cause))
