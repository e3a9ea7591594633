"""AdminService: its two methods.

Why slices: to look at 512 sessions takes the event loop some tens of milliseconds, and frames would wait for it. So one
answer is made at a time, a slice of a millisecond, and after each slice it rests seven times as long: whoever calls,
and however often, gets an eighth of the event loop. Trap: between two slices sessions come and go, and each session's
figures are of a moment of their own, which `open_ns` tells.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import grpc

from reidstream_proto.admin.v1 import admin_pb2, admin_pb2_grpc
from reidstream_server.errors import InvalidCall, TooManyCalls, UnknownSession
from reidstream_server.identity.access import Access
from reidstream_server.identity.admin import AdminAccess, check_admin
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import Session
from reidstream_server.transport.grpc_server.caller import on_this_machine, presented_by
from reidstream_server.transport.grpc_server.calls import CallObserver, refuse
from reidstream_server.transport.grpc_server.hosting import HostedService
from reidstream_server.transport.grpc_server.unparsable import Unparsed

from .messages import open_frame_messages, session_message
from .state import ServerLook

Context: TypeAlias = grpc.aio.ServicerContext[object, object]

MOST_SESSIONS: Final = 1000
"""Sessions in one answer."""

MOST_BYTES: Final = 2**20
"""No session is added to an answer that has as many bytes."""

MOST_FRAMES: Final = 64
"""Open frames in one answer."""

SERVICE: Final = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name

MOST_CALLS: Final = 4
"""Of one client, that have no answer yet."""

SLICE_NS: Final = 1_000_000
"""Of the event loop at a time."""

_REST = 7
_MOST_TOKEN = 20  # digits of the largest number of a session


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """The service; see the .proto for what each method promises. Event loop only."""

    def __init__(
        self, runtime: Runtime, server: ServerLook, *, access: Access, admin: AdminAccess, observer: CallObserver
    ) -> None:
        self._runtime = runtime
        self._server = server
        self._access = access
        self._admin = admin
        self._observer = observer
        self._one_at_a_time = asyncio.Lock()
        self._asking: Counter[str] = Counter()

    @property
    def hosted(self) -> HostedService:
        """As the port takes it."""
        return HostedService(
            name=SERVICE,
            add=partial(admin_pb2_grpc.add_AdminServiceServicer_to_server, self),
            while_leaving=frozenset({"ListSessions", "GetSession"}),
        )

    async def ListSessions(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[admin_pb2.ListSessionsRequest], context: Context
    ) -> admin_pb2.ListSessionsResponse:
        """The open sessions, and the state of the server."""
        try:
            source = self._admitted(context)
            page = _page_of(request.read())
            async with self._turn(source):
                return await self._page(page)
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    async def GetSession(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[admin_pb2.GetSessionRequest], context: Context
    ) -> admin_pb2.GetSessionResponse:
        """One session, with its open frames."""
        try:
            source = self._admitted(context)
            number = request.read().number
            async with self._turn(source):
                slices = Slices()
                answer = self._one(number)
                await slices.rest()
                return answer
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    def _admitted(self, context: Context) -> str:
        """The caller's source. Raises Unauthenticated, NotPermitted."""
        caller = self._access.caller_of(presented_by(context))
        check_admin(self._admin, local=on_this_machine(context.peer()))
        return caller.source

    @asynccontextmanager
    async def _turn(self, source: str) -> AsyncIterator[None]:
        """While an answer is made, no other is. Raises TooManyCalls: who asks much must not keep others waiting."""
        if self._asking[source] >= MOST_CALLS:
            raise TooManyCalls(
                f"{MOST_CALLS} calls of this client to the admin service have no answer yet, which is the limit; wait "
                "for an answer before the next call"
            )
        self._asking[source] += 1
        try:
            async with self._one_at_a_time:
                yield
        finally:
            self._asking[source] -= 1
            if not self._asking[source]:
                del self._asking[source]

    async def _page(self, page: _Page) -> admin_pb2.ListSessionsResponse:
        answer = admin_pb2.ListSessionsResponse()
        slices, size, last = Slices(), 0, 0
        for session in self._streams():
            if session.key <= page.after:
                continue
            if len(answer.sessions) == page.size or size >= MOST_BYTES:
                answer.next_page_token = str(last)
                break
            message = self._message(session)
            if message is not None:
                answer.sessions.append(message)
                size += message.ByteSize()
                last = session.key
            if slices.over:
                await slices.rest()
        answer.server.CopyFrom(self._server.message())
        await slices.rest()
        return answer

    def _one(self, number: int) -> admin_pb2.GetSessionResponse:
        session = next((session for session in self._streams() if session.key == number), None)
        message = None if session is None else self._message(session)
        if session is None or message is None:
            raise UnknownSession(f"no open session has the number {number}; ListSessions has those that are open")
        frames = self._runtime.open_frames(session, MOST_FRAMES)
        return admin_pb2.GetSessionResponse(
            server=self._server.message(), session=message, open_frames=open_frame_messages(frames)
        )

    def _streams(self) -> Iterator[Session]:
        """Sessions of streams, the oldest first. Single calls are over before anybody has seen them."""
        return (session for session in self._runtime.sessions() if session.origin is not None)

    def _message(self, session: Session) -> admin_pb2.SessionState | None:
        """A session now; None if it is over."""
        held, progress = self._runtime.session_statistics(session), self._runtime.session_progress(session)
        if held is None or progress is None or session.origin is None:
            return None
        return session_message(session, session.origin, self._runtime.session_figures(session), held, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """`after`: the number of the last session of the page before."""

    size: int
    after: int


def _page_of(request: admin_pb2.ListSessionsRequest) -> _Page:
    """Raises InvalidCall."""
    size, token = request.page_size, request.page_token
    if size > MOST_SESSIONS:
        raise InvalidCall(f"page_size is {size}; an answer has at most {MOST_SESSIONS} sessions, so ask for less, or 0")
    if token and not (token.isascii() and token.isdigit() and len(token) <= _MOST_TOKEN):
        raise InvalidCall("page_token is none of this server's: send the next_page_token of an answer, or nothing")
    return _Page(size=size or MOST_SESSIONS, after=int(token) if token else -1)


class Slices:
    """The time that an answer takes of the event loop, and its rests."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._began = clock()

    @property
    def over(self) -> bool:
        """Whether it is time to rest."""
        return self._clock() - self._began >= SLICE_NS

    async def rest(self) -> None:
        """Let others have the event loop, seven times as long as this slice had it."""
        await asyncio.sleep((self._clock() - self._began) * _REST / 1e9)
        self._began = self._clock()
