"""Sessions with a fake server. Nothing but the client is imported, as in its users' tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reidstream_client import ErrorReason, FrameInput, Ordering, OverloadPolicy
from reidstream_client.testing import FakeServer

FRAME = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
BOXES = [[1, 2, 30, 39], [20, 10, 50, 35]]
BOX = [[1, 2, 30, 39]]


def test_a_session_in_one_thread() -> None:
    """Sent, looked at, finished, iterated; the server knows what was asked for."""
    with (
        FakeServer(window_frames=4) as server,
        server.client() as client,
        client.stream(camera_id="gate", window_frames=99, shared_memory=True) as session,
    ):
        assert (session.opened.window_frames, session.epoch) == (4, 0)
        assert "fake server" in session.opened.shared_memory_refusal
        answers = []
        for _ in range(20):
            session.send(FRAME, BOXES)
            answers += session.take()
        session.finish()
        answers += session
    assert [answer.frame_id for answer in answers] == list(range(20))
    (opened,) = server.sessions
    assert (opened.options.camera_id, opened.window_frames, opened.epoch) == ("gate", 99, 0)
    assert all(frame.session is opened for frame in server.frames)


async def test_a_session_in_an_event_loop() -> None:
    """The same server serves both kinds of clients."""
    with FakeServer() as server:
        async with server.async_client() as client, client.stream() as session:
            for _ in range(20):
                await session.send(FRAME, BOXES)
            await session.finish()
            assert [answer.frame_id async for answer in session] == list(range(20))
        async with server.async_client() as client:
            assert (await client.embed(FRAME, BOXES)).valid.all()
    assert len(server.frames) == 21


def test_a_session_that_is_left_is_over_at_the_server() -> None:
    """With frames open, which it forgets."""
    with FakeServer() as server, server.client() as client:
        server.hold()
        with client.stream() as session:
            session.send(FRAME, BOX)
            server.wait_for_frames(1)
        assert server.held == ()
        server.release()


def test_answers_are_held_until_they_are_released() -> None:
    """The window fills, and the real policy decides: nothing sleeps."""
    with FakeServer(window_frames=2) as server, server.client() as client:
        server.hold()
        with client.stream(overload_policy=OverloadPolicy.DROP_OLDEST) as session:
            for _ in range(5):
                session.send(FRAME, BOX)
            server.wait_for_frames(2)
            assert server.held == (0, 1)
            server.release()
            session.finish()
            answers = list(session)
    assert [answer.frame_id for answer in answers] == [0, 1, 2, 3, 4]
    assert [answer.error.reason if answer.error else None for answer in answers] == [
        *(None, None, ErrorReason.DROPPED, ErrorReason.DROPPED, None)
    ]


async def test_answers_may_come_in_any_order() -> None:
    """Which a session in the order of completion shows, and another one hides."""
    with FakeServer() as server:
        server.hold()
        async with (
            server.async_client() as client,
            client.stream(ordering=Ordering.AS_COMPLETED) as completed,
            client.stream() as ordered,
        ):
            for session in (completed, ordered):
                for frame_id in (1, 2, 3) if session is completed else (11, 12, 13):
                    await session.send(FRAME, BOX, frame_id=frame_id)
            await server.async_wait_for_frames(6)
            server.release(3, 1, 2, 13, 11, 12)
            assert [(await anext(completed)).frame_id for _ in range(3)] == [3, 1, 2]
            assert [(await anext(ordered)).frame_id for _ in range(3)] == [11, 12, 13]
            with pytest.raises(ValueError, match=r"frame 3 is not held; held are \(\)"):
                server.release(3)


def test_a_sender_waits_for_room() -> None:
    """The policy WAIT, with a server that holds the line."""
    with FakeServer(window_frames=1) as server, server.client() as client, ThreadPoolExecutor(1) as pool:
        server.hold()
        with client.stream() as session:
            session.send(FRAME, BOX)
            sending = pool.submit(session.send, FRAME, BOX)
            server.wait_for_frames(1)
            assert not sending.done()
            server.release(0)
            assert sending.result() == 1


async def test_all_ways_to_send_say_the_same() -> None:
    """`send`, `send_frame` and `embed` in both kinds of clients, and `embed_many`: one message each."""
    given = FrameInput(
        image=FRAME,
        boxes=BOXES,
        frame_id=5,
        class_ids=[1, 2],
        scores=[0.5, 0.25],
        track_ids=[7, 8],
        source_size=(120, 80),
        capture_unix_ns=99,
        age_s=1000.0,
    )
    options = {name: getattr(given, name) for name in given.__slots__ if name not in {"image", "boxes"}}
    with FakeServer() as server:
        async with server.async_client() as client:
            await client.embed(FRAME, BOXES, **options)
            for stream in (client.stream, client.resuming_stream):
                async with stream() as session:
                    await session.send(FRAME, BOXES, **options)
                    await session.send_frame(FrameInput(**{**options, "image": FRAME, "boxes": BOXES, "frame_id": 6}))
                    await server.async_wait_for_frames(len(server.frames) + 1)
                    await session.finish()
                    assert [answer.frame_id async for answer in session] == [5, 6]
        _block(server, options, given)
    sent = [(f.xyxy.tolist(), f.boxes, f.source_size, f.capture_unix_ns, int(f.age_s)) for f in server.frames]
    assert len(sent) == 1 + 2 * 2 + 4
    assert all(one == sent[0] for one in sent)
    assert [frame.frame_id for frame in server.frames] == [5, 5, 6, 5, 6, 5, 5, 6, 5]


def _block(server: FakeServer, options: dict[str, object], given: FrameInput) -> None:
    with server.client() as client:
        client.embed(FRAME, BOXES, **options)  # type: ignore[arg-type]
        with client.stream() as session:
            session.send(FRAME, BOXES, **options)  # type: ignore[arg-type]
            session.send_frame(FrameInput(**{**options, "image": FRAME, "boxes": BOXES, "frame_id": 6}))  # type: ignore[arg-type]
            session.finish()
            assert len(list(session)) == 2
        assert len(list(client.embed_many([given]))) == 1
