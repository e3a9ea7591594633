"""The runtime between the core and its threads: what comes back late, what raises, and what never comes back."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from reidstream_engines.errors import EngineLost
from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import Image, PixelBox
from reidstream_engines.protocol import Crop
from reidstream_server.core.effects import Answer, End, EndCause, SendDrain
from reidstream_server.core.faults import CropOutcome, FaultReason
from reidstream_server.core.statistics import SchedulerStatistics
from reidstream_server.core.terms import (
    DrainReason,
    Flow,
    FrameRequest,
    ModelIndex,
    Ordering,
    OverloadPolicy,
    Priority,
    SchedulerLimits,
    SessionTerms,
    Window,
)
from reidstream_server.runtime import at_work
from reidstream_server.runtime.agreement import Agreement, AnswerDtype
from reidstream_server.runtime.job import CropIndex, CropPlan, FrameJob, allocate_vectors
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import JobAnswer, Session
from reidstream_server.runtime.workers import Workers
from reidstream_server.tracks.track import TrackEndCause
from tests.support.gate import Gate
from tests.support.harness import JPEG, until
from tests.support.patience import HANG_S, wait_until

IMAGE = parse_encoded(JPEG)
BOX = PixelBox(x1=10, y1=10, x2=60, y2=120)
SHUTDOWN = DrainReason.SHUTDOWN


@dataclass
class Recorder:
    """An observer that remembers how sessions ended, and what took time; it can be made to fail. `stagings`: whether
    each gave way to others. `batches`: how long each took.
    """

    causes: list[EndCause | None] = field(default_factory=list)
    stagings: list[bool] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    failure: Exception | None = None

    def answered(self, answer: JobAnswer, now_ns: int, trace_id: str | None = None) -> None:
        del answer, now_ns, trace_id
        if self.failure is not None:
            raise self.failure

    def staged(self, busy_ns: int, *, aside: bool) -> None:
        assert busy_ns > 0
        self.stagings.append(aside)

    def batch_started(self, model: ModelIndex, size: int) -> None: ...

    def batch_ended(self, model: ModelIndex, size: int, busy_ns: int) -> None:
        del model, size
        self.batches.append(busy_ns)

    def batch_failed(self, model: ModelIndex) -> None: ...

    def session_ended(self, cause: EndCause | None) -> None:
        self.causes.append(cause)

    def track_ended(self, cause: TrackEndCause) -> None: ...

    def model_added(self, model: ServedModel) -> None: ...

    def model_retired(self, model: ServedModel) -> None: ...


@dataclass
class World:
    """A running runtime, and what is around it."""

    runtime: Runtime
    stager: FakeStager
    observer: Recorder

    def open(self, frames: int = 4, *, source: str = "connection") -> Session:
        routes = self.runtime.models.routes(())
        terms = SessionTerms(
            flow=Flow(client="", camera_id="c"),
            source=source,
            priority=Priority.NORMAL,
            ordering=Ordering.IN_ORDER,
            overload_policy=OverloadPolicy.WAIT,
            window=Window(frames=frames, bytes=10**9),
            latency_budget_ns=None,
            models=frozenset(routes.models),
        )
        return self.runtime.open_session(
            Agreement(terms=terms, routes=routes, box_filter=None, dtype=AnswerDtype.FLOAT32)
        )

    def send(self, session: Session, frame_id: int = 1, images: int = 1, *, staging_ns: int = 0) -> None:
        """A frame of ready crops, one on each of its images."""
        model = self.runtime.models.default
        crops = [CropPlan(image=i, box=BOX, model=model.index, row=i, quality=1.0) for i in range(images)]
        job = FrameJob(
            agreement=session.agreement,
            ready_crops=images > 1,
            images=[IMAGE] * images,
            cuts=[[BOX]] * images,
            fates=[CropIndex(i) for i in range(images)],
            crops=crops,
            vectors=allocate_vectors({model.index: images}, {model.index: 32}),
        )
        request = FrameRequest(
            frame_id=frame_id,
            message_bytes=100,
            staged_bytes=1000,
            answer_bytes=4,
            staging_ns=staging_ns,
            age_ns=0,
            crops=(model.index,) * images,
        )
        self.runtime.frame_arrived(session, request, job)

    async def answer(self, session: Session) -> JobAnswer:
        item = await asyncio.wait_for(session.mail.get(), HANG_S)
        assert isinstance(item, Answer), item
        self.runtime.answer_written(session, item)
        return item

    @property
    def state(self) -> SchedulerStatistics:
        return self.runtime.statistics()


@asynccontextmanager
async def world(
    engine: FakeEngine | None = None,
    stager: FakeStager | None = None,
    batch_timeout_s: float = HANG_S,
    cores: int = 16,
    *,
    slow_staging_s: float = HANG_S,
    staging_timeout_s: float = 2 * HANG_S,
) -> AsyncIterator[World]:
    chosen = stager or FakeStager()
    observer = Recorder()
    limits = SchedulerLimits(
        staging_slots=2,
        cores=cores,
        max_queue_boxes=100,
        max_queue_bytes=10**9,
        max_parked_bytes=10**9,
        max_staged_bytes=10**9,
        max_held_answer_bytes=10**9,
        heavy_boxes=1000,
        heavy_staging_ns=10**9,
        slow_staging_ns=int(slow_staging_s * 1e9),
        staging_timeout_ns=int(staging_timeout_s * 1e9),
        quantum_boxes=16,
        max_source_turns=8,
        aging_ns=10**9,
        high_at_once_ns=10**9,
        linger_ns=0,
        batch_timeout_ns=int(batch_timeout_s * 1e9),
        stall_timeout_ns=int(HANG_S * 1e9),
    )
    async with Runtime(limits, chosen, observer) as runtime:
        runtime.add_model(engine or FakeEngine())
        yield World(runtime, chosen, observer)


def gated() -> tuple[Gate, FakeScript]:
    gate = Gate()
    return gate, FakeScript(seconds_per_batch=1.0, sleep=gate.wait)


def raising(error: BaseException) -> Callable[[object], bool]:
    """For a script's or a stager's hooks."""

    def hook(_: object) -> bool:
        raise error

    return hook


# What comes back late.


async def test_pixels_of_a_lost_session_are_given_back_when_the_batch_comes_back() -> None:
    """Not before: the engine still looks at them."""
    gate, script = gated()
    async with world(FakeEngine(script=script)) as w:
        session = w.open()
        w.send(session)
        await until(lambda: gate.entered == 1)
        w.runtime.session_lost(session.key)
        w.runtime.session_lost(session.key)  # harmless
        assert (w.runtime.open_sessions, w.state.sessions) == (0, 0)
        assert (w.state.frames, w.stager.open_frames) == (1, 1)
        gate.opened.set()
        await until(lambda: w.stager.open_frames == 0)
        assert (w.state.frames, w.state.staged_bytes, w.state.timers) == (0, 0, 0)
        assert session.mail.empty()
        assert w.observer.causes == [None]


async def test_pixels_of_a_session_that_is_lost_while_it_is_staged_are_given_back() -> None:
    """Also when staging ends after its session."""
    gate = Gate()
    async with world(stager=FakeStager(seconds=1.0, sleep=gate.wait)) as w:
        session = w.open()
        w.send(session)
        await until(lambda: gate.entered == 1)
        w.runtime.session_lost(session.key)
        gate.opened.set()
        await until(lambda: w.state.frames == 0)
        assert (w.stager.open_frames, w.state.staging_frames, w.state.staged_bytes) == (0, 0, 0)


async def test_closing_the_runtime_drops_what_is_open_and_waits_for_its_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is left on the device."""
    monkeypatch.setattr(at_work, "GRACE_S", HANG_S)
    gate, script = gated()
    stager = FakeStager()
    async with world(FakeEngine(script=script), stager) as w:
        session = w.open()
        w.send(session)
        await until(lambda: gate.entered == 1)

        async def let_go() -> None:
            await until(lambda: w.runtime.open_sessions == 0)
            gate.opened.set()

        letting_go = asyncio.create_task(let_go())
    await letting_go
    assert not w.runtime.stuck
    assert w.runtime.engine_died.cancelled()
    await until(lambda: stager.open_frames == 0)


# What raises.


@pytest.mark.parametrize("error", [RuntimeError("secret"), MemoryError(), SystemExit(3), KeyboardInterrupt()])
async def test_an_engine_that_raises_anything_fails_only_its_batch(error: BaseException) -> None:
    """Also what is no Exception: a thread that ends would be a slot that is never free again."""
    errors: list[BaseException] = [error] * 2

    def poison(_: Crop) -> bool:
        if errors:
            raise errors.pop()
        return False

    async with world(FakeEngine(slots=1, script=FakeScript(poison=poison))) as w:
        session = w.open()
        outcomes = []
        for number in (1, 2, 3):
            w.send(session, number)
            outcomes.append((await w.answer(session)).outcomes)
        assert outcomes == [(CropOutcome.FAILED,), (CropOutcome.FAILED,), (CropOutcome.EMBEDDED,)]
        assert not w.runtime.engine_died.done()


@pytest.mark.parametrize("error", [RuntimeError("secret"), MemoryError(), SystemExit(3)])
async def test_a_stager_that_raises_anything_fails_only_its_frame(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told nothing of what it was; the log is told everything; what was staged is given back."""
    images: list[Image] = []

    def refuse(image: Image) -> bool:
        images.append(image)
        if len(images) == 2:
            raise error
        return False

    async with world(stager=FakeStager(refuse=refuse)) as w:
        session = w.open()
        w.send(session, images=3)
        fault = (await w.answer(session)).fault
        assert fault is not None
        assert (fault.reason, "secret" in fault.message) == (FaultReason.INTERNAL, False)
        await until(lambda: w.state.frames == 0)
        assert (w.stager.open_frames, w.state.staged_bytes) == (0, 0)
        w.send(session, 2)
        assert (await w.answer(session)).outcomes == (CropOutcome.EMBEDDED,)
    assert any(record.message == "staging_failed" for record in caplog.records)


async def test_a_device_that_is_lost_while_staging_ends_the_process() -> None:
    """Every engine on it is lost with it, and what the frame had there is given back."""
    images: list[Image] = []

    def refuse(image: Image) -> bool:
        images.append(image)
        if len(images) == 2:
            raise EngineLost("the device is gone")
        return False

    async with world(stager=FakeStager(refuse=refuse)) as w:
        session = w.open()
        w.send(session, images=3)
        fault = (await w.answer(session)).fault
        assert fault is not None
        assert fault.reason is FaultReason.ENGINE_LOST
        assert "the device is gone" in await w.runtime.engine_died
        assert w.state.models[0].lost
        assert w.stager.open_frames == 0


async def test_nothing_waits_for_the_core_of_an_engine_that_never_comes_back() -> None:
    """On one core: while the process is leaving, frames for another model are still answered."""
    gate, script = gated()
    async with world(FakeEngine(cores=1, script=script), batch_timeout_s=0.05, cores=1) as w:
        stuck = w.open()
        w.send(stuck)
        assert "not come back" in await asyncio.wait_for(w.runtime.engine_died, HANG_S)
        assert (await w.answer(stuck)).fault is not None
        w.runtime.models.withdraw(w.runtime.models.default)
        w.runtime.add_model(FakeEngine(cores=1))
        session = w.open()
        w.send(session)
        assert (await w.answer(session)).outcomes == (CropOutcome.EMBEDDED,)
        gate.opened.set()


async def test_a_fault_of_our_own_that_nobody_waits_for_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody would wait for an answer for ever, and health would stay green."""
    async with world() as w:
        session = w.open()
        w.observer.failure = ZeroDivisionError("of our own")
        w.send(session)
        assert "ZeroDivisionError" in await asyncio.wait_for(w.runtime.engine_died, HANG_S)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.message == "runtime_failed"


# What never comes back.


@pytest.fixture
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "GRACE_S", 0.02)


@pytest.mark.usefixtures("_no_patience")
async def test_a_batch_that_does_not_come_back_is_given_up_and_does_not_hold_the_runtime() -> None:
    """Its frame is answered, the runtime closes beside its thread, and says so."""
    gate, script = gated()
    async with world(FakeEngine(script=script), batch_timeout_s=0.05) as w:
        session = w.open()
        w.send(session)
        fault = (await w.answer(session)).fault
        assert fault is not None
        assert fault.reason is FaultReason.ENGINE_LOST
        assert "come back" in await w.runtime.engine_died
    assert w.runtime.stuck
    gate.opened.set()


@pytest.mark.usefixtures("_no_patience")
async def test_a_batch_that_comes_back_after_the_loop_is_closed_has_nobody_to_tell() -> None:
    """Its thread ends without a word."""
    gate, script = gated()
    closed = asyncio.new_event_loop()

    async def part() -> Runtime:
        async with world(FakeEngine(script=script)) as w:
            w.send(w.open())
            await until(lambda: gate.entered == 1)
        return w.runtime

    try:
        runtime = await asyncio.to_thread(closed.run_until_complete, part())
    finally:
        closed.close()
    assert runtime.stuck
    gate.opened.set()
    await until(lambda: not any(thread.name.startswith("inference") for thread in threading.enumerate()))


# Draining.


async def test_an_idle_runtime_is_drained_at_once_even_without_time() -> None:
    """Nothing was accepted that could be lost."""
    async with world() as w:
        assert await w.runtime.drain(SHUTDOWN, 0.0)
        session = w.open()
        assert await w.runtime.drain(SHUTDOWN, 0.0)
        drained, ended = [session.mail.get_nowait() for _ in range(2)]
        assert isinstance(drained, SendDrain)
        assert isinstance(ended, End)
        assert w.observer.causes == [EndCause.DRAINED]


async def test_a_drain_is_not_complete_if_a_frame_was_given_up() -> None:
    """Even if its client took that answer at once, so that no session was left open."""
    gate, script = gated()
    async with world(FakeEngine(script=script)) as w:
        session = w.open()
        w.send(session)
        await until(lambda: gate.entered == 1)

        async def read() -> JobAnswer:
            assert isinstance(await session.mail.get(), SendDrain)
            return await w.answer(session)

        complete, answer = await asyncio.gather(w.runtime.drain(SHUTDOWN, 0.05), read())
        assert answer.fault is not None
        assert answer.fault.reason is FaultReason.SHUTTING_DOWN
        assert w.runtime.open_sessions == 0
        assert not complete
        gate.opened.set()


async def test_a_drain_wakes_a_session_that_may_not_be_read() -> None:
    """Its client may still be sending; what it sends is taken off the wire and let go."""
    gate, script = gated()
    async with world(FakeEngine(script=script)) as w:
        session = w.open(frames=1)
        w.send(session)
        await until(lambda: gate.entered == 1)
        assert not session.readable.is_set()
        draining = asyncio.create_task(w.runtime.drain(SHUTDOWN, HANG_S))
        await asyncio.wait_for(session.readable.wait(), HANG_S)
        w.send(session, 2)
        assert w.state.frames == 1
        gate.opened.set()
        assert isinstance(await session.mail.get(), SendDrain)
        assert (await w.answer(session)).outcomes == (CropOutcome.EMBEDDED,)
        assert isinstance(await session.mail.get(), End)
        assert await draining


# The threads.


def test_workers_finish_what_was_given_to_them_and_go_on_after_a_failure() -> None:
    """In order; a failure is told once."""
    done: list[int] = []
    failures: list[BaseException] = []

    def call(number: int) -> None:
        if number == 1:
            raise SystemExit(number)
        done.append(number)

    workers = Workers(1, "test", failures.append)
    for number in range(4):
        workers.submit(call, number)
    assert workers.close(HANG_S)
    assert done == [0, 2, 3]
    assert [type(failure) for failure in failures] == [SystemExit]


def test_added_workers_go_on_in_the_place_of_one_that_is_stuck() -> None:
    """What was submitted behind it is done, and they end with the others."""
    gate, done = Gate(), threading.Event()
    workers = Workers(1, "one", raising(AssertionError()))  # type: ignore[arg-type]  # it returns, or raises
    workers.submit(gate.wait, 0.0)
    workers.submit(done.set)
    wait_until(lambda: gate.entered == 1)
    assert not done.is_set()
    workers.add(1)
    assert done.wait(HANG_S)
    gate.opened.set()
    assert workers.close(HANG_S)


def test_workers_do_not_wait_for_a_call_that_does_not_return() -> None:
    """The others end, and the call's thread does not keep the process."""
    gate = Gate()
    workers = Workers(3, "stuck", raising(AssertionError()))  # type: ignore[arg-type]  # it returns, or raises
    workers.submit(gate.wait, 0.0)
    assert not workers.close(0.05)

    def left() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("stuck")]

    wait_until(lambda: len(left()) == 1)
    assert left()[0].daemon
    gate.opened.set()
    wait_until(lambda: not left())
