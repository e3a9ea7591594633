"""Sessions with tracks on real sockets: what is cached, what is promised, and how tracks end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from reidstream_client.frames.shared_memory import SharedMemory
from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.core.terms import DrainReason
from reidstream_server.tracks.track import TrackEndCause
from tests.support.clock import Clock
from tests.support.gate import Gate
from tests.support.harness import serving, stream_to, until
from tests.support.patience import HANG_S
from tests.support.tracking import (
    CACHED,
    DIM,
    EMBEDDED,
    FAILED,
    HEIGHT,
    ONCE,
    SOURCE_LOST,
    WIDTH,
    Tracker,
    Work,
    end_tracks,
    frame_of,
    jpeg,
    outcomes,
    pixels,
    raw,
    row,
    tracked,
    tracker,
    watched,
)

SNAPSHOTS = session_pb2.TrackOptions(timeout_ms=3_600_000, once=session_pb2.EmbedOnce(), snapshots=True)
DTYPES = [frame_pb2.EMBEDDING_DTYPE_FLOAT32, frame_pb2.EMBEDDING_DTYPE_FLOAT16]
FIRST_BOX, SECOND_BOX = tracked(2, 7), tracked(30, 8)


def encoded_frame(frame_id: int) -> service_pb2.EmbedStreamRequest:
    picture = image_pb2.EncodedImage(data=jpeg(frame_id))
    return service_pb2.EmbedStreamRequest(
        frame=frame_pb2.Frame(frame_id=frame_id, encoded=picture, boxes=[FIRST_BOX, SECOND_BOX])
    )


def raw_frame(frame_id: int) -> service_pb2.EmbedStreamRequest:
    return frame_of(frame_id, FIRST_BOX, SECOND_BOX)


def crops_frame(frame_id: int) -> service_pb2.EmbedStreamRequest:
    crops = [image_pb2.Crop(raw=raw(frame_id * 2 + n), box=(FIRST_BOX, SECOND_BOX)[n]) for n in range(2)]
    return service_pb2.EmbedStreamRequest(
        frame=frame_pb2.Frame(frame_id=frame_id, crops=frame_pb2.CropList(crops=crops))
    )


class SharedFrames:
    """Raw frames in shared memory, each in a place of its own."""

    def __init__(self) -> None:
        self.memory = SharedMemory()

    def __call__(self, frame_id: int) -> service_pb2.EmbedStreamRequest:
        data, offset = pixels(frame_id), 4096 * 4 * frame_id
        mapped = self.memory._map
        assert mapped is not None
        memoryview(mapped)[offset : offset + len(data)] = data
        message = image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=WIDTH, height=HEIGHT)
        message.shared.offset_bytes, message.shared.length_bytes = offset, len(data)
        return service_pb2.EmbedStreamRequest(
            frame=frame_pb2.Frame(frame_id=frame_id, raw=message, boxes=[FIRST_BOX, SECOND_BOX])
        )


KINDS: dict[str, Callable[[int], service_pb2.EmbedStreamRequest]] = {
    "encoded": encoded_frame,
    "raw": raw_frame,
    "crops": crops_frame,
}


# What is cached.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [*KINDS, "shared memory"])
async def test_a_cached_row_is_the_very_row_of_its_source_frame(kind: str, dtype: int) -> None:
    """Bit for bit, for each kind of picture; the engine never sees the second frame, and nobody stages it."""
    shared = SharedFrames() if kind == "shared memory" else None
    make = KINDS[kind] if shared is None else shared
    fields: dict[str, object] = {"dtype": dtype}
    if shared is not None:
        fields["shared_memory"] = shared.memory.offer
    work = Work()
    async with watched(work) as server, tracker(server, None, **fields) as session:
        first = await session.ask(make(1))
        asked = (work.crops, work.pictures)
        (served,) = server.runtime.sessions()
        came = served.counters.bytes
        second = await session.ask(make(5))
        assert (work.crops, work.pictures) == asked
        assert (served.counters.bytes > came) is (shared is None)  # it came all the same
    assert outcomes(first) == [EMBEDDED, EMBEDDED]
    assert outcomes(second) == [CACHED, CACHED]
    assert [row(second, n) for n in range(2)] == [row(first, n) for n in range(2)]
    assert row(first, 0) != row(first, 1)
    assert [box.source_frame_id for box in second.boxes] == [1, 1]
    assert [box.quality for box in second.boxes] == [box.quality for box in first.boxes]
    assert all(box.source_age_ns > 0 for box in second.boxes)
    assert second.timing.decoded_ns == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_cached_row_is_the_very_row_also_at_another_server(kind: str, dtype: int) -> None:
    """The client hands the track over as it knows it from the answers, and the other server embeds nothing."""
    work = Work()
    async with watched(work) as one, tracker(one, SNAPSHOTS, dtype=dtype) as session:
        first = await session.ask(KINDS[kind](1))
    opened_with = handed_over(first, dtype)
    async with watched(work) as other, tracker(other, opened_with, dtype=dtype, epoch=1) as session:
        second = await session.ask(KINDS[kind](2))
        assert (work.crops, work.pictures) == (0, 0)
    assert outcomes(second) == [CACHED, CACHED]
    assert [row(second, n) for n in range(2)] == [row(first, n) for n in range(2)]
    assert [box.source_frame_id for box in second.boxes] == [1, 1]
    assert [box.quality for box in second.boxes] == [box.quality for box in first.boxes]


def handed_over(result: frame_pb2.FrameResult, dtype: int = DTYPES[0]) -> session_pb2.TrackOptions:
    """What a client opens its next stream with: the snapshots of an answer, and in each the row of its box."""
    options = session_pb2.TrackOptions()
    options.CopyFrom(SNAPSHOTS)
    for index, snapshot in enumerate(result.tracks):
        numbers = np.frombuffer(row(result, index), "<f4" if dtype == DTYPES[0] else "<f2").astype("<f4")
        taken = options.open_tracks.add()
        taken.CopyFrom(snapshot)
        taken.latest.CopyFrom(snapshot.kept)
        taken.latest.count, taken.latest.data = 1, numbers.tobytes()
    return options


async def test_only_what_is_embedded_of_a_frame_is_staged() -> None:
    """A new track, and a box without an id, beside cached ones; ready crops that are cached are left out."""
    work = Work()
    async with watched(work) as server, tracker(server) as session:
        await session.ask(crops_frame(1))
        message = crops_frame(2)
        message.frame.crops.crops.add(raw=raw(99), box=tracked(50, 9))
        message.frame.crops.crops.insert(0, image_pb2.Crop(raw=raw(98), box=tracked(50, None)))
        work.crops = work.pictures = 0
        mixed = await session.ask(message)
        assert (work.crops, work.pictures) == (2, 2)
        plain = await session.ask(frame_of(3, tracked(2, None), tracked(30, 8)))
        assert (work.crops, work.pictures) == (3, 3)
    assert outcomes(mixed) == [EMBEDDED, CACHED, CACHED, EMBEDDED]
    assert outcomes(plain) == [EMBEDDED, CACHED]
    assert len({row(mixed, n) for n in range(4)}) == 4


async def test_a_box_without_an_id_and_the_second_of_one_id_are_always_embedded() -> None:
    """They belong to no track."""
    async with serving() as server, tracker(server) as session:
        await session.ask(frame_of(1, tracked(2, 7)))
        result = await session.ask(frame_of(2, tracked(2, 7), tracked(30, 7), tracked(40, None)))
        await session.send(end_tracks(7))
        ended = await session.ended()
    assert outcomes(result) == [CACHED, EMBEDDED, EMBEDDED]
    assert ended.track.count == 1


async def test_what_a_policy_asks_is_told_with_every_default() -> None:
    """SessionOpened has the options that hold; a session without options has none, and its track ids are ignored."""
    options = session_pb2.TrackOptions(timeout_ms=500, on_risk=session_pb2.EmbedOnRisk(max_shift=2), representatives=2)
    async with serving() as server:
        async with stream_to(server) as stream:
            opened = await stream.open(track_options=options)
        async with stream_to(server) as stream:
            assert not (await stream.open()).HasField("track_options")
            for frame_id in (1, 2):
                await stream.call.write(frame_of(frame_id, tracked(2, 7)))
                assert outcomes(await stream.result()) == [EMBEDDED]
    told = opened.track_options
    assert (told.timeout_ms, told.representatives, told.vector) == (500, 2, session_pb2.TRACK_VECTOR_ROBUST)
    assert told.on_risk.max_shift == 2
    assert {field.name for field, _ in told.on_risk.ListFields()} == set(told.on_risk.DESCRIPTOR.fields_by_name)
    assert opened.limits.max_tracks_per_session == 512
    assert opened.limits.max_track_bytes == 256 << 20


async def test_boxes_are_embedded_again_when_a_policy_says_so() -> None:
    """Every second frame; and a box that has moved."""
    every_second = session_pb2.TrackOptions(timeout_ms=1000_000, at_intervals=session_pb2.EmbedAtIntervals(frames=2))
    on_risk = session_pb2.TrackOptions(timeout_ms=1000_000, on_risk=session_pb2.EmbedOnRisk(max_age_ms=3_000_000))
    async with serving() as server:
        async with tracker(server, every_second) as session:
            found = [outcomes(await session.ask(frame_of(n, tracked(2, 7))))[0] for n in range(1, 6)]
        async with tracker(server, on_risk) as session:
            moved = [outcomes(await session.ask(frame_of(n, tracked(x, 7))))[0] for n, x in enumerate((2, 3, 30, 31))]
    assert found == [EMBEDDED, CACHED, EMBEDDED, CACHED, EMBEDDED]
    assert moved == [EMBEDDED, CACHED, EMBEDDED, CACHED]


async def test_what_others_hide_counts_less_in_a_session_with_tracks() -> None:
    """The share that no box in front of it covers; the box with the lower bottom edge is in front."""
    behind, front = tracked(2, 7, width=20), tracked(12, 8, width=20)
    front.rect.y2 = 45
    async with serving() as server:
        async with stream_to(server) as stream:
            await stream.open()
            await stream.call.write(frame_of(1, behind, front))
            plain = await stream.result()
        async with tracker(server) as session:
            hidden = await session.ask(frame_of(1, behind, front))
    assert hidden.boxes[0].quality == pytest.approx(plain.boxes[0].quality / 2)
    assert hidden.boxes[1].quality == pytest.approx(plain.boxes[1].quality)


# What is promised.


def gated(gate: Gate, work: Work | None = None) -> FakeEngine:
    """An engine that stands still until the gate opens."""
    script = FakeScript(seconds_per_batch=1.0, sleep=gate.wait, poison=None if work is None else work.poison)
    return FakeEngine(max_batch=1, slots=1, script=script)


async def test_a_box_is_promised_a_row_that_is_on_its_way() -> None:
    """Five frames of a track come while the first is in the engine: one inference, and each gets its row."""
    gate = Gate()
    async with serving(gated(gate)) as server, tracker(server) as session:
        await session.send(*(frame_of(n, tracked(2, 7)) for n in range(1, 6)))
        await until(lambda: gate.entered == 1)
        gate.opened.set()
        results = [await session.stream.result() for _ in range(5)]
    assert [outcomes(result)[0] for result in results] == [EMBEDDED, CACHED, CACHED, CACHED, CACHED]
    assert {row(result, 0) for result in results} == {row(results[0], 0)}
    assert gate.entered == 1


async def test_a_promise_of_a_row_that_the_engine_failed_on_is_told() -> None:
    """SOURCE_LOST where there is no older row; the next box of the track is embedded."""
    gate, work = Gate(), Work(poisoned={2})
    async with watched(work, [gated(gate, work)]) as server, tracker(server) as session:
        await session.send(frame_of(1, tracked(2, 7)), frame_of(2, tracked(3, 7)))
        await until(lambda: gate.entered == 1)
        gate.opened.set()
        lost = [await session.stream.result() for _ in range(2)]
        again = await session.ask(frame_of(3, tracked(3, 7)))
        cached = await session.ask(frame_of(4, tracked(2, 7)))
    assert [outcomes(result)[0] for result in lost] == [FAILED, SOURCE_LOST]
    assert not lost[1].boxes[0].HasField("row")
    assert (outcomes(again), outcomes(cached)) == ([EMBEDDED], [CACHED])
    assert cached.boxes[0].source_frame_id == 3


async def test_a_promise_falls_back_to_an_older_row() -> None:
    """If the newer source is lost, the box gets the row before it, and the next one is embedded."""
    second = session_pb2.TrackOptions(timeout_ms=1000_000, at_intervals=session_pb2.EmbedAtIntervals(frames=2))
    gate, work = Gate(), Work(poisoned={2})
    gate.opened.set()
    async with watched(work, [gated(gate, work)]) as server, tracker(server, second) as session:
        first = await session.ask(frame_of(1, tracked(3, 7)))
        gate.opened.clear()
        entered = gate.entered
        await session.send(frame_of(2, tracked(3, 7)), frame_of(3, tracked(2, 7)), frame_of(4, tracked(3, 7)))
        await until(lambda: gate.entered > entered)
        gate.opened.set()
        results = [await session.stream.result() for _ in range(3)]
        again = await session.ask(frame_of(5, tracked(3, 7)))
    assert [outcomes(result)[0] for result in results] == [CACHED, FAILED, CACHED]
    assert row(results[2], 0) == row(first, 0)
    assert results[2].boxes[0].source_frame_id == 1
    assert outcomes(again) == [EMBEDDED]


async def test_a_source_that_is_dropped_is_told_and_asked_for_again() -> None:
    """A box was promised the row of a frame that gives way to a newer one: SOURCE_LOST, and the next is embedded."""
    gate = Gate()
    fields = {
        "window": session_pb2.Window(frames=4),
        "overload_policy": session_pb2.OVERLOAD_POLICY_DROP_OLDEST,
    }
    async with serving(gated(gate)) as server, tracker(server, None, **fields) as session:
        await session.send(frame_of(1, tracked(2, 1)))
        await until(lambda: gate.entered == 1)
        others = [frame_of(n, tracked(2, n)) for n in (2, 3, 6)]  # two are ready, and the third is one too many
        await session.send(*others[:2], frame_of(4, tracked(2, 7)), frame_of(5, tracked(2, 7)), others[2])
        await until(lambda: server.runtime.sessions()[0].counters.frames == 6)
        gate.opened.set()
        results = [await session.stream.result() for _ in range(6)]
        again = await session.ask(frame_of(7, tracked(2, 7)))
    assert results[3].error.reason == frame_pb2.ERROR_REASON_DROPPED
    assert outcomes(results[4]) == [SOURCE_LOST]
    assert outcomes(again) == [EMBEDDED]


async def test_a_frame_that_is_rejected_is_a_lost_source() -> None:
    """Its track's next box is embedded, and then it has its row."""
    gate = Gate()
    fields = {"window": session_pb2.Window(frames=1), "overload_policy": session_pb2.OVERLOAD_POLICY_REJECT}
    async with serving(gated(gate)) as server, tracker(server, None, **fields) as session:
        await session.send(frame_of(1, tracked(2, 1)))
        await until(lambda: gate.entered == 1)
        await session.send(frame_of(2, tracked(2, 7)))
        await until(lambda: server.runtime.sessions()[0].counters.frames == 2)
        gate.opened.set()
        results = [await session.stream.result() for _ in range(2)]
        found = [outcomes(await session.ask(frame_of(n, tracked(2, 7)))) for n in (3, 4)]
    assert results[1].error.reason == frame_pb2.ERROR_REASON_WINDOW_FULL
    assert found == [[EMBEDDED], [CACHED]]


async def test_a_source_over_its_budget_is_asked_for_again() -> None:
    """The frame is answered with an error, and its track's next box is embedded."""
    async with serving() as server, tracker(server, latency_budget_ms=20) as session:
        late = await session.ask(frame_of(1, tracked(2, 7), age_ns=10**9))
        again = await session.ask(frame_of(2, tracked(2, 7), age_ns=0))
        cached = await session.ask(frame_of(3, tracked(2, 7)))
    assert late.error.reason == frame_pb2.ERROR_REASON_OVER_BUDGET
    assert outcomes(again) in ([EMBEDDED], [])  # a slow machine may be late here, too
    assert cached.frame_id == 3


async def test_a_crop_that_cannot_be_decoded_is_a_lost_source() -> None:
    """Of ready crops; the others keep theirs."""
    work = Work()
    async with watched(work) as server, tracker(server) as session:
        bad = frame_of(1)
        bad.frame.ClearField("raw")
        bad.frame.crops.crops.add(encoded=image_pb2.EncodedImage(data=jpeg(1)[:40]), box=tracked(2, 7))
        bad.frame.crops.crops.add(raw=raw(2), box=tracked(20, 8))
        first = await session.ask(bad)
        second = await session.ask(crops_frame(2))
    assert first.boxes[0].outcome == frame_pb2.OUTCOME_INVALID_IMAGE
    assert outcomes(second) == [EMBEDDED, CACHED]


# How tracks end.


async def test_a_track_is_over_when_its_client_says_so_and_its_id_is_another_track() -> None:
    """Told behind the last answer with a box of it, also when frames of both are in flight."""
    gate = Gate()
    async with serving(gated(gate)) as server, tracker(server) as session:
        await session.send(frame_of(1, tracked(2, 7)), frame_of(2, tracked(2, 7)), end_tracks(7, 8))
        await session.send(frame_of(3, tracked(2, 7)), end_tracks(7), frame_of(4, tracked(20, 8)))
        await until(lambda: gate.entered == 1)
        gate.opened.set()
        kinds: list[str | None] = []
        results: list[service_pb2.EmbedStreamResponse] = []
        ends: list[service_pb2.EmbedStreamResponse] = []
        while len(kinds) < 6:
            answer = await session.stream.read()
            assert answer is not None
            kinds.append(answer.WhichOneof("message"))
            (ends if answer.HasField("track_ended") else results).append(answer)
    assert kinds == ["frame_result", "frame_result", "track_ended", "frame_result", "track_ended", "frame_result"]
    found = [outcomes(answer.frame_result)[0] for answer in results]
    assert found == [EMBEDDED, CACHED, EMBEDDED, EMBEDDED]
    assert row(results[2].frame_result, 0) != row(results[0].frame_result, 0)
    tracks = [answer.track_ended.track for answer in ends]
    assert [(track.track_id, track.count) for track in tracks] == [(7, 1), (7, 1)]
    assert [(track.first_frame_id, track.last_frame_id) for track in tracks] == [(1, 2), (3, 3)]
    assert {answer.track_ended.cause for answer in ends} == {session_pb2.TRACK_END_CAUSE_CLIENT}


async def test_a_track_ends_with_its_sum_its_vector_and_its_representatives() -> None:
    """The sum of the rows that were answered, each times its weight; in the model's space."""
    every = session_pb2.TrackOptions(timeout_ms=1000_000, representatives=2)
    async with serving() as server, tracker(server, every) as session:
        results = [await session.ask(frame_of(n, tracked(n, 7, width=8 + n))) for n in range(1, 7)]
        await session.send(end_tracks(7))
        ended = await session.ended()
    rows = [np.frombuffer(row(result, 0), "<f4") for result in results]
    weights = [np.float32(max(result.boxes[0].quality, 0.001)) for result in results]
    total = np.zeros(DIM, np.float32)
    for one, weight in zip(rows, weights, strict=True):
        total += weight * one
    track = ended.track
    assert np.array_equal(np.frombuffer(track.sum.data, "<f4"), total)
    assert track.weight == sum(map(float, weights))
    assert (track.count, track.first_frame_id, track.last_frame_id) == (6, 1, 6)
    assert track.sum.space_id == results[0].blocks[0].space_id
    vector = np.frombuffer(ended.vector.data, "<f4")
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert ended.representatives.count == len(ended.representative_frame_ids) == 2
    by_frame = {result.frame_id: row(result, 0) for result in results}
    size = 4 * DIM
    for n, frame_id in enumerate(ended.representative_frame_ids):
        assert ended.representatives.data[n * size : (n + 1) * size] == by_frame[frame_id]


async def test_half_closing_ends_every_track_behind_the_last_answer() -> None:
    """Also one that never got a row: its count is 0, and it has no blocks."""
    work = Work(poisoned={2})
    async with watched(work) as server, tracker(server) as session:
        await session.send(frame_of(1, tracked(2, 7), tracked(20, 8)), frame_of(2, tracked(20, 8)))
        await session.stream.call.done_writing()
        rest = await session.rest()
        await until(lambda: server.runtime.track_figures().open == 0)
        assert server.runtime.track_figures().bytes == 0
    kinds = [answer.WhichOneof("message") for answer in rest]
    assert kinds == ["frame_result", "frame_result", "track_ended", "track_ended"]
    ends = [answer.track_ended for answer in rest[2:]]
    assert [(end.track.track_id, end.track.count) for end in ends] == [(7, 0), (8, 1)]
    assert {end.cause for end in ends} == {session_pb2.TRACK_END_CAUSE_SESSION}
    assert not ends[0].track.HasField("sum")
    assert not ends[0].HasField("vector")


TWO_MODELS = [
    session_pb2.ModelChoice(name="vehicle", class_ids=[2]),
    session_pb2.ModelChoice(name="person"),
]


async def test_a_box_that_goes_to_another_model_begins_another_track() -> None:
    """Its rows lie in another space."""
    engines = [FakeEngine(fake_spec("person", dim=DIM)), FakeEngine(fake_spec("vehicle", dim=16))]
    async with serving(*engines) as server, tracker(server, models=TWO_MODELS) as session:
        await session.ask(frame_of(1, tracked(2, 7)))
        await session.send(frame_of(2, tracked(2, 7, class_id=2)))
        ended = await session.ended()
        second = await session.stream.result()
        third = await session.ask(frame_of(3, tracked(2, 7, class_id=2)))
    assert ended.cause == session_pb2.TRACK_END_CAUSE_MODEL_CHANGED
    assert (ended.track.sum.model, ended.track.count) == ("person", 1)
    assert (outcomes(second), outcomes(third)) == ([EMBEDDED], [CACHED])
    assert third.blocks[0].model == "vehicle"
    assert row(third, 0) == row(second, 0)


async def test_a_full_session_ends_the_track_without_a_box_for_longest() -> None:
    """Where every track has a box in the same frame, the box belongs to none."""
    async with serving(max_tracks_per_session=2) as server, tracker(server) as session:
        await session.ask(frame_of(1, tracked(2, 1)))
        await session.ask(frame_of(2, tracked(2, 2)))
        await session.ask(frame_of(3, tracked(2, 1)))
        await session.send(frame_of(4, tracked(2, 3)))
        evicted = await session.ended()
        await session.stream.result()
        full = await session.ask(frame_of(5, tracked(2, 1), tracked(20, 3), tracked(30, 4)))
        assert server.runtime.track_figures().open == 2
    assert (evicted.cause, evicted.track.track_id) == (session_pb2.TRACK_END_CAUSE_EVICTED, 2)
    assert outcomes(full) == [CACHED, CACHED, EMBEDDED]


async def test_a_track_times_out_and_one_in_flight_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server's clock, which the test turns on."""
    clock = ServerClock(monkeypatch)
    gate = Gate()
    gate.opened.set()
    options = session_pb2.TrackOptions(timeout_ms=5000, once=session_pb2.EmbedOnce())
    async with serving(gated(gate)) as server, tracker(server, options) as session:
        await session.ask(frame_of(1, tracked(2, 7)))
        gate.opened.clear()
        await session.send(frame_of(2, tracked(2, 8)))
        await until(lambda: gate.entered == 2)
        clock.turn_on(4.9)
        await until(lambda: server.runtime.track_figures().open == 2)
        clock.turn_on(0.2)
        first = await session.ended()
        assert server.runtime.track_figures().open == 1
        gate.opened.set()
        await session.stream.result()
        clock.turn_on(5.0)
        second = await session.ended()
    assert [(end.track.track_id, end.cause) for end in (first, second)] == [
        (7, session_pb2.TRACK_END_CAUSE_TIMEOUT),
        (8, session_pb2.TRACK_END_CAUSE_TIMEOUT),
    ]


class ServerClock:
    """The clocks of the event loop and of the server, which a test turns on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._clock = Clock(monkeypatch)
        real_ns = time.monotonic_ns
        monkeypatch.setattr(time, "monotonic_ns", lambda: real_ns() + int(self._clock.ahead_s * 1e9))

    def turn_on(self, seconds: float) -> None:
        """So much later."""
        self._clock.ahead_s += seconds


async def test_a_gap_as_long_as_the_time_out_begins_another_track() -> None:
    """By when frames were taken: it does not matter how late they come."""
    options = session_pb2.TrackOptions(timeout_ms=5000, once=session_pb2.EmbedOnce())
    async with serving() as server, tracker(server, options) as session:
        await session.ask(frame_of(1, tracked(2, 7), age_ns=60 * 10**9))
        await session.send(frame_of(2, tracked(2, 7), age_ns=10**9))
        ended = await session.ended()
        assert outcomes(await session.stream.result()) == [EMBEDDED]
    assert ended.cause == session_pb2.TRACK_END_CAUSE_TIMEOUT


# What operators see.


async def test_metrics_tell_what_tracks_save_hold_and_how_they_end() -> None:
    """Boxes by outcome; open tracks, and bytes beside their limit; ends by cause."""
    gate, work = Gate(), Work(poisoned={2})
    async with watched(work, [gated(gate, work)]) as server:

        def value(name: str, **labels: str) -> float | None:
            return server.parts.registry.get_sample_value(f"reidstream_{name}", labels)

        async def seen(name: str) -> float | None:
            return await asyncio.to_thread(value, name)

        async with tracker(server) as session:
            await session.send(frame_of(1, tracked(2, 7)), frame_of(2, tracked(2, 7), tracked(20, 8)))
            await until(lambda: gate.entered == 1)
            gate.opened.set()
            for _ in range(2):
                await session.stream.result()
            await session.ask(frame_of(3, tracked(20, 8)))
            assert (await seen("tracks"), await seen("track_bytes_limit")) == (2, 256 << 20)
            held = await seen("track_bytes")
            assert held is not None
            assert held > 2 * 7 * 4 * DIM
            await session.send(end_tracks(8))
            await session.ended()
            await session.stream.call.done_writing()
            await session.rest()
        outcomes_seen = {word: value("boxes_total", outcome=word) for word in ("embedded", "cached", "source_lost")}
        ends = {cause.value: value("tracks_ended_total", cause=cause.value) for cause in TrackEndCause}
        await until(lambda: server.runtime.track_figures().bytes == 0)
        assert (await seen("tracks"), await seen("track_bytes")) == (0, 0)
    assert outcomes_seen == {"embedded": 1, "cached": 1, "source_lost": 1}
    assert ends == {"client": 1, "timeout": 0, "session": 1, "evicted": 0, "model_changed": 0}


# Leaving.


async def test_a_drain_hands_open_tracks_over_and_ends_none() -> None:
    """As of the answers that were written before it; another server goes on with them."""
    gate = Gate()
    gate.opened.set()
    async with serving(gated(gate)) as server, tracker(server) as session:
        first = await session.ask(frame_of(1, tracked(2, 7)))
        gate.opened.clear()
        await session.send(frame_of(2, tracked(2, 7), tracked(20, 8)))
        await until(lambda: gate.entered == 2)
        (running,) = server.runtime.sessions()
        server.runtime.drain_session(running, DrainReason.CONNECTION_AGE, HANG_S)
        drain = await session.stream.read()
        gate.opened.set()
        rest = await session.rest()
    assert drain is not None
    assert [answer.WhichOneof("message") for answer in rest] == ["frame_result"]
    (track,) = drain.drain.open_tracks
    assert (track.track_id, track.count, track.last_frame_id, track.latest_frame_id) == (7, 1, 1, 1)
    assert track.latest.data == row(first, 0)
    options = session_pb2.TrackOptions(timeout_ms=1000_000, once=session_pb2.EmbedOnce(), open_tracks=[track])
    async with serving() as other, tracker(other, options, epoch=1) as session:
        cached = await session.ask(frame_of(3, tracked(2, 7)))
        await session.stream.call.done_writing()
        ended = await session.ended()
    assert (outcomes(cached), row(cached, 0)) == ([CACHED], row(first, 0))
    assert (ended.track.count, ended.track.first_frame_id, ended.track.last_frame_id) == (1, 1, 3)
    assert ended.track.sum.data == track.sum.data


@pytest.mark.parametrize("half_closed_first", [False, True])
async def test_a_session_that_was_asked_to_leave_ends_no_track_when_it_half_closes(*, half_closed_first: bool) -> None:
    """Its client goes on elsewhere; one that had half-closed before is through with its tracks."""
    gate = Gate()
    async with serving(gated(gate)) as server, tracker(server) as session:
        await session.send(frame_of(1, tracked(2, 7)))
        await until(lambda: gate.entered == 1)
        (running,) = server.runtime.sessions()
        tracks = running.tracks
        assert tracks is not None
        if half_closed_first:
            await session.stream.call.done_writing()
            await until(lambda: tracks._half_closed)
        server.runtime.drain_session(running, DrainReason.SHUTDOWN, HANG_S)
        if not half_closed_first:
            await session.stream.call.done_writing()
        gate.opened.set()
        kinds = [answer.WhichOneof("message") for answer in await session.rest()]
    assert kinds == ["drain", "frame_result", *(["track_ended"] if half_closed_first else [])]


# What a client may not say.


async def test_tracks_need_answers_in_order() -> None:
    """AS_COMPLETED ends the call."""
    async with serving() as server, stream_to(server) as stream:
        await stream.call.write(_opening(ordering=session_pb2.ORDERING_AS_COMPLETED))
        code, said = await stream.refusal()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "must be IN_ORDER" in said


async def test_a_server_without_track_memory_says_so() -> None:
    """With the setting that turned it off, for both messages."""
    async with serving(max_tracks_per_session=0) as server:
        async with stream_to(server) as stream:
            await stream.call.write(_opening())
            code, said = await stream.refusal()
            assert (code, "tracks" in said) == (grpc.StatusCode.UNIMPLEMENTED, True)
        async with stream_to(server) as stream:
            opened = await stream.open()
            await stream.call.write(end_tracks(1))
            code, said = await stream.refusal()
    assert (opened.limits.max_tracks_per_session, opened.limits.max_track_bytes) == (0, 0)
    assert (code, "EndTracks" in said) == (grpc.StatusCode.UNIMPLEMENTED, True)


async def test_a_session_without_track_memory_has_no_tracks_to_end() -> None:
    """FAILED_PRECONDITION; and too many ids are refused in any session."""
    async with serving() as server:
        async with stream_to(server) as stream:
            await stream.open()
            await stream.call.write(end_tracks(1))
            code, said = await stream.refusal()
            assert (code, "EndTracks" in said) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        async with tracker(server) as session:
            await session.send(end_tracks(*range(4097)))
            code, said = await session.stream.refusal()
    assert (code, said) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "EndTracks.track_ids has 4097 items; it may have at most 4096",
    )


OPTIONS = session_pb2.TrackOptions
WRONG = {
    "no time-out": (OPTIONS(), "timeout_ms is 0; it must be 1 to 3600000"),
    "long time-out": (OPTIONS(timeout_ms=3_600_001), "timeout_ms is 3600001"),
    "representatives": (OPTIONS(timeout_ms=1, representatives=4), "representatives is 4; it must be 0 to 3"),
    "vector": (OPTIONS(timeout_ms=1, vector=9), "vector is 9; this server knows 0, 1, 2"),  # type: ignore[arg-type]
    "no interval": (OPTIONS(timeout_ms=1, at_intervals=session_pb2.EmbedAtIntervals()), "at_intervals is empty"),
    "interval": (
        OPTIONS(timeout_ms=1, at_intervals=session_pb2.EmbedAtIntervals(frames=0)),
        "at_intervals.frames is 0; it must be at least 1",
    ),
    "overlap": (OPTIONS(timeout_ms=1, on_risk=session_pb2.EmbedOnRisk(max_overlap=1.5)), "max_overlap is 1.5"),
    "ratio": (OPTIONS(timeout_ms=1, on_risk=session_pb2.EmbedOnRisk(max_size_ratio=0.5)), "max_size_ratio is 0.5"),
    "shift": (OPTIONS(timeout_ms=1, on_risk=session_pb2.EmbedOnRisk(max_shift=0)), "max_shift is 0"),
    "gain": (OPTIONS(timeout_ms=1, on_risk=session_pb2.EmbedOnRisk(min_quality_gain=float("nan"))), "gain is nan"),
    "age": (OPTIONS(timeout_ms=1, on_risk=session_pb2.EmbedOnRisk(max_age_ms=0)), "max_age_ms is 0"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_an_option_out_of_its_range_is_named(case: str) -> None:
    """With its value, and what it may be."""
    options, expected = WRONG[case]
    async with serving() as server, stream_to(server) as stream:
        await stream.call.write(_opening(options))
        code, said = await stream.refusal()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert expected in said


def _opening(options: session_pb2.TrackOptions = ONCE, **fields: object) -> service_pb2.EmbedStreamRequest:
    message = session_pb2.SessionOpen(
        session_id=bytes(16),
        track_options=options,
        options=session_pb2.EmbedOptions(camera_id="c"),
        **fields,  # type: ignore[arg-type]
    )
    return service_pb2.EmbedStreamRequest(session_open=message)


def numbers(count: int = DIM, value: float = 1.0) -> bytes:
    row = np.zeros(count, "<f4")
    row[0] = value
    return row.tobytes()


async def a_snapshot(server: RunningServer) -> frame_pb2.TrackSnapshot:
    """A good one, of a track with one row."""
    async with tracker(server, SNAPSHOTS) as session:
        return handed_over(await session.ask(frame_of(1, tracked(2, 7)))).open_tracks[0]


def _set(**values: object) -> Callable[[frame_pb2.TrackSnapshot], None]:
    def change(snapshot: frame_pb2.TrackSnapshot) -> None:
        for name, value in values.items():
            target: object = snapshot
            *path, last = name.split("__")
            for part in path:
                target = getattr(target, part)
            setattr(target, last, value)

    return change


LIES: dict[str, tuple[Callable[[frame_pb2.TrackSnapshot], None], str]] = {
    "model": (_set(sum__model="other"), "sum.model is 'other'; the session's models are fake"),
    "dim": (_set(sum__dim=DIM + 1), f"sum.dim is {DIM + 1}; it must be {DIM}"),
    "dtype": (_set(latest__dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT16), "latest.dtype is 2; it must be 1"),
    "short": (_set(sum__data=numbers(DIM - 1)), f"sum.data is {4 * DIM - 4} bytes; it must be {4 * DIM} bytes"),
    "nan": (_set(latest__data=numbers(value=float("nan"))), "latest has a number that is not finite"),
    "inf": (_set(sum__data=numbers(value=float("inf"))), "sum has a number that is not finite"),
    "length": (_set(latest__data=numbers(value=3.0)), "latest has the length 3"),
    "heavy sum": (_set(sum__data=numbers(value=30.0)), "more than its weight"),
    "weight": (_set(weight=2.0), "weight is 2.0; 1 embeddings weigh 0.001 to 1 each"),
    "nan weight": (_set(weight=float("nan")), "weight is nan"),
    "count": (_set(count=2**40), "weight is"),
    "no count": (_set(count=0), "count is 0, but it has rows"),
    "kept": (_set(count=2, weight=1.0), "kept has 1 rows; a track with 2 embeddings keeps 2"),
    "quality": (_set(latest_quality=float("nan")), "latest_quality is nan; it must be 0 to 1"),
    "frames": (_set(first_frame_id=9), "first_frame_id is 9, after last_frame_id 1"),
    "latest frame": (_set(latest_frame_id=9), "latest_frame_id has 9; it must lie between"),
    "box": (_set(last_box__x2=-5.0), "last_box is"),
    "endless box": (_set(last_box__x2=float("inf")), "last_box is"),
}


@pytest.mark.parametrize("case", LIES)
async def test_a_snapshot_that_lies_is_refused(case: str) -> None:
    """The field is named, and what it must be."""
    change, expected = LIES[case]
    async with serving() as server:
        snapshot = await a_snapshot(server)
        change(snapshot)
        async with stream_to(server) as stream:
            await stream.call.write(_opening(session_pb2.TrackOptions(timeout_ms=1000, open_tracks=[snapshot])))
            code, said = await stream.refusal()
        assert server.runtime.track_figures().bytes == 0
    assert code is grpc.StatusCode.INVALID_ARGUMENT, said
    assert said.startswith("track_options.open_tracks[0].")
    assert expected in said


async def test_a_snapshot_of_another_space_a_track_twice_and_too_many_are_refused() -> None:
    """The space with FAILED_PRECONDITION, since nothing of the client's is wrong."""
    async with serving(max_tracks_per_session=3) as server:
        good = await a_snapshot(server)
        other = frame_pb2.TrackSnapshot()
        other.CopyFrom(good)
        other.sum.space_id = "1:other"
        cases = (
            ([other], grpc.StatusCode.FAILED_PRECONDITION, "space 1:other"),
            ([good, good], grpc.StatusCode.INVALID_ARGUMENT, "has the track 7 twice"),
            ([good] * 4, grpc.StatusCode.INVALID_ARGUMENT, "open_tracks has 4 items; it may have at most 3"),
        )
        for snapshots, expected, words in cases:
            async with stream_to(server) as stream:
                await stream.call.write(_opening(session_pb2.TrackOptions(timeout_ms=1000, open_tracks=snapshots)))
                code, said = await stream.refusal()
            assert (code, words in said) == (expected, True), said


async def test_as_many_tracks_as_may_be_open_can_be_handed_over() -> None:
    """Their message is large, and has much beside its rows; both are within the bounds that are published."""
    spec = fake_spec("m" * 128, dim=512)
    async with serving(FakeEngine(spec), max_boxes_per_frame=1, max_queue_boxes=2) as server:
        options = session_pb2.TrackOptions(timeout_ms=3_600_000, once=session_pb2.EmbedOnce())
        for n in range(512):
            options.open_tracks.append(_made(2**64 - 1 - n, spec.name, spec.space_id))
        assert options.ByteSize() > 5 << 20
        async with tracker(server, options, epoch=1) as session:
            assert server.runtime.track_figures().open == 512
            assert outcomes(await session.ask(frame_of(2**63, tracked(2, 2**64 - 1)))) == [CACHED]


def _made(track_id: int, model: str, space_id: str) -> frame_pb2.TrackSnapshot:
    """A snapshot as large as one can be, of a track that nobody had."""

    def block(rows: int) -> frame_pb2.EmbeddingBlock:
        data = numbers(512) * rows
        return frame_pb2.EmbeddingBlock(dim=512, dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT32, count=rows, data=data)

    snapshot = frame_pb2.TrackSnapshot(
        track_id=track_id,
        sum=block(1),
        weight=4.0,
        count=4,
        first_frame_id=2**62,
        last_frame_id=2**62,
        latest=block(1),
        latest_frame_id=2**62,
        latest_quality=1.0,
        latest_age_ns=10**9,
        last_box=image_pb2.Rect(x1=1, y1=1, x2=2, y2=2),
        last_age_ns=10**9,
        kept=block(4),
        kept_frame_ids=[2**62] * 4,
        kept_weights=[1.0] * 4,
    )
    snapshot.sum.model, snapshot.sum.space_id, snapshot.sum.version = model, space_id, "1" * 64
    return snapshot


async def test_a_hostile_client_gets_no_more_than_its_share() -> None:
    """A track for each of thirty thousand ids, ended by nobody, and read by nobody for long: tracks and bytes stay
    bounded, by the server's own accounts, and all is given back. A test of the memory alone has a million.
    """
    most_bytes = 4 << 20
    async with serving(max_track_bytes=most_bytes, max_tracks_per_session=64) as server:
        async with tracker(server, overload_policy=session_pb2.OVERLOAD_POLICY_REJECT) as session:
            for frame_id in range(30):
                boxes = [tracked(2, frame_id * 1000 + n) for n in range(1000)]
                await session.send(frame_of(frame_id, *boxes))
                figures = server.runtime.track_figures()
                assert figures.open <= 64
                assert figures.bytes <= most_bytes
                if frame_id >= 20:  # from then on it reads
                    await _next_result(session)
            (running,) = server.runtime.sessions()
            assert running.tracks is not None
            assert running.tracks.memory.held <= 128
        await until(lambda: server.runtime.open_sessions == 0)
        await until(lambda: server.runtime.track_figures().bytes == 0)
        assert server.runtime.track_figures().open == 0


async def _next_result(session: Tracker) -> frame_pb2.FrameResult:
    while (answer := await session.stream.read()) is not None:
        if answer.HasField("frame_result"):
            return answer.frame_result
    raise AssertionError
