"""What goes out on a stream: answers and events in one order, whatever they are."""

from __future__ import annotations

from reidstream_engines.fake import FakeEngine, FakeScript
from tests.support.gate import Gate
from tests.support.harness import frame, serving, stream_to, until
from tests.support.tracking import end_tracks, frame_of, tracked, tracker


async def test_an_event_goes_out_between_the_answers_where_it_happened() -> None:
    """Behind what was handed out before it, ahead of what comes after it; the last one before the stream ends."""
    gate = Gate()
    engine = FakeEngine(max_batch=2, slots=1, script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    gate.opened.set()
    async with serving(engine) as server, tracker(server) as session:
        await session.ask(frame_of(1, tracked(2, 7)))
        gate.opened.clear()
        entered = gate.entered
        await session.send(frame_of(2, tracked(2, 8)), end_tracks(7))
        await until(lambda: gate.entered > entered)
        first = await session.stream.read()
        gate.opened.set()
        second = await session.stream.read()
        await session.stream.call.done_writing()
        third, end = await session.stream.read(), await session.stream.read()
    assert [item.WhichOneof("message") for item in (first, second, third) if item] == [
        *("track_ended", "frame_result", "track_ended"),
    ]
    assert first is not None
    assert (first.track_ended.track.track_id, first.track_ended.track.count) == (7, 1)
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
