"""What is remembered of a staging ends with it, however late the event loop is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from reidstream_engines.fake import FakeStager
from reidstream_engines.selftest import noise
from reidstream_server.core.faults import FrameFault
from reidstream_server.core.terms import FrameKey
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.at_work import ModelsAtWork
from reidstream_server.runtime.blocking import Staged, Staging
from reidstream_server.runtime.dispatch import Dispatch
from reidstream_server.runtime.job import FrameJob
from reidstream_server.runtime.wakeups import Wakeups
from reidstream_server.runtime.workers import Workers
from tests.support.gate import Gate
from tests.support.harness import until
from tests.support.patience import HANG_S

from .test_runtime import Recorder

KEY = FrameKey(7)


@dataclass
class World:
    dispatch: Dispatch
    computing: Workers
    came: list[Staging] = field(default_factory=list)

    def stage(self) -> None:
        agreement = cast("Agreement", None)  # staging does not look at it
        job = FrameJob(
            agreement=agreement, ready_crops=False, images=[noise()], cuts=[[]], fates=[], crops=[], vectors={}
        )
        self.dispatch.stage(KEY, job, aside=False)

    async def staged(self) -> Staging:
        await until(lambda: bool(self.came))
        return self.came.pop()

    @property
    def remembered(self) -> int:
        dispatch = self.dispatch
        return sum(map(len, (dispatch._threads, dispatch._moved, dispatch._given_up, dispatch._replaced)))


@asynccontextmanager
async def a_dispatch() -> AsyncIterator[World]:
    """With one thread of each kind."""
    failures: list[BaseException] = []
    computing, aside = (Workers(1, name, failures.append) for name in ("computing", "aside"))
    came: list[Staging] = []
    dispatch = Dispatch(
        FakeStager(seconds=1.0, sleep=lambda _: None),  # so that it needs a thread
        computing,
        aside,
        ModelsAtWork(computing, failures.append),
        Wakeups(failures.append, lambda: None),
        observer=Recorder(),
        staged=lambda _, ended, __: came.append(ended),
        embedded=lambda *_: None,
    )
    yield World(dispatch, computing, came)
    assert all([await asyncio.to_thread(workers.close, HANG_S) for workers in (computing, aside)])
    assert not failures


async def test_a_staging_that_is_set_aside_and_given_up_before_it_began_is_forgotten() -> None:
    """No thread was free all the while."""
    async with a_dispatch() as w:
        gate = Gate()
        w.computing.submit(gate.wait, 0.0)
        w.stage()
        w.dispatch.set_aside(KEY)
        w.dispatch.give_up(KEY)
        gate.opened.set()
        assert isinstance(await w.staged(), FrameFault)
        assert w.remembered == 0


async def test_a_staging_that_is_set_aside_before_it_began_is_staged_aside() -> None:
    """And forgotten when it is over."""
    async with a_dispatch() as w:
        gate = Gate()
        w.computing.submit(gate.wait, 0.0)
        w.stage()
        w.dispatch.set_aside(KEY)
        gate.opened.set()
        assert isinstance(await w.staged(), Staged)
        assert w.remembered == 0


async def test_a_staging_that_was_over_when_it_was_found_too_slow_is_forgotten() -> None:
    """The event loop looked at the time before it heard of it."""
    async with a_dispatch() as w:
        w.stage()
        gate = Gate()
        w.computing.submit(gate.wait, 0.0)
        while not gate.entered:  # the event loop is kept from hearing of anything
            pass
        w.dispatch.set_aside(KEY)
        w.dispatch.give_up(KEY)
        gate.opened.set()
        assert isinstance(await w.staged(), Staged)
        assert w.remembered == 0
