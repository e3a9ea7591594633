"""Models that come and go under a running server: what is open finishes on the model that it began with."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_engines.protocol import Engine
from reidstream_proto.v1 import frame_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.core.terms import DrainReason
from reidstream_server.runtime.models import ServedModel
from tests.support.gate import Gate
from tests.support.harness import RawStream, frame, serving, stream_to, until


def version(number: int, *, name: str = "person", script: FakeScript | None = None) -> FakeEngine:
    """A model of this name with a space of its own; its vectors have `number` + 4 numbers."""
    spec = fake_spec(name, dim=number + 4)
    return FakeEngine(replace(spec, artifact_sha256=f"{number:064x}", space_id=f"1:{number:064x}"), script=script)


def first_of(server: RunningServer) -> ServedModel:
    return server.runtime.models.default


async def answered(stream: RawStream, number: int) -> frame_pb2.FrameResult:
    await stream.call.write(frame(number))
    return await stream.result()


def spaces(result: frame_pb2.FrameResult) -> list[tuple[str, int]]:
    return [(block.space_id[-1], block.dim) for block in result.blocks]


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("inference-"))


def shown(server: RunningServer) -> str:
    return generate_latest(server.parts.registry).decode()


async def test_new_sessions_get_the_newest_and_open_ones_keep_theirs() -> None:
    """By the same name, at the same time, each in the space that its opening named."""
    async with serving(version(1)) as server, stream_to(server) as old, stream_to(server) as new:
        before = first_of(server)
        assert (await old.open()).models[0].space_id == before.spec.space_id
        server.runtime.add_model(version(2))
        opened = await new.open()
        assert opened.models[0].version == f"{2:064x}"[:12]
        found = [spaces(await answered(stream, number)) for number, stream in enumerate((old, new, old))]
        assert found == [[("1", 5)], [("2", 6)], [("1", 5)]]


async def test_a_retired_model_is_gone_when_its_last_session_is_over() -> None:
    """Not before; then its engine may be closed, and its threads have ended."""
    async with serving(version(1)) as server, stream_to(server) as old:
        before = first_of(server)
        await old.open()
        server.runtime.add_model(version(2))
        retiring = asyncio.create_task(server.runtime.retire_model(before))
        assert spaces(await answered(old, 1)) == [("1", 5)]
        assert not retiring.done()
        await old.call.done_writing()
        assert await old.results() == []
        assert await retiring
        assert threads() == ["inference-person-0", "inference-person-1"]
        assert [model.spec.space_id[-1] for model in server.runtime.models.models] == ["2"]
        assert [state.name for state in server.runtime.statistics().models] == ["person"]


async def test_a_batch_that_runs_is_answered_from_the_model_it_began_with() -> None:
    """Its client may be gone from the table's view long before; its vector is not lost, and names its space."""
    gate = Gate()
    slow = version(1, script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(slow) as server, stream_to(server) as old:
        before = first_of(server)
        await old.open()
        await old.call.write(frame(1))
        await old.call.done_writing()
        await until(lambda: gate.entered == 1)
        server.runtime.add_model(version(2))
        retiring = asyncio.create_task(server.runtime.retire_model(before))
        gate.opened.set()
        (result,) = await old.results()
        assert spaces(result) == [("1", 5)]
        assert await retiring


async def test_sessions_may_be_asked_to_leave_a_retired_model() -> None:
    """A resuming client comes back on the newest."""
    async with serving(version(1)) as server, stream_to(server) as old, stream_to(server) as new:
        before = first_of(server)
        await old.open()
        server.runtime.add_model(version(2))
        retiring = asyncio.create_task(server.runtime.retire_model(before))
        for session in server.runtime.sessions():
            if before.index in session.agreement.terms.models:
                server.runtime.drain_session(session, DrainReason.CONNECTION_AGE, 5.0)
        assert (await old.read()) is not None
        assert await old.read() is None
        assert await retiring
        assert (await new.open()).models[0].space_id[-1] == "2"


async def test_a_model_of_another_name_comes_and_goes() -> None:
    """The default stays what it was, and who asks for the name afterwards is told which there are."""
    async with serving(version(1)) as server, stream_to(server) as late:
        other = server.runtime.add_model(version(2, name="vehicle"))
        assert [model.name for model in server.runtime.models.models] == ["person", "vehicle"]
        assert await server.runtime.retire_model(other)
        await late.call.write(frame(1).__class__(session_open=opening_for("vehicle")))
        assert (await late.refusal())[1] == "unknown model 'vehicle'; this server has person"


def opening_for(name: str) -> session_pb2.SessionOpen:
    options = session_pb2.EmbedOptions(camera_id="c", models=[session_pb2.ModelChoice(name=name)])
    return session_pb2.SessionOpen(session_id=bytes(16), options=options)


async def test_metrics_follow_the_models() -> None:
    """A name that goes on keeps its counters; what only the old version had is shown no more."""
    async with serving(version(1)) as server, stream_to(server) as stream:
        before = first_of(server)
        await stream.open()
        await answered(stream, 1)
        server.runtime.add_model(version(2))
        server.runtime.add_model(version(3, name="vehicle"))
        both = shown(server)
        assert both.count("reidstream_model_info{") == 3
        assert both.count('reidstream_ready_crops{model="person"}') == 1
        assert 'reidstream_embeddings_total{model="vehicle"} 0.0' in both
        await stream.call.done_writing()
        await stream.results()
        assert await server.runtime.retire_model(before)
        after = shown(server)
        assert after.count("reidstream_model_info{") == 2
        assert 'reidstream_embeddings_total{model="person"} 2.0' in after


@pytest.mark.parametrize("engines", [1, 3])
async def test_many_reloads_leave_nothing(engines: int) -> None:
    """No thread, no series and no state of the scheduler."""
    async with serving(*(version(i, name=f"m{i}") for i in range(engines))) as server:
        before = threads()
        lines = len(shown(server).splitlines())
        for number in range(50):
            old = first_of(server)
            server.runtime.add_model(version(number, name=old.name))
            assert await server.runtime.retire_model(old)
        assert threads() == before
        assert len(shown(server).splitlines()) == lines
        assert len(server.runtime.statistics().models) == engines


async def test_a_thread_that_is_inside_the_engine_is_told() -> None:
    """Its engine must not be closed: the runtime says so, now and when it is closed."""
    gate = Gate()
    stuck: Engine = version(1, script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(stuck) as server, stream_to(server) as old:
        before = first_of(server)
        await old.open()
        await old.call.write(frame(1))
        await until(lambda: gate.entered == 1)
        retiring = asyncio.create_task(server.runtime.retire_model(before))
        old.call.cancel()
        await until(lambda: server.runtime.open_sessions == 0)
        assert not retiring.done()  # the batch may still write into a frame
        gate.opened.set()
        assert await retiring
