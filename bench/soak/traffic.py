"""The cameras of a soak: streams that come and go, in every way a stream can, and single calls between them.

Several cameras run side by side; each opens one session after the other. Every session is drawn from a seed: policy,
order, window, whether it shares memory, and how it ends. Unlike the other load generators, this one uses the product's
client: resuming and shared memory are the client's work too, and no speed is measured here.

Trap: unless its policy is WAIT, a session never holds up its camera, and a camera that sends as fast as it can would
lose most of its frames. So these cameras send at a live rate; those that wait send as fast as they can.
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

from .book import Book, Budget, SessionBook
from .cutter import Cutter
from .kinds import Kind

_MESSAGE_BYTES = 64 << 20
_BUDGET_S = 0.03
_REST_S, _INTERVAL_S = 0.005, 0.015
_CALLS = 20


class Ending(Enum):
    """How a session ends, or what happens to it. The values appear in the table."""

    FINISHED = "finished"
    CLOSED = "closed in mid-flight"
    CUT = "cut in mid-flight"
    RESUMED = "cut twice and resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSession:
    """One session as it was drawn from the seed. `frames`: what it sends if nothing ends it earlier."""

    number: int
    frames: int
    window: int
    policy: OverloadPolicy
    ordering: Ordering
    ending: Ending
    shared: bool
    budget_s: float | None


class Traffic:
    """All cameras. Use on one event loop, one stretch at a time."""

    def __init__(self, target: str, kinds: Sequence[Kind], *, cameras: int, seed: int) -> None:
        self.book = Book()
        self._target = target
        self._kinds = kinds
        self._often = [kind.often for kind in kinds]
        self._cameras = cameras
        self._random = random.Random(seed)  # noqa: S311 - drawn load
        self._sessions = 0

    async def stretch(self, frames: int) -> None:
        """Send this many frames, then end every stream."""
        budget = Budget(frames)
        await asyncio.gather(self._calls(budget), *(self._streams(budget) for _ in range(self._cameras)))

    def _kind(self) -> Kind:
        return self._random.choices(self._kinds, self._often)[0]

    def _draw(self) -> DrawnSession:
        choose = self._random.choice
        self._sessions += 1
        return DrawnSession(
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
            drawn = self._draw()
            book = SessionBook(self.book, budget)
            self.book.streams[drawn.ending.value] += 1
            self.book.streams["with shared memory"] += drawn.shared
            await self.session(drawn, book)

    async def session(self, drawn: DrawnSession, book: SessionBook) -> None:
        """One session, from its connection to its end."""
        async with AsyncExitStack() as stack:
            cutter = await stack.enter_async_context(Cutter(self._target))
            cuts = drawn.ending in (Ending.CUT, Ending.RESUMED)
            client = await stack.enter_async_context(
                self._client(cutter.target if cuts else self._target, drawn.number, drawn.budget_s)
            )
            session = await stack.enter_async_context(_opening(client, drawn))
            if drawn.shared and session.opened.shared_memory_refusal:
                self.book.fault(f"no shared memory: {session.opened.shared_memory_refusal}")
            sending = asyncio.create_task(self._send(session, drawn, book))
            try:
                await self._take(session, drawn, book, cutter)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _take(
        self, session: AsyncSession | ResumingSession, drawn: DrawnSession, book: SessionBook, cutter: Cutter
    ) -> None:
        """Take every answer, until the session ends or is left."""
        half = drawn.frames // 2
        marks = {Ending.FINISHED: (), Ending.CLOSED: (half,), Ending.CUT: (half,), Ending.RESUMED: (half // 2, half)}
        try:
            async for result in session:
                book.answered(result)
                if book.answers in marks[drawn.ending]:
                    if drawn.ending is Ending.CLOSED:
                        book.over(None)
                        return
                    cutter.cut()
        except ReidError as error:
            if drawn.ending is not Ending.CUT:
                self.book.fault(f"a session that was to be {drawn.ending.value} ended: {error}")
            book.over(error.unanswered)
        else:
            book.over(())

    async def _send(self, session: AsyncSession | ResumingSession, drawn: DrawnSession, book: SessionBook) -> None:
        """Send until all is sent. If the session ends earlier, its reader says why."""
        try:
            for _ in range(drawn.frames):
                if drawn.policy is not OverloadPolicy.WAIT:
                    await asyncio.sleep(_INTERVAL_S)
                if not book.budget.take():
                    break
                kind = self._kind()
                # Nothing runs between what `send` does last and this: no answer can come before its frame is here.
                book.sent(await session.send(kind.image, kind.boxes), kind)
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
        """A client with a connection of its own: gRPC lets channels with equal options share one."""
        return AsyncReidClient(target, latency_budget_s=budget_s, max_message_bytes=_MESSAGE_BYTES + number)


def _opening(
    client: AsyncReidClient, drawn: DrawnSession
) -> AbstractAsyncContextManager[AsyncSession | ResumingSession]:
    opening = client.resuming_stream if drawn.ending is Ending.RESUMED else client.stream
    session: AbstractAsyncContextManager[AsyncSession | ResumingSession] = opening(
        camera_id=f"camera {drawn.number}",
        ordering=drawn.ordering,
        overload_policy=drawn.policy,
        window_frames=drawn.window,
        shared_memory=drawn.shared,
    )
    return session
