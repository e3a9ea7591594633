"""The block in which a session is open: what `stream` gives, before and after `with`.

Why not contextlib's: a session that is used without `with`, or whose block is entered a second time, would fail with
words about generators. Trap: the session is opened when the block is entered, not before, so until then there is
nothing to send to.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from typing_extensions import override

from reidstream_client.errors import SessionEnded, WrongPlace
from reidstream_client.loop_thread import LoopThread
from reidstream_client.types import Event_co

from .async_session import AsyncSession
from .resuming import ResumingSession
from .sync_session import Session

S = TypeVar("S", bound="AsyncSession[Any] | ResumingSession[Any]")


class AsyncBlock(AbstractAsyncContextManager[S], Generic[S]):
    """`async with` opens the session, and its end ends it. Once."""

    def __init__(self, context: AbstractAsyncContextManager[S]) -> None:
        self._context = context
        self._entered = False

    @override
    async def __aenter__(self) -> S:
        if self._entered:
            raise _entered_again()
        self._entered = True
        return await self._context.__aenter__()

    @override
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._context.__aexit__(kind, error, trace)

    if not TYPE_CHECKING:  # a type checker says it in its own words

        def __getattr__(self, name: str) -> NoReturn:
            raise _not_there(self, name, "async with")

        def __aiter__(self) -> NoReturn:
            raise _not_there(self, "__aiter__", "async with")


class Block(AbstractContextManager[Session[Event_co]], Generic[Event_co]):
    """The same for other threads than the event loop's."""

    def __init__(
        self,
        context: AbstractAsyncContextManager[AsyncSession[Event_co] | ResumingSession[Event_co]],
        thread: LoopThread,
    ) -> None:
        self._context = context
        self._thread = thread
        self._entered = False

    @override
    def __enter__(self) -> Session[Event_co]:
        if self._entered:
            raise _entered_again()
        self._entered = True
        return Session(self._thread.call(self._context.__aenter__()), self._thread)

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(SessionEnded, WrongPlace):  # the client was closed meanwhile, or this is a fork's child
            self._thread.call(self._context.__aexit__(None, None, None))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise _not_there(self, name, "with")

        def __iter__(self) -> NoReturn:
            raise _not_there(self, "__iter__", "with")


def _entered_again() -> WrongPlace:
    return WrongPlace("the block of a session is entered once: call stream() again for another session")


def _not_there(block: object, name: str, word: str) -> Exception:
    """What a session has is meant for one; everything else is as for any object."""
    kind = AsyncSession if isinstance(block, AsyncBlock) else Session
    if hasattr(kind, name) or name == "opened":
        return WrongPlace(f"the session is not open yet: write {word} client.stream(...) as session:")
    return AttributeError(f"{type(block).__name__!r} object has no attribute {name!r}")
