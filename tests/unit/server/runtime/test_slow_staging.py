"""Stagings that take too long, in real threads: they give way, and others take their places."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from dataclasses import dataclass, field

from reidstream_engines.fake import FakeStager
from reidstream_server.core.faults import FaultReason
from reidstream_server.runtime.workers import GIVES_WAY, Workers
from tests.support.gate import Gate
from tests.support.harness import until
from tests.support.patience import HANG_S

from .test_runtime import world


def niceness(thread_id: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread_id)


@dataclass
class Threads:
    """Remembers in which thread each staging ran."""

    ids: list[int] = field(default_factory=list)


def blocking(gate: Gate, frames: int, threads: Threads) -> FakeStager:
    """A stager whose first frames are staged only when the gate opens."""
    begun = 0

    def hook(_: object) -> bool:
        nonlocal begun
        begun += 1
        threads.ids.append(threading.get_native_id())
        if begun <= frames:
            gate.wait(0.0)
        return False

    return FakeStager(refuse=hook)


async def test_a_slow_frame_gives_its_core_to_others() -> None:
    """With both slots taken by frames that take long, a third is answered; the slow threads give way from then on."""
    gate, threads = Gate(), Threads()
    async with world(stager=blocking(gate, 2, threads), slow_staging_s=0.01) as w:
        slow, other = w.open(), w.open(source="other")
        w.send(slow, 1)
        w.send(slow, 2)
        await until(lambda: gate.entered == 2)
        w.send(other, 1)
        assert (await w.answer(other)).fault is None
        await until(lambda: (w.state.aside_frames, w.state.staging_frames) == (2, 0))
        assert [niceness(thread) for thread in threads.ids[:2]] == [GIVES_WAY, GIVES_WAY]
        gate.opened.set()
        for _ in range(2):
            assert (await w.answer(slow)).fault is None
        assert (w.state.aside_frames, w.state.frames, w.state.timers) == (0, 0, 0)
        assert w.observer.stagings[1:] == [True, True]  # the first may be slow as well, on a slow machine
        assert len(w.observer.batches) == 3


async def test_a_decoder_that_never_ends_is_given_up() -> None:
    """Its frame is answered, another's is staged in its place, and what it holds is given back when it ends."""
    gate, threads = Gate(), Threads()
    async with world(stager=blocking(gate, 2, threads), slow_staging_s=0.05, staging_timeout_s=1.0) as w:
        slow, other = w.open(), w.open(source="other")
        w.send(slow, 1)
        w.send(slow, 2)
        faults = [(await w.answer(slow)).fault for _ in range(2)]
        assert {fault.reason for fault in faults if fault is not None} == {FaultReason.STAGING_TIMEOUT}
        assert (w.state.lost_stagings, w.state.aside_frames) == (2, 0)
        for number in itertools.count(1):  # on a machine that stands still, its time may be over as well
            w.send(other, number)
            if (await w.answer(other)).fault is None:
                break
        await until(lambda: w.state.staged_bytes == 2000)
        gate.opened.set()
        await until(lambda: w.state.lost_stagings == 0)
        assert (w.state.staged_bytes, w.state.frames) == (0, 0)
        assert w.observer.stagings[-2:] == [True, True]


async def test_a_heavy_frame_is_staged_by_a_thread_that_gives_way() -> None:
    """From its beginning, and beside light ones."""
    gate, threads = Gate(), Threads()
    async with world(stager=blocking(gate, 1, threads)) as w:
        heavy, light = w.open(), w.open()
        w.send(heavy, 1, staging_ns=10**12)
        await until(lambda: gate.entered == 1)
        w.send(light, 1)
        assert (await w.answer(light)).fault is None
        assert [niceness(thread) for thread in threads.ids] == [GIVES_WAY, niceness(os.getpid())]
        gate.opened.set()
        assert (await w.answer(heavy)).fault is None
        assert w.observer.stagings == [False, True]


async def test_who_pays_is_not_read_and_then_is() -> None:
    """The session of a source that took too much is shut until it has paid; another source's is not."""
    async with world() as w:
        session, brother, other = w.open(), w.open(), w.open(source="other")
        w.runtime.charge("connection", 250_000_000)
        assert 0.0 < w.runtime.pause_s("connection") <= 2.0
        assert w.runtime.pause_s("other") == 0.0
        late = w.open()
        assert not late.readable.is_set()
        w.send(session, 1)
        assert not session.readable.is_set()
        w.send(other, 1)
        assert other.readable.is_set()
        for waiting in (session, late):
            await asyncio.wait_for(waiting.readable.wait(), HANG_S)
        assert w.runtime.pause_s("connection") == 0.0
        assert brother.readable.is_set()


def test_a_thread_that_is_replaced_gives_way_and_ends_with_its_call() -> None:
    """The next call has another thread at once, of the usual priority."""
    gate, ids, done = Gate(), list[int](), threading.Event()
    failures: list[BaseException] = []
    workers = Workers(1, "test", failures.append)

    def first() -> None:
        ids.append(threading.get_native_id())
        gate.wait(0.0)

    def second() -> None:
        ids.append(threading.get_native_id())
        done.set()

    workers.submit(first)
    while not gate.entered:
        pass
    workers.submit(second)
    workers.replace(ids[0])
    assert done.wait(HANG_S)
    assert len(set(ids)) == 2
    assert niceness(ids[0]) == GIVES_WAY
    gate.opened.set()
    assert workers.close(HANG_S)
    assert not failures
