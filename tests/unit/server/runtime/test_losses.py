"""Which camera loses frames, as the log says it: once a minute, and once that all is well again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import grpc
import pytest

from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import (
    DROPPED_BY_QUEUE,
    DROPPED_BY_WINDOW,
    SHUTTING_DOWN,
    FrameFault,
    invalid_frame_id,
    queue_full,
)
from reidstream_server.core.terms import Flow
from reidstream_server.runtime import losses
from reidstream_server.runtime.losses import LossWatch
from reidstream_server.runtime.session import Session
from tests.support.harness import frame, serving, stream_to, stub_of, until

S = 1_000_000_000
NEVER = FrameTimes(
    arrived_ns=0, age_ns=0, staging_ns=0, decoded_ns=0, first_batch_ns=0, last_batch_ns=0, batch_sizes=()
)
Logged = pytest.LogCaptureFixture


def written(session: Session, *answers: FrameFault | None) -> None:
    for fault in answers:
        session.counters.written(fault, NEVER, 0)


def told(logged: Logged) -> list[tuple[str, dict[str, object]]]:
    """The events since the last look at them, without the figures that every one has."""
    names = ("session_degraded", "session_recovered")
    found = [(record.msg, dict(vars(record)["reidstream_fields"])) for record in logged.records if record.msg in names]
    logged.clear()
    return found


@pytest.fixture
async def sessions(caplog: Logged) -> AsyncIterator[Sequence[Session]]:
    """Two that are open, of the cameras gate and yard."""
    caplog.set_level(logging.INFO)
    async with serving() as server, stream_to(server) as first, stream_to(server) as second:
        await first.open(camera_id="gate")
        await second.open(camera_id="yard")
        found = server.runtime.sessions()
        for session in found:
            session.counters.began_ns = 0
        caplog.clear()
        yield found


async def test_a_session_that_loses_frames_is_named_with_what_was_lost(
    sessions: Sequence[Session], caplog: Logged
) -> None:
    """By reason, beside what was answered; the others are not mentioned."""
    gate, yard = sessions
    written(gate, None, None, DROPPED_BY_WINDOW, DROPPED_BY_QUEUE, DROPPED_BY_QUEUE, invalid_frame_id(1, 1))
    written(yard, None)
    LossWatch().look(sessions, 40 * S)
    assert told(caplog) == [
        (
            "session_degraded",
            {
                "client": "",
                "camera_id": "gate",
                "through": "stream",
                "seconds": 40.0,
                "answered": 2,
                "given_up": 3,
                "failed": 1,
                "invalid_frame_id": 1,
                "dropped_by_window": 1,
                "dropped_by_queue": 2,
            },
        )
    ]


async def test_each_event_is_of_the_time_since_the_last_one(sessions: Sequence[Session], caplog: Logged) -> None:
    """And there is none for a minute without losses."""
    watch, (gate, _) = LossWatch(), sessions
    written(gate, DROPPED_BY_QUEUE)
    watch.look(sessions, 60 * S)
    written(gate, None, DROPPED_BY_QUEUE, DROPPED_BY_QUEUE)
    watch.look(sessions, 120 * S)
    watch.look(sessions, 180 * S)
    figures = [(fields["seconds"], fields["answered"], fields["dropped_by_queue"]) for _, fields in told(caplog)]
    assert figures == [(60.0, 0, 1), (60.0, 1, 2)]


async def test_a_session_is_well_again_once(sessions: Sequence[Session], caplog: Logged) -> None:
    """When it has answered frames for a minute and lost none. A camera that is silent has proved nothing."""
    watch, (gate, _) = LossWatch(), sessions
    written(gate, DROPPED_BY_WINDOW)
    watch.look(sessions, 60 * S)
    watch.look(sessions, 120 * S)
    assert [name for name, _ in told(caplog)] == ["session_degraded"]
    written(gate, None)
    watch.look(sessions, 180 * S)
    expected = {"client": "", "camera_id": "gate", "through": "stream", "seconds": 60.0, "answered": 1}
    assert told(caplog) == [("session_recovered", expected)]
    written(gate, None)
    watch.look(sessions, 240 * S)
    assert told(caplog) == []


async def test_what_a_drain_gives_up_is_no_loss_of_the_session(sessions: Sequence[Session], caplog: Logged) -> None:
    """The log says `draining`."""
    written(sessions[0], SHUTTING_DOWN)
    LossWatch().look(sessions, 60 * S)
    assert told(caplog) == []


async def test_nothing_is_kept_of_a_session_that_is_over(sessions: Sequence[Session]) -> None:
    """The watch is as large as what is open."""
    watch = LossWatch()
    watch.look(sessions, 60 * S)
    assert len(watch._seen) == 2
    watch.look(sessions[:1], 120 * S)
    assert len(watch._seen) == 1


def test_single_calls_of_a_camera_are_like_a_session(caplog: Logged) -> None:
    """They have none that lasts, and are counted from one look to the next."""
    caplog.set_level(logging.INFO)
    watch, gate = LossWatch(), Flow(client="gate-pc", camera_id="gate")
    full = queue_full(9, 9, 100)
    for fault in (None, full, full):
        watch.call_answered(gate, fault)
    watch.call_answered(Flow(client="gate-pc", camera_id="yard"), None)
    watch.look([], 60 * S)
    watch.call_answered(gate, None)
    watch.look([], 120 * S)
    watch.call_answered(gate, None)
    watch.look([], 180 * S)
    whose = {"client": "gate-pc", "camera_id": "gate", "through": "calls", "seconds": 60.0}
    lost = {"answered": 1, "given_up": 2, "failed": 0, "queue_full": 2}
    assert told(caplog) == [("session_degraded", whose | lost), ("session_recovered", whose | {"answered": 1})]


def test_names_that_a_client_makes_up_fill_no_memory(caplog: Logged) -> None:
    """A camera for each call: those beyond a number are not counted until the next look."""
    watch = LossWatch()
    for number in range(3000):
        watch.call_answered(Flow(client="", camera_id=str(number)), invalid_frame_id(1, 1))
    assert len(watch._calls) == 1024
    watch.look([], 60 * S)
    assert len(told(caplog)) == 1024
    watch.look([], 120 * S)
    assert (watch._calls, watch._degraded_calls) == ({}, set())


async def test_a_single_call_that_is_refused_is_told(caplog: Logged) -> None:
    """Whatever door it came through."""
    async with serving() as server, stub_of(server.port) as stub:
        options = session_pb2.EmbedOptions(camera_id="gate")
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Embed(service_pb2.EmbedRequest(options=options, frame=frame(1, image=b"junk").frame))
        server.runtime.losses.look(server.runtime.sessions(), 60 * S)
    [(name, fields)] = told(caplog)
    assert (name, fields["camera_id"], fields["invalid_image"]) == ("session_degraded", "gate", 1)


async def test_a_running_server_looks_by_itself(monkeypatch: pytest.MonkeyPatch, caplog: Logged) -> None:
    """At every open session, as long as it runs."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(losses, "LOOK_S", 0.01)
    async with serving() as server, stream_to(server) as stream:
        await stream.open(camera_id="gate")
        for message in (frame(1), frame(1)):
            await stream.call.write(message)
            await stream.result()
        await until(lambda: any(record.msg == "session_degraded" for record in caplog.records))
        await stream.call.write(frame(2))
        await until(lambda: any(record.msg == "session_recovered" for record in caplog.records))
        tasks = [task for task in asyncio.all_tasks() if "_watch_losses" in repr(task)]
        assert len(tasks) == 1
    await until(tasks[0].done)
