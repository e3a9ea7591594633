"""Clients that leave: the server hears that they meant to, and cannot take them for lost."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from reidstream_client import AsyncReidClient, OverloadPolicy
from reidstream_client.session import endings
from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.app import RunningServer
from tests.integration.test_metrics import scrape, series_of
from tests.support.gate import Gate
from tests.support.harness import JPEG, frame, serving, stream_to, until
from tests.support.patience import HANG_S

BOX = [[10, 10, 60, 120]]
CLOSE = service_pb2.EmbedStreamRequest(close=session_pb2.Close())


@asynccontextmanager
async def gated() -> AsyncIterator[tuple[RunningServer, Gate]]:
    """A server whose engine is busy until the gate opens, as it does at the end."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine, metrics_enabled=True) as server:
        try:
            yield server, gate
        finally:
            gate.opened.set()


def causes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """How sessions ended, by the log."""
    records = [vars(record)["reidstream_fields"] for record in caplog.records if record.msg == "session_ended"]
    return [record["cause"] for record in records]


async def counted(server: RunningServer) -> dict[str, float]:
    """How sessions ended, by the metrics."""
    series = series_of(await scrape(server))
    prefix = 'reidstream_sessions_ended_total{cause="'
    return {name.removeprefix(prefix)[:-2]: n for name, n in series.items() if name.startswith(prefix) and n}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A slow machine may be slow to hear of it."""
    monkeypatch.setattr(endings, "GOODBYE_S", HANG_S)
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("left", ["idle", "open", "failing"])
@pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
async def test_leaving_a_block_closes_the_session(kind: str, left: str, caplog: pytest.LogCaptureFixture) -> None:
    """With nothing open, with frames that nobody will answer, and by an error of the caller: it was meant."""
    async with gated() as (server, gate), AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        with contextlib.suppress(ZeroDivisionError):
            async with getattr(client, kind)(window_frames=4) as session:
                if left != "idle":
                    await session.send(JPEG, BOX)
                    await session.send(JPEG, BOX)
                    await until(lambda: gate.entered)
                _ = 1 / (left != "failing")
        await until(lambda: server.runtime.open_sessions == 0)
        await until(lambda: causes(caplog))
        assert causes(caplog) == ["closed"]
        assert await counted(server) == {"closed": 1}
        gate.opened.set()
        await until(lambda: server.runtime.statistics().frames == 0)


async def test_leaving_after_the_last_answer_is_an_end_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    """Half-closed, answered, ended by the server, also if nobody waits for that end."""
    async with serving() as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        async with client.stream() as session:
            await session.send(JPEG, BOX)
            await session.finish()
            await anext(session)
        await until(lambda: causes(caplog))
        assert causes(caplog) == ["finished"]


@pytest.mark.parametrize("policy", OverloadPolicy)
async def test_close_ends_the_call_with_ok_and_answers_nothing_more(policy: OverloadPolicy) -> None:
    """Whatever is open; what comes behind it is not read."""
    async with gated() as (server, gate), stream_to(server) as stream:
        opened = await stream.open(overload_policy=policy.value)
        assert opened.takes_close
        await stream.call.write(frame(1))
        await until(lambda: gate.entered)
        await stream.call.write(CLOSE)
        await stream.call.write(frame(1))
        assert await stream.results() == []
        assert await stream.call.code() is grpc.StatusCode.OK
        assert server.runtime.open_sessions == 0


async def test_a_session_that_was_closed_may_be_resumed() -> None:
    """The server remembers nothing of it: any epoch may begin again."""
    async with serving() as server, stream_to(server) as old, stream_to(server) as new:
        await old.open(session_id=b"s" * 16, epoch=5)
        await old.call.write(CLOSE)
        assert await old.read() is None
        await new.open(session_id=b"s" * 16)
        await new.call.write(frame(1))
        assert (await new.result()).frame_id == 1
