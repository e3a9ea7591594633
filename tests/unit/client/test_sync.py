"""The client for programs without asyncio: the same answers, from any thread, and an end that always comes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import CoroutineType
from typing import Any

import grpc
import numpy as np
import pytest

from reidstream_client import (
    FrameInput,
    Health,
    InvalidRequest,
    OverloadPolicy,
    ReidClient,
    RetryPolicy,
    ServerUnavailable,
    Session,
    SessionDrained,
    SessionEnded,
)
from tests.support.patience import HANG_S
from tests.unit.client.samples import BOX, IMAGE
from tests.unit.client.scripted_server import DIM, SPACE, ScriptedServer, ServerStream


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reidstream-client"]


def test_embed_without_a_with_block(served: ScriptedServer) -> None:
    """As the README shows it; closing is optional and may be repeated."""
    client = ReidClient(served.target)
    answer = client.embed(IMAGE, [[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(answer.embeddings, [[0, 0, 1, 4], [0, 1, 5, 8]])
    assert answer.valid.all()
    client.close()
    client.close()
    with pytest.raises(SessionEnded, match="closed"):
        client.embed(IMAGE, BOX)


def test_the_other_calls(served: ScriptedServer) -> None:
    """Each is its asyncio twin."""
    with ReidClient(served.target) as client:
        assert client.target == served.target
        assert client.ping().health is Health.SERVING
        assert [model.name for model in client.models()] == ["scripted"]
        assert client.info().model.space_id == SPACE
        assert client.embed(IMAGE, []).embeddings.shape == (0, DIM)


def test_a_stream_in_one_thread(served: ScriptedServer) -> None:
    """Send, look what is there, finish, iterate: each answer once, in order."""
    with ReidClient(served.target) as client, client.stream(window_frames=4) as session:
        assert session.opened.window_frames == 4
        answers = []
        for i in range(20):
            assert session.send(b"x", BOX) == i
            answers += session.take()
        session.finish()
        answers += session
        assert session.statistics().window_frames == 0
    assert [answer.frame_id for answer in answers] == list(range(20))


def test_one_thread_sends_and_another_iterates(served: ScriptedServer) -> None:
    """The usual shape of a camera loop."""
    with ReidClient(served.target) as client, client.stream() as session, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, session)
        for _ in range(100):
            session.send(b"x", BOX)
        session.finish()
        assert [answer.frame_id for answer in reading.result()] == list(range(100))


class TakenBetween:
    """A session's thread, and another one that takes what came before the iteration that waited for it can look, and
    then sends the last frame.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.thread = session._thread
        self.taken: list[int] = []

    def call(self, coroutine: CoroutineType[Any, Any, Any]) -> object:
        waited = coroutine.__name__ == "_next"
        result = self.thread.call(coroutine)
        if waited and not self.taken:
            with ThreadPoolExecutor(1) as other:
                other.submit(self.take_and_send).result()
        return result

    def take_and_send(self) -> None:
        self.taken = [answer.frame_id for answer in self.session.take()]
        self.session.send(b"file", BOX)
        self.session.finish()


def test_one_thread_takes_while_another_iterates(served: ScriptedServer) -> None:
    """Answers that went elsewhere are not the end of the session: it goes on to the last."""
    with ReidClient(served.target) as client, client.stream() as session:
        between = TakenBetween(session)
        session._thread = between  # type: ignore[assignment] # what another thread may do at that moment
        session.send(b"file", BOX)
        iterated = [answer.frame_id for answer in session]
    assert (between.taken, iterated) == ([0], [1])


def test_many_cameras_share_a_client(served: ScriptedServer) -> None:
    """One connection, a session each, from a thread each."""

    def camera(name: str) -> list[int]:
        with client.stream(camera_id=name) as session:
            for _ in range(20):
                session.send(b"x", BOX)
            session.finish()
            return [answer.frame_id for answer in session]

    with ReidClient(served.target) as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(camera, "abcdefgh")) == [list(range(20))] * 8
    assert {stream.open.options.camera_id for stream in served.streams} == set("abcdefgh")


def test_embed_many_pipelines_and_keeps_the_order(served: ScriptedServer) -> None:
    """Tuples or typed frames; more than one frame was in the window at a time."""

    async def by_threes(stream: ServerStream) -> None:
        await stream.opened(frames=3)
        for _ in range(2):
            for frame in await stream.take(3):
                await stream.answer(frame)
        await stream.answer_all()

    served.on_stream = by_threes
    frames = [FrameInput(image=b"x", boxes=[[i, 0, 1, 2]], frame_id=10 * i) for i in range(3)]
    more = [(b"x", [[i, 0, 1, 2]]) for i in range(3, 6)]
    with ReidClient(served.target) as client:
        answers = list(client.embed_many([*frames, *more], overload_policy=OverloadPolicy.WAIT))
    assert [answer.frame_id for answer in answers] == [0, 10, 20, 21, 22, 23]
    assert [answer.embeddings[0, 2] for answer in answers] == [0, 1, 2, 3, 4, 5]
    assert served.streams[0].max_frames == 3


async def leave_when_full(stream: ServerStream) -> None:
    """Accept a whole window, leave, and answer only once the client has said that it sends no more."""
    await stream.opened(frames=2)
    frames = await stream.take(2)
    await stream.drain(frames[-1].frame_id)
    assert await stream.frame() is None
    for frame in frames:
        await stream.answer(frame)


def test_embed_many_gives_what_a_leaving_server_accepted(served: ScriptedServer) -> None:
    """The third frame finds the server leaving; the first two are answered after that, and given."""
    served.on_stream = leave_when_full
    given: list[int] = []
    with ReidClient(served.target) as client, pytest.raises(SessionDrained) as caught:
        given.extend(answer.frame_id for answer in client.embed_many([(b"x", BOX)] * 5))
    assert given == [0, 1]
    assert caught.value.unanswered == ()


def test_leaving_embed_many_early_ends_its_session(served: ScriptedServer) -> None:
    """The generator closes its stream; the client goes on."""
    with ReidClient(served.target) as client:
        answers = client.embed_many((b"x", BOX) for _ in iter(int, 1))
        assert next(answers).frame_id == 0
        answers.close()  # type: ignore[attr-defined] # it is a generator
        assert client.embed(IMAGE, BOX).valid.all()


def test_errors_come_through(served: ScriptedServer) -> None:
    """From a call, from a session, and the caller's own from a block."""
    with ReidClient(served.target) as client:
        with pytest.raises(InvalidRequest):
            client.embed(IMAGE, [1, 2, 3, 4])
        with pytest.raises(ZeroDivisionError), client.stream():
            _ = 1 / 0
    with ReidClient("127.0.0.1:1", retry=RetryPolicy(attempts=1)) as client, pytest.raises(ServerUnavailable):
        client.ping()


def test_a_broken_stream_raises_from_the_iteration(served: ScriptedServer) -> None:
    """After the answers that came."""

    async def break_off(stream: ServerStream) -> None:
        await stream.opened()
        frames = await stream.take(2)
        await stream.answer(frames[0])
        await stream.context.abort(grpc.StatusCode.UNAVAILABLE, "power cut")

    served.on_stream = break_off
    with ReidClient(served.target) as client, client.stream() as session:
        session.send(b"x", BOX)
        session.send(b"x", BOX)
        assert next(session).frame_id == 0
        with pytest.raises(ServerUnavailable, match="power cut") as caught:
            next(session)
        assert caught.value.unanswered == (1,)


def test_closing_wakes_other_threads(served: ScriptedServer) -> None:
    """One waits for an answer that does not come, one for room in the window; both get an error, nobody hangs."""
    full = threading.Event()

    async def stuck(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        await stream.take(1)
        full.set()
        await stream.frame()

    served.on_stream = stuck
    client = ReidClient(served.target)
    with client.stream() as session, ThreadPoolExecutor(2) as pool:
        session.send(b"x", BOX)
        full.wait()
        waits: list[Future[Any]] = [pool.submit(next, session), pool.submit(session.send, b"x", BOX)]
        client.close()
        for wait in waits:
            assert isinstance(wait.exception(), SessionEnded)


def test_a_forgotten_client_ends_its_thread(served: ScriptedServer) -> None:
    """Garbage collection closes what nobody closed."""
    before = len(client_threads())
    client = ReidClient(served.target)
    client.embed(IMAGE, BOX)
    assert len(client_threads()) == before + 1
    del client
    gc.collect()
    assert len(client_threads()) == before


def test_a_program_that_closes_nothing_ends_quietly(served: ScriptedServer) -> None:
    """With a client, a session and an unfinished generator open at its end: no message, no hang."""
    program = f"""
import reidstream_client
client = reidstream_client.ReidClient({served.target!r})
client.embed(b"x", {BOX})
context = client.stream()
session = context.__enter__()
session.send(b"x", {BOX})
answers = client.embed_many([(b"x", {BOX})] * 50)
next(answers)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_client_needs_no_other_package() -> None:
    """An edge box has neither OpenCV nor our server and engines."""
    program = (
        "import sys, reidstream_client, reidstream_client.cli\n"
        "print([name for name in ('cv2', 'PIL', 'onnxruntime', 'reidstream_engines', 'reidstream_server')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=HANG_S)
    assert done.stdout == "[]\n"
