"""What tracing costs a frame that is not traced, counted in calls: nothing when it is off, five when it is on.

Why calls: a time on a machine that others use too has a noise of per cents, and this is below one. How long they take
is measured by `python -m bench tracing`.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.app import RunningServer
from tests.support.collector import Collector, collecting
from tests.support.harness import frame, serving, stream_to, stub_of, until

TRACING = ("/reidstream_server/tracing/", "/reidstream_server/runtime/trace.py", "/transport/embedding/traces.py")
A_FRAMES_OWN = ("/reidstream_server/transport/embedding/", "/reidstream_server/intake/", "/reidstream_server/metrics/")
"""Where each frame calls the same, whatever else happens at the time."""
_RESUMED = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
FRAMES = 20
NOT_SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@contextmanager
def calls(*parts: str) -> Iterator[Counter[str]]:
    """The functions that this thread, and so the event loop, calls of these files. Coroutines are not counted: they are
    resumed as often as they wait.
    """
    found: Counter[str] = Counter()

    def look(here: FrameType, event: str, _: object) -> None:
        code = here.f_code
        if event == "call" and not code.co_flags & _RESUMED and any(part in code.co_filename for part in parts):
            found[code.co_qualname] += 1

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


async def frames_one_by_one(server: RunningServer, *parts: str, traceparent: str = "") -> Counter[str]:
    """What some frames of an open stream call, each sent when the one before is answered; one is no picture."""
    async with stream_to(server) as stream:
        await stream.open()
        for number in range(1, 4):
            await stream.call.write(frame(number))
            await stream.result()
        await until(lambda: not server.runtime.window_statistics().unwritten_answers)
        with calls(*parts) as found:
            for number in range(4, 4 + FRAMES):
                message = frame(number, image=b"none" if number == 4 else None)
                message.frame.traceparent = traceparent
                await stream.call.write(message)
                await stream.result()
            await until(lambda: not server.runtime.window_statistics().unwritten_answers)
    return found


async def test_without_tracing_no_frame_calls_anything_of_it() -> None:
    """Not on a stream, not in a single call, and not for a frame whose client traces."""
    options = session_pb2.EmbedOptions(camera_id="c")
    async with serving() as server, stub_of(server.port) as stub:
        assert await frames_one_by_one(server, *TRACING) == {}
        assert await frames_one_by_one(server, *TRACING, traceparent=NOT_SAMPLED[:-1] + "1") == {}
        with calls(*TRACING) as found:
            await stub.Embed(service_pb2.EmbedRequest(options=options, frame=frame(1).frame))
        assert found == {}


async def test_a_frame_that_is_not_traced_costs_five_calls(collector: Collector) -> None:
    """To decide, and to see at the answer that there is nothing to tell; one more for a frame that is refused."""
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server:
        found = await frames_one_by_one(server, *TRACING)
    assert found == {
        "FrameTraces.begin": FRAMES,
        "SamplingTracer.begin": FRAMES,
        "Sampler.trace_id": FRAMES,
        "Sampler._chosen": FRAMES,
        "FrameTraces.answered": FRAMES,
        "FrameTraces.refused": 1,
    }


async def test_a_frame_whose_client_decided_against_it_costs_as_little(collector: Collector) -> None:
    """Its header is read, and that is all: there is no random number, and nothing to keep."""
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server:
        found = await frames_one_by_one(server, *TRACING, traceparent=NOT_SAMPLED)
    assert found == {
        "FrameTraces.begin": FRAMES,
        "SamplingTracer.begin": FRAMES,
        "parse_traceparent": FRAMES,
        "Sampler.trace_id": FRAMES,
        "FrameTraces.answered": FRAMES,
        "FrameTraces.refused": 1,
    }


async def test_beside_these_calls_a_frame_calls_the_same_with_tracing_as_without(collector: Collector) -> None:
    """Reading, rules and metrics do nothing for a trace that is not there."""
    async with serving() as server:
        without = await frames_one_by_one(server, *A_FRAMES_OWN)
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server:
        beside = await frames_one_by_one(server, *A_FRAMES_OWN)
    tracing = [name for name in beside if name.startswith("FrameTraces.")]
    assert tracing
    for name in tracing:
        del beside[name]
    assert beside == without
