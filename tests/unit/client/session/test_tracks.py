"""A session with a memory of tracks over one stream: what is asked for, what is cached, what ends and when."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    CallRejected,
    EmbedAtIntervals,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    EmbedPolicy,
    FrameEmbeddings,
    InvalidRequest,
    Ordering,
    Outcome,
    OverloadPolicy,
    ProtocolFault,
    ReidError,
    SessionDrained,
    SessionEnded,
    SessionEvent,
    TrackEndCause,
    TrackEnded,
    TrackOptions,
    TrackVector,
)
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from tests.support.clock import Clock
from tests.unit.client.samples import BOX, BOXES, IMAGE, Script
from tests.unit.client.scripted_server import DIM, ScriptedServer, ServerStream, block, f32, result

TRACKS = TrackOptions(timeout_s=60.0)
AGREED = session_pb2.TrackOptions(
    timeout_ms=60_000, every_frame=session_pb2.EmbedEveryFrame(), vector=session_pb2.TRACK_VECTOR_ROBUST
)
HELD = OverloadPolicy.DROP_OLDEST


def the_end(
    track_id: int, *, last_frame_id: int = 0, cause: TrackEndCause = TrackEndCause.CLIENT
) -> service_pb2.EmbedStreamResponse:
    return service_pb2.EmbedStreamResponse(
        track_ended=session_pb2.TrackEnded(
            track=frame_pb2.TrackSnapshot(
                track_id=track_id,
                sum=block("scripted", f32([[1] * DIM])),
                weight=1.0,
                count=1,
                last_frame_id=last_frame_id,
            ),
            cause=session_pb2.TrackEndCause.ValueType(cause.value),
            vector=block("scripted", f32([[0.5] * DIM])),
        )
    )


async def collect(session: AsyncSession[SessionEvent]) -> tuple[list[int | str], ReidError | None]:
    """Frame ids, and the ids and causes of tracks as text, in the order in which they came."""
    events: list[int | str] = []
    try:
        async for event in session:
            said = f"{event.track_id} {event.cause.name}" if isinstance(event, TrackEnded) else event.frame_id
            events.append(said)
    except ReidError as error:
        return events, error
    return events, None


POLICIES: list[tuple[EmbedPolicy, session_pb2.TrackOptions]] = [
    (EmbedEveryFrame(), session_pb2.TrackOptions(every_frame=session_pb2.EmbedEveryFrame())),
    (EmbedOnce(), session_pb2.TrackOptions(once=session_pb2.EmbedOnce())),
    (EmbedAtIntervals(frames=5), session_pb2.TrackOptions(at_intervals=session_pb2.EmbedAtIntervals(frames=5))),
    (
        EmbedAtIntervals(frames=5, seconds=0.25),
        session_pb2.TrackOptions(at_intervals=session_pb2.EmbedAtIntervals(frames=5, milliseconds=250)),
    ),
    (EmbedOnRisk(), session_pb2.TrackOptions(on_risk=session_pb2.EmbedOnRisk())),
    (
        EmbedOnRisk(max_overlap=0.5, max_size_ratio=1.5, max_shift=0.75, min_quality_gain=0.0, max_age_s=1.5),
        session_pb2.TrackOptions(
            on_risk=session_pb2.EmbedOnRisk(
                max_overlap=0.5, max_size_ratio=1.5, max_shift=0.75, min_quality_gain=0.0, max_age_ms=1500
            )
        ),
    ),
]


@pytest.mark.parametrize(("policy", "wire"), POLICIES, ids=lambda value: type(value).__name__)
async def test_what_is_asked_for_arrives_and_what_was_agreed_is_published(
    server: ScriptedServer, policy: EmbedPolicy, wire: session_pb2.TrackOptions
) -> None:
    """What is left open is the server's; what it has filled in is `opened.tracks`."""
    agreed = session_pb2.TrackOptions(
        timeout_ms=1500,
        on_risk=session_pb2.EmbedOnRisk(max_overlap=0.25, max_age_ms=2000),
        vector=session_pb2.TRACK_VECTOR_MEAN,
        representatives=2,
    )
    server.on_stream = lambda stream: stream.opened(tracks=agreed)
    asked = TrackOptions(embed=policy, timeout_s=1.5, vector=TrackVector.MEAN, representatives=2)
    async with AsyncReidClient(server.target) as client, client.stream(tracks=asked) as session:
        assert session.opened.tracks == TrackOptions(
            embed=EmbedOnRisk(max_overlap=0.25, max_age_s=2.0),
            timeout_s=1.5,
            vector=TrackVector.MEAN,
            representatives=2,
        )
    wire.timeout_ms, wire.vector, wire.representatives = 1500, session_pb2.TRACK_VECTOR_MEAN, 2
    assert server.streams[0].open.track_options == wire


async def test_a_cached_box_has_the_row_of_another_frame(server: ScriptedServer) -> None:
    """And says of which one, how much older it is, and how good it was."""

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED)
        (frame,) = await stream.take(1)
        answer = result(frame)
        answer.boxes[1].outcome = frame_pb2.OUTCOME_CACHED
        answer.boxes[1].source_frame_id, answer.boxes[1].source_age_ns = 40, 250_000_000
        answer.boxes[1].quality = 0.75
        answer.boxes[2].CopyFrom(frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_SOURCE_LOST))
        await stream.answer(answer)
        await stream.answer_all()

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream(tracks=TRACKS) as session:
        await session.send(IMAGE, [*BOXES, [1, 1, 9, 9]], frame_id=50, track_ids=[7, 8, 9])
        answer = await anext(session)
    assert isinstance(answer, FrameEmbeddings)
    assert answer.outcomes == (Outcome.EMBEDDED, Outcome.CACHED, Outcome.SOURCE_LOST)
    assert answer.valid.tolist() == [True, True, False]
    assert answer.cached.tolist() == [False, True, False]
    assert answer.source_frame_ids.tolist() == [50, 40, 50]
    assert answer.source_ages_s.tolist() == [0, 0.25, 0]
    assert answer.quality.tolist() == [0.5, 0.75, 0]
    assert answer.embeddings[1].any()


async def test_ends_come_between_the_answers_where_the_server_put_them(server: ScriptedServer) -> None:
    """`take` and iterating give the same."""

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED)
        frames = await stream.take(2)
        await stream.answer(frames[0])
        await stream.write(the_end(7, cause=TrackEndCause.TIMEOUT))
        await stream.answer(frames[1])
        assert await stream.frame() is None
        await stream.write(the_end(8, cause=TrackEndCause.SESSION))

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream(tracks=TRACKS) as session:
        for _ in range(2):
            await session.send(IMAGE, BOX, track_ids=[7])
        await session.finish()
        assert await collect(session) == ([0, "7 TIMEOUT", 1, "8 SESSION"], None)


async def ends_and_frames(stream: ServerStream) -> list[object]:
    """What the client says until it half-closes, in order."""
    said: list[object] = []
    while True:
        request: object = await stream.context.read()
        if not isinstance(request, service_pb2.EmbedStreamRequest):
            return said
        if request.HasField("end_tracks"):
            said.append([*request.end_tracks.track_ids])
        else:
            said.append(request.frame.frame_id)
            await stream.answer(request.frame)


async def test_tracks_are_ended_between_the_frames_that_were_sent(server: ScriptedServer) -> None:
    """Each id once; more than a message may have go in several."""
    said: list[object] = []

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED)
        said.extend(await ends_and_frames(stream))

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream(tracks=TRACKS) as session:
        await session.end_tracks([])
        await session.send(IMAGE, BOX)
        await session.end_tracks(np.array([7, 8, 7]).tolist())
        await session.end_tracks(range(5000))
        await session.send(IMAGE, BOX)
        await session.finish()
        await collect(session)
    assert said[:2] == [0, [7, 8]]
    assert said[2:] == [[*range(4096)], [*range(4096, 5000)], 1]


async def test_an_end_waits_for_the_frame_that_is_held_before_it(server: ScriptedServer) -> None:
    """A window of one: 1 is held and replaced by 2, with an end behind each. Both mean the tracks of 0."""
    said: list[object] = []
    go = asyncio.Event()

    async def script(stream: ServerStream) -> None:
        await stream.opened(frames=1, tracks=AGREED)
        (first,) = await stream.take(1)
        await go.wait()
        await stream.answer(first)
        said.extend(await ends_and_frames(stream))

    server.on_stream = script
    async with (
        AsyncReidClient(server.target) as client,
        client.stream(tracks=TRACKS, overload_policy=HELD) as session,
    ):
        for track_id in (5, 6, 7):
            await session.send(IMAGE, BOX)
            await session.end_tracks([track_id])
        go.set()
        await session.finish()
        events, error = await collect(session)
    assert (events, error) == ([0, 1, 2], None)
    assert said == [[5], [6], 2, [7]]


MISUSES = [
    (lambda session: session.end_tracks(7), InvalidRequest, "track_ids must be a list or a tuple, such as .7., not 7"),
    (lambda session: session.end_tracks([-1]), InvalidRequest, r"track_ids\[0\] must lie in 0 to 2\*\*64 - 1, not -1"),
    (lambda session: session.end_tracks(["7"]), InvalidRequest, r"track_ids\[0\] must be a whole number, not '7'"),
]


@pytest.mark.parametrize(("misuse", "kind", "complaint"), MISUSES)
async def test_what_are_no_ids_is_refused(
    server: ScriptedServer, misuse: object, kind: type[ReidError], complaint: str
) -> None:
    """Before anything is said to the server; the session goes on."""
    server.on_stream = _serve
    async with AsyncReidClient(server.target) as client, client.stream(tracks=TRACKS) as session:
        with pytest.raises(kind, match=complaint):
            await misuse(session)  # type: ignore[operator]
        await session.send(IMAGE, BOX)
        await session.finish()
        assert await collect(session) == ([0], None)


async def _serve(stream: ServerStream) -> None:
    await stream.opened(tracks=AGREED)
    await ends_and_frames(stream)


@pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
async def test_a_session_without_tracks_ends_none(server: ScriptedServer, kind: str) -> None:
    """The way out is in the error. It gives nothing but answers, and the server's word of a track is a fault."""
    async with AsyncReidClient(server.target) as client, getattr(client, kind)() as session:
        with pytest.raises(
            InvalidRequest, match=r"no tracks; open it with tracks=TrackOptions\(\), and send track_ids"
        ):
            await session.end_tracks([7])
        await session.send(IMAGE, BOX, track_ids=[7])
        await session.finish()
        with pytest.raises(InvalidRequest, match="no tracks"):
            await session.end_tracks([7])
        assert [event.frame_id async for event in session] == [0]
    assert not server.streams[0].open.HasField("track_options")


async def test_an_end_that_nobody_asked_for_breaks_the_contract(server: ScriptedServer) -> None:
    """As does a memory of tracks."""

    async def script(stream: ServerStream) -> None:
        await stream.opened()
        await stream.write(the_end(7))
        await stream.answer_all()

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        with pytest.raises(ProtocolFault, match="sent track_ended, which the contract does not allow here"):
            await anext(session)
    server.on_stream = lambda stream: stream.opened(tracks=AGREED)
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(ProtocolFault, match="agreed on a memory of tracks that was not asked for"):
            async with client.stream():
                pytest.fail("there is no session")


async def test_after_finish_no_track_can_be_ended(server: ScriptedServer) -> None:
    """They all end then."""
    server.on_stream = _serve
    async with AsyncReidClient(server.target) as client, client.stream(tracks=TRACKS) as session:
        await session.finish()
        with pytest.raises(InvalidRequest, match="this session was finished"):
            await session.end_tracks([7])
        assert await collect(session) == ([], None)


async def _unimplemented(stream: ServerStream) -> None:
    await stream.context.abort(grpc.StatusCode.UNIMPLEMENTED, "track_options: this server has no tracks; leave it out")


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (_unimplemented, "track_options: this server has no tracks"),
        (lambda stream: stream.opened(), "the server has no memory of tracks: update it, or open the session without"),
    ],
)
async def test_a_server_without_tracks_is_refused(server: ScriptedServer, script: Script, complaint: str) -> None:
    """Whether it says so, or does not know the word."""
    server.on_stream = script
    async with AsyncReidClient(server.target) as client:
        for context in (client.stream(tracks=TRACKS), client.resuming_stream(tracks=TRACKS)):
            with pytest.raises(CallRejected, match=complaint):
                async with context:
                    pytest.fail("there is no session")


async def test_tracks_are_for_answers_in_order() -> None:
    """Nothing is asked of the server."""
    client = AsyncReidClient("localhost:1")
    for context in (
        client.stream(tracks=TRACKS, ordering=Ordering.AS_COMPLETED),
        client.resuming_stream(tracks=TRACKS, ordering=Ordering.AS_COMPLETED),
    ):
        with pytest.raises(
            InvalidRequest, match=r"tracks need ordering=Ordering\.IN_ORDER, not Ordering\.AS_COMPLETED"
        ):
            async with context:
                pytest.fail("there is no session")


@pytest.mark.parametrize(
    "agreed",
    [
        session_pb2.TrackOptions(timeout_ms=1, every_frame=session_pb2.EmbedEveryFrame()),
        session_pb2.TrackOptions(timeout_ms=1, vector=session_pb2.TRACK_VECTOR_MEAN),
    ],
    ids=["no vector", "no policy"],
)
async def test_an_agreement_that_says_nothing_is_a_fault(
    server: ScriptedServer, agreed: session_pb2.TrackOptions
) -> None:
    """The server has defaults for everything, and tells them."""
    server.on_stream = lambda stream: stream.opened(tracks=agreed)
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(ProtocolFault, match="SessionOpened does not say what was agreed"):
            async with client.stream(tracks=TRACKS):
                pytest.fail("there is no session")


async def test_a_leaving_server_says_which_tracks_are_open(server: ScriptedServer) -> None:
    """Also where every frame was answered: without that word the caller would take them for ended."""
    named = [frame_pb2.TrackSnapshot(track_id=7), frame_pb2.TrackSnapshot(track_id=8)]

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED)
        (frame,) = await stream.take(1)
        assert await stream.frame() is None
        await stream.write(
            service_pb2.EmbedStreamResponse(
                drain=session_pb2.Drain(
                    last_accepted_frame_id=0, reason=session_pb2.DRAIN_REASON_SHUTDOWN, open_tracks=named
                )
            )
        )
        await stream.answer(frame)
        await stream.write(the_end(8))

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream(tracks=TRACKS) as session:
        await session.send(IMAGE, BOX, track_ids=[7])
        await session.finish()
        events, error = await collect(session)
    assert events == [0, "8 CLIENT"]
    assert isinstance(error, SessionDrained)
    assert "tracks that have not ended: 1 (resuming_stream() goes on with them)" in str(error)


async def test_ends_are_waited_for_where_all_frames_were_given_up(server: ScriptedServer, clock: Clock) -> None:
    """A session without tracks would end at once: the server owes it nothing that anybody wants."""
    there, go = asyncio.Event(), asyncio.Event()

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED, budget_ms=10_000)
        (frame,) = await stream.take(1)
        there.set()
        await go.wait()
        await stream.answer(frame)
        await stream.write(the_end(7, cause=TrackEndCause.SESSION))

    server.on_stream = script
    async with (
        AsyncReidClient(server.target, latency_budget_s=10) as client,
        client.stream(tracks=TRACKS, budget_grace_s=0) as session,
    ):
        await session.send(IMAGE, BOX, track_ids=[7])
        await there.wait()
        await clock.turn_on(11)
        first = await anext(session)
        assert isinstance(first, FrameEmbeddings)
        assert first.local
        await session.finish()
        go.set()
        assert await collect(session) == (["7 SESSION"], None)


async def test_a_closed_session_says_so(server: ScriptedServer) -> None:
    """As `send` would."""
    server.on_stream = _serve
    async with AsyncReidClient(server.target) as client:
        async with client.stream(tracks=TRACKS) as session:
            pass
        with pytest.raises(SessionEnded, match="the session was closed"):
            await session.end_tracks([7])
