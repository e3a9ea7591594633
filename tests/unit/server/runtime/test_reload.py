"""Models that come and go under a running server: what is open finishes on the model that it began with."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_engines.protocol import Engine
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.core.terms import DrainReason
from reidstream_server.errors import UnknownModel
from reidstream_server.runtime import at_work
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.workers import Workers
from tests.support.gate import Gate
from tests.support.harness import RawStream, frame, serving, stream_to, stub_of, until
from tests.support.patience import HANG_S


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


async def test_an_engine_with_a_thread_inside_is_not_given_free() -> None:
    """Its batch may still write into a frame, so nothing says that the engine may be closed until it is back."""
    gate = Gate()
    busy: Engine = version(1, script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(busy) as server, stream_to(server) as old:
        before = first_of(server)
        await old.open()
        await old.call.write(frame(1))
        await until(lambda: gate.entered == 1)
        retiring = asyncio.create_task(server.runtime.retire_model(before))
        old.call.cancel()
        await until(lambda: server.runtime.open_sessions == 0)
        assert not retiring.done()
        gate.opened.set()
        assert await retiring
        assert await server.runtime.retire_model(before)  # again: it is gone, at once


async def test_threads_that_have_not_ended_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """False is not for ever, and a slow moment at a reload does not change how the process ends."""
    async with serving(version(1)) as server:
        before = first_of(server)
        server.runtime.add_model(version(2))
        with monkeypatch.context() as hurry:
            hurry.setattr(Workers, "close", lambda *_: False)
            assert not await server.runtime.retire_model(before)
            assert not await server.runtime.retire_model(before)
        assert await server.runtime.retire_model(before)
    assert not server.runtime.stuck


async def test_who_gives_up_waiting_stops_nothing() -> None:
    """The model stays withdrawn, goes when its last session is over, and may be waited for again."""
    async with serving(version(1)) as server, stream_to(server) as old:
        before = first_of(server)
        await old.open()
        server.runtime.add_model(version(2))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.runtime.retire_model(before), 0.01)
        waiting = asyncio.create_task(server.runtime.retire_model(before))
        assert spaces(await answered(old, 1)) == [("1", 5)]
        await old.call.done_writing()
        await old.results()
        assert await waiting


async def test_a_runtime_that_closes_during_a_reload_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is cancelled who did not ask for it, and a batch that comes back late does no harm."""
    monkeypatch.setattr(at_work, "GRACE_S", HANG_S)
    gate = Gate()
    busy: Engine = version(1, script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(busy) as server:
        before = first_of(server)
        async with stream_to(server) as old:
            await old.open()
            await old.call.write(frame(1))
            await until(lambda: gate.entered == 1)
            retiring = asyncio.create_task(server.runtime.retire_model(before))
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.2, gate.opened.set)  # while the runtime waits for its threads
    assert await retiring in (True, False)
    await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.msg == "runtime_failed"]
    assert not server.runtime.stuck


async def test_a_newer_model_may_be_taken_back() -> None:
    """The one before it has the name again."""
    async with serving(version(1)) as server, stream_to(server) as stream:
        newer = server.runtime.add_model(version(2))
        assert await server.runtime.retire_model(newer)
        assert (await stream.open()).models[0].space_id[-1] == "1"


async def test_the_default_is_a_name_and_no_other_model_steps_in() -> None:
    """Clients that name no model would get vectors of another space, and not notice."""
    async with serving(version(1), version(2, name="vehicle")) as server:
        models = server.runtime.models
        assert await server.runtime.retire_model(first_of(server))
        for name in ("", "person"):
            with pytest.raises(UnknownModel, match="this server has vehicle"):
                models.find(name)
        async with stub_of(server.port) as stub:
            listed = await stub.ListModels(service_pb2.ListModelsRequest())
        assert [(model.name, model.is_default) for model in listed.models] == [("vehicle", False)]
        back = server.runtime.add_model(version(3))
        assert models.default is back
        assert [model.name for model in models.models] == ["person", "vehicle"]


async def test_a_model_whose_threads_cannot_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the table, not in the scheduler, and no thread that waits for ever."""
    async with serving(version(1)) as server:
        before = threads()
        started = iter([True, False])
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if thread.name.startswith("inference-") and not next(started):
                raise RuntimeError("can't start new thread")
            real(thread)

        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", start)
            with pytest.raises(RuntimeError, match="new thread"):
                server.runtime.add_model(version(2, name="vehicle"))
        assert [model.name for model in server.runtime.models.models] == ["person"]
        assert len(server.runtime.statistics().models) == 1
        await until(lambda: threads() == before)


async def test_a_names_series_go_with_its_last_model() -> None:
    """Its counters, too: who scrapes would take them for a model that is there."""
    async with serving(version(1)) as server:
        other = server.runtime.add_model(version(2, name="vehicle"))
        assert 'model="vehicle"' in shown(server)
        assert await server.runtime.retire_model(other)
        assert 'model="vehicle"' not in shown(server)
