"""The memory of tracks by hand: bounds, adoption, and what is counted. The simulator has the rest."""

from __future__ import annotations

import numpy as np

from reidstream_server.core.terms import ModelIndex, SessionKey
from reidstream_server.tracks.memory import RowKind, TrackMemory
from reidstream_server.tracks.room import TrackBounds, TrackRoom
from reidstream_server.tracks.rows import KeptRow, TrackRow, Vector
from reidstream_server.tracks.sighting import Sighting
from reidstream_server.tracks.terms import AtIntervals, EmbedPolicy, Once, TrackTerms
from reidstream_server.tracks.track import FrameTracks, LastBox, SightedBox, Snapshot, Sum, TrackEndCause

MODEL = ModelIndex(0)
DIM = 4
SECOND = 1_000_000_000
RECT = (0.0, 0.0, 10.0, 20.0)


def a_room(max_tracks: int = 8, max_bytes: int = 1 << 20) -> TrackRoom:
    return TrackRoom(TrackBounds(max_tracks=max_tracks, max_bytes=max_bytes))


def a_memory(room: TrackRoom, policy: EmbedPolicy | None = None, session: int = 1) -> TrackMemory:
    terms = TrackTerms(timeout_ns=SECOND, policy=Once() if policy is None else policy)
    return TrackMemory(terms, {MODEL: RowKind(dim=DIM, unit=True)}, room, SessionKey(session))


def boxes(*track_ids: int) -> list[SightedBox]:
    return [
        SightedBox(index=index, model=MODEL, seen=Sighting(track_id=one, rect=RECT, quality=0.5, overlap=0.0))
        for index, one in enumerate(track_ids)
    ]


def came(memory: TrackMemory, frame_id: int, *track_ids: int, now: int = 0) -> FrameTracks:
    return memory.decide(frame_id, boxes(*track_ids), taken_ns=now, now=now)


def unit(number: int = 0) -> Vector:
    row = np.zeros(DIM, np.float32)
    row[number % DIM] = 1
    return row


def a_snapshot(track_id: int, frame_id: int = 5, taken_ns: int = 0) -> Snapshot:
    latest = TrackRow(vector=unit(), frame_id=frame_id, quality=0.5, taken_ns=taken_ns)
    rows = Sum(
        model=MODEL,
        total=np.asarray(unit() / 2, np.float32),
        weight=0.5,
        count=1,
        latest=latest,
        kept=(KeptRow(vector=unit(), frame_id=frame_id, weight=0.5),),
        first_frame_id=frame_id,
        last_frame_id=frame_id,
    )
    return Snapshot(track_id=track_id, rows=rows, last=LastBox(rect=RECT, taken_ns=taken_ns))


def test_a_million_tracks_take_no_more_than_their_bounds() -> None:
    """Each of its own id, with or without an answer, and nobody takes their ends."""
    room = a_room(max_tracks=16, max_bytes=100_000)
    memory = a_memory(room)
    other = a_memory(room, session=2)
    most = 0
    for frame_id in range(1000):
        frame = came(memory, frame_id, *range(frame_id * 1000, frame_id * 1000 + 1000), now=frame_id)
        if frame_id % 2:
            memory.answered(frame, unit)
        most = max(most, room.figures().bytes)
        assert memory.open <= 16
        assert memory.held <= 32
    assert 0 < most <= 100_000
    assert came(other, 1, 7).boxes  # there is room for a newcomer
    memory.close()
    other.close()
    assert (room.figures().open, room.figures().bytes) == (0, 0)


def test_tracks_that_find_no_room_at_another_server_end_at_once() -> None:
    """Those without a box for longest; the others go on, and the newest is evicted last."""
    room = a_room(max_tracks=2)
    memory = a_memory(room)
    memory.adopt([a_snapshot(n, taken_ns=n) for n in (3, 1, 2)], now=10)
    assert [(one.track.track_id, one.cause) for one in memory.ended] == [(1, TrackEndCause.EVICTED)]
    memory.ended.clear()
    came(memory, 6, 9)
    assert [one.track.track_id for one in memory.ended] == [2]


def test_frames_of_another_server_are_counted_by_their_ids() -> None:
    """Every third frame is embedded, wherever the stream was cut."""
    for first in (6, 7, 8):
        memory = a_memory(a_room(), AtIntervals(frames=3))
        memory.adopt([a_snapshot(7)], now=0)
        asked = [box.source is not None for n in range(first, 9) for box in came(memory, n, 7).boxes]
        assert asked == [n == 8 for n in range(first, 9)]


def test_cached_rows_take_room_until_their_answer_is_written() -> None:
    """Three times their bytes; where that is not free, boxes are embedded."""
    room = a_room(max_bytes=40_000)
    memory = a_memory(room)
    memory.answered(came(memory, 1, 7), lambda _: unit())
    tracks = room.tracks.taken
    frames = []
    for frame_id in range(2, 200):
        frame = came(memory, frame_id, 7)
        if not frame.cached:
            break
        memory.answered(frame, lambda _: unit())
        frames.append(frame)
    assert room.answers.taken == len(frames) * 3 * 4 * DIM
    assert len(frames) < 198
    for frame in frames:
        memory.answer_written(frame)
        memory.answer_written(frame)
    assert (room.answers.taken, room.tracks.taken) == (0, tracks)
    assert came(memory, 500, 7).cached == frozenset({0})


def test_a_row_that_was_told_never_changes() -> None:
    """A snapshot, and a row that an answer waits with, stay as they were."""
    memory = a_memory(a_room(), AtIntervals(frames=2))
    memory.answered(came(memory, 1, 7), lambda _: unit(0))
    kept = memory.answered(came(memory, 2, 7), lambda _: None)[0]
    (snapshot,) = memory.open_tracks()
    memory.answered(came(memory, 3, 7), lambda _: unit(1))
    assert np.array_equal(kept.vector, unit(0))
    assert snapshot.rows is not None
    assert np.array_equal(snapshot.rows.total, unit(0) / 2)
    assert (snapshot.rows.count, snapshot.rows.latest.frame_id) == (1, 1)
