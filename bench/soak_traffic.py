"""The cameras of a soak: streams that come and go, in every way a stream can, and single calls between them.

Several lanes run beside each other, each with one session after the other; every session is drawn, from a seed: its
policy and order, its window, whether it shares memory, and how it ends. Why the product's client, unlike the other load
generators here: resuming and shared memory are the client's work as much as the server's, and nothing here is a speed.

Trap: a session whose policy is not to wait never holds its camera up, and one that sends whatever it can sees most of
its frames given up; such cameras send live here, and those that wait send what they can.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from enum import Enum

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    CallRejected,
    CallTimeout,
    ErrorReason,
    FrameEmbeddings,
    Ordering,
    Overloaded,
    OverloadPolicy,
    ReidError,
    ResumingSession,
)

from .cutter import Cutter
from .soak_book import Book, Budget, SessionBook
from .soak_kinds import Kind

_MESSAGE_BYTES = 64 << 20
_BUDGET_S = 0.03
_REST_S, _INTERVAL_S = 0.005, 0.015
_CALLS = 20


class Ending(Enum):
    """How a session ends, or what happens to it. The values are what the table calls it."""

    FINISHED = "finished"
    CLOSED = "closed in mid-flight"
    CUT = "cut in mid-flight"
    RESUMED = "cut twice and resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One session, drawn. `frames` it would send if nothing came between."""

    number: int
    frames: int
    window: int
    policy: OverloadPolicy
    ordering: Ordering
    ending: Ending
    shared: bool
    budget_s: float | None


class Traffic:
    """All lanes. One event loop; one stretch at a time."""

    def __init__(self, target: str, kinds: Sequence[Kind], *, lanes: int, seed: int) -> None:
        self.book = Book()
        self._target = target
        self._kinds = kinds
        self._often = [kind.often for kind in kinds]
        self._lanes = lanes
        self._random = random.Random(seed)  # noqa: S311 - drawn load
        self._sessions = 0

    async def stretch(self, frames: int) -> None:
        """Send so many frames, and end every stream."""
        budget = Budget(frames)
        await asyncio.gather(self._calls(budget), *(self._streams(budget) for _ in range(self._lanes)))

    def _kind(self) -> Kind:
        return self._random.choices(self._kinds, self._often)[0]

    def _plan(self) -> Plan:
        choose = self._random.choice
        self._sessions += 1
        return Plan(
            number=self._sessions,
            frames=self._random.randint(100, 500),
            window=self._random.randint(2, 12),
            policy=choose(list(OverloadPolicy)),
            ordering=choose(list(Ordering)),
            ending=choose(list(Ending)),
            shared=choose((True, False)),
            budget_s=choose((None, None, _BUDGET_S)),
        )

    async def _streams(self, budget: Budget) -> None:
        while budget.left > 0:
            plan = self._plan()
            books = SessionBook(self.book, budget)
            self.book.streams[plan.ending.value] += 1
            self.book.streams["with shared memory"] += plan.shared
            await self.session(plan, books)

    async def session(self, plan: Plan, books: SessionBook) -> None:
        """One session, from its connection to its end."""
        async with AsyncExitStack() as stack:
            cutter = await stack.enter_async_context(Cutter(self._target))
            cuts = plan.ending in (Ending.CUT, Ending.RESUMED)
            client = await stack.enter_async_context(
                self._client(cutter.target if cuts else self._target, plan.number, plan.budget_s)
            )
            session = await stack.enter_async_context(_opening(client, plan))
            if plan.shared and session.opened.shared_memory_refusal:
                self.book.fault(f"no shared memory: {session.opened.shared_memory_refusal}")
            sending = asyncio.create_task(self._send(session, plan, books))
            try:
                await self._take(session, plan, books, cutter)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _take(
        self, session: AsyncSession | ResumingSession, plan: Plan, books: SessionBook, cutter: Cutter
    ) -> None:
        """Every answer, until the session ends or is left."""
        half = plan.frames // 2
        marks = {Ending.FINISHED: (), Ending.CLOSED: (half,), Ending.CUT: (half,), Ending.RESUMED: (half // 2, half)}
        try:
            async for result in session:
                books.answered(result)
                if books.answers in marks[plan.ending]:
                    if plan.ending is Ending.CLOSED:
                        books.over(None)
                        return
                    cutter.cut()
        except ReidError as error:
            if plan.ending is not Ending.CUT:
                self.book.fault(f"a session that was to be {plan.ending.value} ended: {error}")
            books.over(error.unanswered)
        else:
            books.over(())

    async def _send(self, session: AsyncSession | ResumingSession, plan: Plan, books: SessionBook) -> None:
        """As long as there is anything to send. A session that is over takes no more, and its reader says why."""
        try:
            for _ in range(plan.frames):
                if plan.policy is not OverloadPolicy.WAIT:
                    await asyncio.sleep(_INTERVAL_S)
                if not books.budget.take():
                    break
                kind = self._kind()
                # Nothing runs between what `send` does last and this: no answer can come before its frame is here.
                books.sent(await session.send(kind.image, kind.boxes), kind)
            await session.finish()
        except ReidError:
            pass

    async def _calls(self, budget: Budget) -> None:
        """Single calls, one after the other."""
        while budget.left > 0:
            self._sessions += 1
            self.book.streams["clients with single calls"] += 1
            async with self._client(self._target, self._sessions, None) as client:
                for _ in range(_CALLS):
                    if not budget.take():
                        return
                    await self._call(client, self._kind())

    async def _call(self, client: AsyncReidClient, kind: Kind) -> None:
        self.book.sent[kind.name] += 1
        self.book.streams["single calls"] += 1
        try:
            result: FrameEmbeddings = await client.embed(kind.image, kind.boxes)
        except Overloaded:
            self.book.refused(kind, ErrorReason.QUEUE_FULL)
            await asyncio.sleep(_REST_S)
        except CallTimeout:
            self.book.refused(kind, ErrorReason.OVER_BUDGET)
        except CallRejected:
            self.book.refused(kind, ErrorReason.INVALID_IMAGE)
        else:
            self.book.answered(kind, result)

    @staticmethod
    def _client(target: str, number: int, budget_s: float | None) -> AsyncReidClient:
        """With a connection of its own: gRPC lets channels share one where all their options are alike."""
        return AsyncReidClient(target, latency_budget_s=budget_s, max_message_bytes=_MESSAGE_BYTES + number)


def _opening(client: AsyncReidClient, plan: Plan) -> AbstractAsyncContextManager[AsyncSession | ResumingSession]:
    opening = client.resuming_stream if plan.ending is Ending.RESUMED else client.stream
    session: AbstractAsyncContextManager[AsyncSession | ResumingSession] = opening(
        camera_id=f"camera {plan.number}",
        ordering=plan.ordering,
        overload_policy=plan.policy,
        window_frames=plan.window,
        shared_memory=plan.shared,
    )
    return session
