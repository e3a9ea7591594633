"""What the memory of one session should do, told by what came to it: each decision, each end, each snapshot.

It keeps every box of every track for ever, and looks at all of them whenever something is asked. So it has no state
that could be wrong in the way in which the memory's is. `lives`: of a track, from its first box to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from reidstream_server.tracks.room import ANSWER_COPIES, ROWS_A_TRACK, TRACK_BYTES
from reidstream_server.tracks.rows import TrackRow, Vector
from reidstream_server.tracks.sighting import Rect
from reidstream_server.tracks.terms import AtIntervals, EmbedPolicy, EveryFrame, Once, OnRisk, TrackTerms, TrackVector
from reidstream_server.tracks.track import FrameTracks, Snapshot, TrackEndCause, TrackEnded

from .plan import DIMS, BoxPlan, FramePlan

FLOAT = 4
TRACK = TRACK_BYTES + FLOAT * max(DIMS) * ROWS_A_TRACK
ANSWER = FLOAT * max(DIMS) * ANSWER_COPIES


class Violation(Exception):
    """An invariant that did not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


def check(invariant: str, holds: object, what: object = "") -> None:
    """Raises Violation."""
    if not holds:
        raise Violation(invariant, str(what))


class State(Enum):
    """Of a box: its frame is in flight; it brought a row; it got one; or nothing came of it."""

    FLYING = "flying"
    ROW = "row"
    CACHED = "cached"
    NOTHING = "nothing"


@dataclass(slots=True, eq=False, kw_only=True)
class Seen:
    """A box of a track."""

    frame_id: int
    number: int
    taken_ns: int
    rect: Rect
    quality: float
    asks: bool
    row: Vector | None = None
    state: State = State.FLYING


@dataclass(slots=True, eq=False, kw_only=True)
class Life:
    """A track. `known`: what another server had of it."""

    track_id: int
    came: tuple[int, int]
    came_ns: int
    known: Snapshot | None = None
    model: int | None = None
    boxes: list[Seen] = field(default_factory=list)
    cause: TrackEndCause | None = None
    held: bool = True

    @property
    def flying(self) -> bool:
        return any(box.state is State.FLYING for box in self.boxes)

    @property
    def told(self) -> bool:
        """Whether its client has been told of it."""
        return self.known is not None or any(box.state is not State.FLYING for box in self.boxes)


@dataclass(slots=True)
class Purse:
    """A bound that is shared. Whoever takes leaves as much as it takes, a quarter of all at most."""

    most: int
    held: dict[int, int] = field(default_factory=dict)

    def fits(self, who: int, amount: int) -> bool:
        taken = sum(self.held.values())
        if not amount or not taken:
            return amount <= self.most
        return self.held.get(who, 0) + amount + min(amount, self.most // 4) <= self.most - taken

    def change(self, who: int, amount: int) -> None:
        self.held[who] = self.held.get(who, 0) + amount
        check("accounts", self.held[who] >= 0, f"{who} holds {self.held[who]}")


@dataclass(slots=True)
class Account:
    """Of one server. `tracks`: three quarters of the bytes; `answers`: the rest."""

    max_tracks: int
    max_bytes: int
    tracks: Purse = field(init=False)
    answers: Purse = field(init=False)

    def __post_init__(self) -> None:
        self.answers = Purse(self.max_bytes // 4)
        self.tracks = Purse(self.max_bytes - self.max_bytes // 4)


class Books:
    """Of one session. `expected`: ends that must be told now, in this order."""

    def __init__(self, who: int, terms: TrackTerms, account: Account) -> None:
        self.lives: list[Life] = []
        self.expected: list[tuple[Life, TrackEndCause]] = []
        self._who = who
        self._terms = terms
        self._account = account
        self._numbers: dict[int, int] = {}
        self._last: int | None = None
        self._steps = 0
        self._in_flight: dict[int, tuple[tuple[Life, Seen, int], ...]] = {}

    # Events.

    def opened(self, snapshots: Sequence[Snapshot], now: int) -> None:
        """The session goes on with these."""
        by_age = sorted(snapshots, key=lambda one: now if one.last is None else one.last.taken_ns)
        adopted: list[Life] = []
        for snapshot in reversed(by_age):
            fits = len(adopted) < self._account.max_tracks and self._account.tracks.fits(self._who, TRACK)
            life = Life(track_id=snapshot.track_id, came=(0, 0), came_ns=now, known=snapshot)
            life.model = None if snapshot.rows is None else int(snapshot.rows.model)
            self._account.tracks.change(self._who, TRACK)
            if fits:
                adopted.append(life)
            else:
                self.lives.append(life)
                self._end(life, TrackEndCause.EVICTED)
        for life in reversed(adopted):
            life.came = self._step()
            self.lives.append(life)

    def passed(self, frame_id: int) -> int:
        """A frame has its place."""
        check("frame id", self._last is None or frame_id > self._last, frame_id)
        first = not self._numbers
        self._numbers[frame_id] = frame_id if first else self._numbers[self._last or 0] + 1
        self._last = frame_id
        return self._numbers[frame_id]

    def arrived(self, frame: FramePlan, taken_ns: int, now: int, decided: FrameTracks) -> None:
        """A frame has come, and the memory has decided."""
        number = self.passed(frame.frame_id)
        asked = {box.index: box for box in decided.boxes}
        with_id = [(index, box) for index, box in enumerate(frame.boxes) if box.track_id is not None]
        fits = self._account.answers.fits(self._who, ANSWER * len(with_id))
        flying: list[tuple[Life, Seen, int]] = []
        cached = 0
        for index, box in with_id:
            life = self._life_of(box, number, taken_ns, now)
            check("tracked", (index in asked) is (life is not None), f"box {index} of frame {frame.frame_id}")
            if life is None:
                continue
            asks = not fits or self._asks(life, box, number, taken_ns)
            check("decision", (asked[index].source is not None) is asks, f"box {index} of frame {frame.frame_id}")
            cached += not asks
            seen = Seen(
                frame_id=frame.frame_id,
                number=number,
                taken_ns=taken_ns,
                rect=box.rect,
                quality=box.quality,
                asks=asks,
            )
            life.boxes.append(seen)
            life.model, life.came, life.came_ns = box.model, self._step(), now
            flying.append((life, seen, index))
        check("answer bytes", decided.held_bytes == cached * ANSWER, decided.held_bytes)
        self._account.answers.change(self._who, decided.held_bytes)
        self._in_flight[frame.frame_id] = tuple(flying)

    def answered(
        self, frame_id: int, rows: Mapping[int, Vector | None], kept: Mapping[int, TrackRow], frame: FrameTracks
    ) -> None:
        """`rows`: what came of the boxes that were embedded. `kept`: what the memory gave the others."""
        changed: list[Life] = []
        promised: dict[int, tuple[int, Vector]] = {}
        flying = self._in_flight.pop(frame_id)
        for life, seen, index in flying:
            if seen.asks:
                seen.row = rows[index]
                seen.state = State.NOTHING if seen.row is None else State.ROW
                if seen.row is not None:
                    changed.append(life)
                continue
            newest = self._newest(life)
            seen.state = State.NOTHING if newest is None else State.CACHED
            if newest is not None:
                promised[index] = newest
        check("cached boxes", set(kept) == set(promised), f"{sorted(kept)}, not {sorted(promised)}")
        for index, (source, vector) in promised.items():
            given = kept[index]
            check("cached source", given.frame_id == source, f"frame {given.frame_id}, not {source}")
            check("cached row", np.array_equal(given.vector, vector), f"box {index} of frame {frame_id}")
        told = changed if self._terms.snapshots else []
        check("snapshots", len(frame.snapshots) == len(told), f"{len(frame.snapshots)}, not {len(told)}")
        for life, snapshot in zip(told, frame.snapshots, strict=True):
            self._check_snapshot(life, snapshot)
        self._landed(flying)

    def failed(self, frame_id: int, frame: FrameTracks, held_bytes: int) -> None:
        """The frame has no vectors."""
        flying = self._in_flight.pop(frame_id)
        for _, seen, _ in flying:
            seen.state = State.NOTHING
        self._landed(flying)
        check("answer bytes", frame.held_bytes == 0, "held for an answer without rows")
        self._account.answers.change(self._who, -held_bytes)

    def written(self, held_bytes: int) -> None:
        """An answer needs no room any more."""
        self._account.answers.change(self._who, -held_bytes)

    def end_written(self, ended: TrackEnded) -> None:
        """The end of a track was written."""
        self._account.tracks.change(self._who, -ended.track.bytes)

    def end_tracks(self, track_ids: Sequence[int]) -> None:
        """The client said so."""
        for track_id in track_ids:
            if (life := self._open(track_id)) is not None:
                self._end(life, TrackEndCause.CLIENT)

    def timed_out(self, now: int) -> None:
        """Time has passed."""
        for life in sorted((one for one in self.open if not one.flying), key=lambda one: one.came):
            if life.came_ns + self._terms.timeout_ns <= now:
                self._end(life, TrackEndCause.TIMEOUT)

    def finished(self) -> None:
        """The client had half-closed, and all is answered."""
        for life in sorted(self.open, key=lambda one: one.came):
            self._end(life, TrackEndCause.SESSION)

    def closed(self) -> None:
        """The session is over."""
        for purse in (self._account.tracks, self._account.answers):
            purse.held.pop(self._who, None)

    # Looks.

    @property
    def open(self) -> list[Life]:
        """Lives that have not ended."""
        return [life for life in self.lives if life.cause is None]

    def due_ns(self) -> int | None:
        """When a track times out next."""
        return min((one.came_ns + self._terms.timeout_ns for one in self.open if not one.flying), default=None)

    def check_told(self, ended: Sequence[TrackEnded]) -> None:
        """What the memory has told now is what it should have."""
        expected, self.expected = self.expected, []
        said = [(one.track.track_id, one.cause) for one in ended]
        wanted = [(life.track_id, cause) for life, cause in expected]
        check("ends", said == wanted, f"told {said}, not {wanted}")
        for (life, _), one in zip(expected, ended, strict=True):
            self._check_snapshot(life, one.track.snapshot())
            vector = one.vector()
            check("vector", (vector is None) is (self._total(life)[1] == 0), "a vector without rows, or none with rows")

    def check_open_tracks(self, snapshots: Sequence[Snapshot]) -> None:
        """What a client is told when it is asked to leave."""
        waiting = [life for life in self.lives if life.cause is not None and life.flying and life.told]
        wanted = [*waiting, *(life for life in self.open if life.told)]
        by_id = {life.track_id: life for life in wanted}
        check("handed over", len(by_id) == len(wanted), "two lives of one track")
        said = [one.track_id for one in snapshots]
        check("handed over", sorted(said) == sorted(by_id), f"{sorted(said)}, not {sorted(by_id)}")
        for one in snapshots:
            self._check_snapshot(by_id[one.track_id], one)

    # Rules.

    def _step(self) -> tuple[int, int]:
        self._steps += 1
        return (1, self._steps)

    def _open(self, track_id: int) -> Life | None:
        return next((life for life in self.open if life.track_id == track_id), None)

    def _life_of(self, box: BoxPlan, number: int, taken_ns: int, now: int) -> Life | None:
        track_id = box.track_id
        assert track_id is not None
        life = self._open(track_id)
        if life is None:
            return self._begin(track_id, number, now)
        if life.boxes and life.boxes[-1].number == number:
            return None
        last = self._last_box(life)
        if last is not None and taken_ns - last[1] >= self._terms.timeout_ns:
            self._end(life, TrackEndCause.TIMEOUT)
        elif life.model is not None and life.model != box.model:
            self._end(life, TrackEndCause.MODEL_CHANGED)
        else:
            return life
        return self._begin(track_id, number, now)

    def _begin(self, track_id: int, number: int, now: int) -> Life | None:
        if not self._room():
            full = len(self.open) >= self._account.max_tracks
            oldest = min(self.open, key=lambda one: one.came, default=None)
            leaving = sum(life.cause is not None and life.held for life in self.lives)
            if oldest is None or (oldest.boxes and oldest.boxes[-1].number == number) or (not full and leaving):
                return None
            self._end(oldest, TrackEndCause.EVICTED)
            if not self._room():
                return None
        life = Life(track_id=track_id, came=self._step(), came_ns=now)
        self._account.tracks.change(self._who, TRACK)
        self.lives.append(life)
        return life

    def _room(self) -> bool:
        most, held = self._account.max_tracks, sum(life.held for life in self.lives)
        return len(self.open) < most and held < 2 * most and self._account.tracks.fits(self._who, TRACK)

    def release(self, ended: TrackEnded) -> None:
        """Its end was written: it is held no more."""
        life = next(
            one for one in self.lives if one.held and one.cause is ended.cause and one.track_id == ended.track.track_id
        )
        life.held = False

    def _end(self, life: Life, cause: TrackEndCause) -> None:
        life.cause = cause
        if not life.flying:
            self.expected.append((life, cause))

    def _landed(self, flying: Sequence[tuple[Life, Seen, int]]) -> None:
        for life, _, _ in flying:
            if life.cause is not None and not life.flying:
                self.expected.append((life, life.cause))

    def _last_box(self, life: Life) -> tuple[Rect, int] | None:
        if life.boxes:
            return life.boxes[-1].rect, life.boxes[-1].taken_ns
        if life.known is not None and life.known.last is not None:
            return life.known.last.rect, life.known.last.taken_ns
        return None

    def _asks(self, life: Life, box: BoxPlan, number: int, taken_ns: int) -> bool:
        """Whether the box must be embedded."""
        asked = [seen for seen in life.boxes if seen.asks]
        known = None if life.known is None else life.known.rows
        if asked:
            if asked[-1].state is State.NOTHING:
                return True
            source = (asked[-1].number, asked[-1].taken_ns, asked[-1].quality)
        elif known is not None:
            source = (known.latest.frame_id, known.latest.taken_ns, known.latest.quality)
        else:
            return True
        return _policy_asks(self._terms.policy, box, (number, taken_ns), self._last_box(life), source)

    def _newest(self, life: Life) -> tuple[int, Vector] | None:
        rows = [(seen.frame_id, seen.row) for seen in life.boxes if seen.state is State.ROW]
        if rows and rows[-1][1] is not None:
            return rows[-1][0], rows[-1][1]
        known = None if life.known is None else life.known.rows
        return None if known is None else (known.latest.frame_id, known.latest.vector)

    def _total(self, life: Life) -> tuple[Vector | None, int, float]:
        known = None if life.known is None else life.known.rows
        total = None if known is None else known.total.copy()
        count, weight = (0, 0.0) if known is None else (known.count, known.weight)
        for seen in life.boxes:
            if seen.state is State.ROW and seen.row is not None:
                share = 1.0 if self._terms.vector is TrackVector.MEAN else float(np.float32(max(seen.quality, 0.001)))
                part = np.float32(share) * seen.row
                total = np.zeros(len(part), np.float32) + part if total is None else total + part
                count, weight = count + 1, weight + share
        return total, count, weight

    def _check_snapshot(self, life: Life, snapshot: Snapshot) -> None:
        total, count, weight = self._total(life)
        name = f"track {life.track_id}"
        check("snapshot", snapshot.track_id == life.track_id, name)
        check("snapshot", (snapshot.rows is None) is (count == 0), name)
        landed = [seen for seen in life.boxes if seen.state is not State.FLYING]
        last = (landed[-1].rect, landed[-1].taken_ns) if landed else None
        if last is None and life.known is not None and life.known.last is not None:
            last = (life.known.last.rect, life.known.last.taken_ns)
        said = None if snapshot.last is None else (snapshot.last.rect, snapshot.last.taken_ns)
        check("last box", said == last, f"{name}: {said}, not {last}")
        if snapshot.rows is None:
            return
        check("count", snapshot.rows.count == count, f"{name}: {snapshot.rows.count}, not {count}")
        check("weight", snapshot.rows.weight == weight, f"{name}: {snapshot.rows.weight}, not {weight}")
        check("sum", total is not None and np.array_equal(snapshot.rows.total, total), name)
        newest = self._newest(life)
        check("latest", newest is not None and snapshot.rows.latest.frame_id == newest[0], name)
        frames = [seen.frame_id for seen in life.boxes if seen.state in (State.ROW, State.CACHED)]
        known = None if life.known is None else life.known.rows
        if known is not None:
            frames = [known.first_frame_id, known.last_frame_id, *frames]
        spans = (snapshot.rows.first_frame_id, snapshot.rows.last_frame_id)
        check("span", spans == (frames[0], frames[-1]), f"{name}: {spans}, not {frames[0]}, {frames[-1]}")


def _policy_asks(
    policy: EmbedPolicy,
    box: BoxPlan,
    came: tuple[int, int],
    last: tuple[Rect, int] | None,
    source: tuple[int, int, float],
) -> bool:
    """`came`: the number of the box's frame, and when it was taken. `source`: the same of the row, and its quality."""
    number, taken_ns = came
    source_number, source_taken, source_quality = source
    age = taken_ns - source_taken
    match policy:
        case EveryFrame():
            return True
        case Once():
            return False
        case AtIntervals():
            by_frames = policy.frames is not None and number >= source_number + policy.frames
            return by_frames or (policy.interval_ns is not None and age >= policy.interval_ns)
        case OnRisk():
            if box.overlap > policy.max_overlap or box.quality - source_quality > policy.min_quality_gain:
                return True
            return age > policy.max_age_ns or (last is not None and _has_moved(policy, box.rect, last[0]))


def _has_moved(policy: OnRisk, rect: Rect, last: Rect) -> bool:
    old_width, old_height = last[2] - last[0], last[3] - last[1]
    wider, higher = (rect[2] - rect[0]) / old_width, (rect[3] - rect[1]) / old_height
    ratios = (wider, 1 / wider, higher, 1 / higher, wider / higher, higher / wider)
    aside = abs((rect[0] + rect[2]) - (last[0] + last[2])) / 2
    along = abs((rect[1] + rect[3]) - (last[1] + last[3])) / 2
    return max(ratios) > policy.max_size_ratio or max(aside / old_width, along / old_height) > policy.max_shift
