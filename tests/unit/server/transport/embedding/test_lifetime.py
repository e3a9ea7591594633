"""When a session is asked to leave though nobody stops the server, and how many streams may say nothing."""

from __future__ import annotations

import grpc

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_proto.v1 import session_pb2
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


async def test_a_session_that_waits_for_an_answer_is_not_idle() -> None:
    """However long it takes; the time begins when the answer is written."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine, idle_timeout_s=0.01) as server, stream_to(server) as stream:
        await stream.call.write(opening())
        await stream.call.write(frame(1))
        await until(lambda: gate.entered == 1 or server.runtime.open_sessions == 0)
        if gate.entered:  # else the machine was so slow that it was idle before
            (session,) = server.runtime.sessions()
            await stream.read()
            assert not session.draining
            gate.opened.set()
            assert (await stream.result()).frame_id == 1
            drain = await stream.read()
            assert drain is not None
            assert drain.drain.last_accepted_frame_id == 1
        gate.opened.set()


async def test_silent_streams_of_one_connection_leave_room_for_another() -> None:
    """However many it opens; the rest is refused without a word of it being read."""
    async with serving(max_sessions=4) as server, wire_to(server.port) as silent:
        calls = [silent.call(EMBED_STREAM) for _ in range(60)]
        half = (2 * 4 + 64) // 2
        await until(lambda: silent.ended == set(calls[half:]))
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
