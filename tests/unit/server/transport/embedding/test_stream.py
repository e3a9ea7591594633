"""What goes out on a stream: answers and events in one order, whatever they are."""

from __future__ import annotations

import numpy as np

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_server.core.terms import ModelIndex
from reidstream_server.runtime.session import TrackEnded
from tests.support.gate import Gate
from tests.support.harness import frame, serving, stream_to, until

SUM = np.arange(32, dtype=np.float32)


def ended(track_id: int) -> TrackEnded:
    return TrackEnded(
        track_id=track_id, model=ModelIndex(0), total=SUM, weight=2.0, count=3, first_frame_id=1, last_frame_id=2
    )


async def test_an_event_goes_out_between_the_answers_where_it_happened() -> None:
    """Behind what was handed out before it, ahead of what comes after it; the last one before the stream ends."""
    gate = Gate()
    engine = FakeEngine(max_batch=2, slots=1, script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        (session,) = server.runtime.sessions()
        server.runtime.track_ended(session, ended(7))
        await stream.call.write(frame(1))
        await until(lambda: gate.entered == 1)
        first = await stream.read()
        gate.opened.set()
        second = await stream.read()
        server.runtime.track_ended(session, ended(8))
        await stream.call.done_writing()
        third, end = await stream.read(), await stream.read()
    assert [item.WhichOneof("message") for item in (first, second, third) if item] == [
        *("track_ended", "frame_result", "track_ended"),
    ]
    assert first is not None
    assert (first.track_ended.track.track_id, first.track_ended.track.count) == (7, 3)
    assert np.array_equal(np.frombuffer(first.track_ended.track.sum.data, "<f4"), SUM)
    assert end is None


async def test_what_a_session_holds_now_is_told_while_it_holds_it() -> None:
    """Frames and bytes of its window, until the answer is written."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        (session,) = server.runtime.sessions()
        await stream.call.write(frame(1))
        await until(lambda: gate.entered == 1)
        held = server.runtime.session_figures(session)
        gate.opened.set()
        await stream.result()
        await until(lambda: server.runtime.session_figures(session).window_frames == 0)
    assert (held.frames, held.answered, held.window_frames) == (1, 0, 1)
    assert held.window_bytes == held.bytes > 1000
