"""When a session is asked to leave though nobody stops the server, and how many streams may say nothing."""

from __future__ import annotations

from dataclasses import replace

import grpc

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_proto.v1 import session_pb2
from reidstream_server.transport.embedding.lifetime import Lifetime
from reidstream_server.transport.embedding.service import OPENING_PLACES
from tests.support.gate import Gate
from tests.support.harness import frame, opening, serving, stream_to, until
from tests.support.wire import message_of, wire_to

EMBED_STREAM = "/reidstream.v1.EmbeddingService/EmbedStream"


async def test_an_idle_session_is_asked_to_leave_and_its_place_is_free() -> None:
    """With a reason of its own; its stream ends well."""
    async with serving(idle_timeout_s=0.2) as server, stream_to(server) as stream:
        await stream.open()
        drain = await stream.read()
        assert drain is not None
        assert drain.drain.reason == session_pb2.DRAIN_REASON_IDLE
        assert await stream.read() is None
        assert await stream.call.code() == grpc.StatusCode.OK
        await until(lambda: server.runtime.open_sessions == server.embedding.open_streams == 0)


async def test_a_session_is_idle_when_nothing_is_open_and_nothing_came_for_long() -> None:
    """While it waits for an answer it is not, however long that takes; the time begins when the answer is written."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        (session,) = server.runtime.sessions()
        now_ns = session.counters.began_ns
        limits = replace(server.embedding._limits, idle_timeout_s=100.0)
        with Lifetime(session, server.runtime, limits, clock=lambda: now_ns) as lifetime:
            now_ns += int(99e9)
            lifetime.look()
            assert not session.draining
            await stream.call.write(frame(1))
            await until(lambda: gate.entered == 1)
            now_ns += int(1000e9)
            lifetime.look()
            assert not session.draining
            gate.opened.set()
            await stream.result()
            await until(lambda: server.runtime.session_figures(session).window_frames == 0)
            now_ns = session.counters.quiet_since_ns + int(99e9)
            lifetime.look()
            assert not session.draining
            now_ns += int(2e9)
            lifetime.look()
            assert session.draining


async def test_silent_streams_of_one_connection_leave_room_for_another() -> None:
    """However many it opens; the rest is refused without a word of it being read.

    Which ones is left open: gRPC takes calls that come together in an order of its own.
    """
    async with serving(max_sessions=4) as server, wire_to(server.port) as silent:
        for _ in range(60):
            silent.call(EMBED_STREAM)
        half = (2 * 4 + 64) // 2
        await until(lambda: len(silent.ended) == 60 - half)
        assert server.embedding.open_streams == half
        async with stream_to(server) as stream:
            await stream.open()


async def test_all_sessions_may_be_resumed_while_as_many_streams_are_silent() -> None:
    """What opens takes no place of those that are silent."""
    names = [number.to_bytes(16, "big") for number in range(4)]
    async with serving(max_sessions=8) as server, wire_to(server.port) as client:
        for epoch in (0, 1):
            for name in names:
                message = opening(session_id=name, epoch=epoch).SerializeToString()
                client.call(EMBED_STREAM, message_of(message))
            await until(lambda epoch=epoch: len(client.ended) == 4 * epoch and server.embedding.open_streams == 4)
        assert server.runtime.open_sessions == 4


async def test_unfinished_openings_hold_a_few_messages_only() -> None:
    """However many streams begin one; another client's stream opens meanwhile, and its calls are served."""
    async with serving() as server, wire_to(server.port) as slow:
        data = opening().SerializeToString()
        for _ in range(3 * OPENING_PLACES):
            slow.call(EMBED_STREAM, message_of(data, sent=10))
        reception = server.embedding._reception
        await until(lambda: reception.waiting == 3 * OPENING_PLACES - OPENING_PLACES // 2)
        assert reception.taken == OPENING_PLACES // 2
        async with stream_to(server) as stream:
            await stream.open()
