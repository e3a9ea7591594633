"""What opens the streams of a session, one after the other.

Why a Protocol: a session that resumes asks for its next stream and does not care where it comes from. Today that is
the same server again; another opener may choose among servers, or change what the frames look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from reidstream_client.choices import ModelChoice, Ordering, RetryPolicy
from reidstream_client.connection.protocols import Connection
from reidstream_client.tracing import FrameTracing
from reidstream_client.types import SessionEvent
from reidstream_proto.v1 import session_pb2

from .async_session import AsyncSession
from .opening import Attempts, open_sharing
from .patience import may_open_later, without_end
from .spans import FrameSpans
from .track_book import TrackBook


class Opener(Protocol):
    """Opens the streams of a session that resumes, by their epochs."""

    __slots__ = ()

    async def open(self, epoch: int, book: TrackBook, *, within_s: float) -> AsyncSession[SessionEvent]:
        """A session over a new stream, which gives its answers as they come: the session around it orders them. 0 is
        the first epoch, and each later stream has the next one. It goes on with the tracks of `book`, and writes there.

        Tries for `within_s`, while what is wrong may pass. Raises the ReidError that stood in the way at last.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOpener(Opener):
    """Opens every stream on one server. `timeout_s`: for one attempt."""

    connection: Connection
    request: session_pb2.SessionOpen
    choices: Sequence[ModelChoice]
    retry: RetryPolicy
    timeout_s: float
    answer_timeout_s: float
    budget_grace_s: float
    max_message_bytes: int
    shared_memory: bool
    tracing: FrameTracing | None = None

    async def open_one(self) -> AsyncSession[SessionEvent]:
        """The only stream of a session. It fails as soon as a single call would."""
        attempts = Attempts(retry=self.retry, attempt_s=self.timeout_s, timeout_s=self.timeout_s)
        return await self._open(attempts, spans=self.spans())

    def spans(self) -> FrameSpans:
        """Those of the frames of one session."""
        camera_id = self.request.options.camera_id
        return FrameSpans(self.tracing, target=self.connection.target, camera_id=camera_id)

    @override
    async def open(self, epoch: int, book: TrackBook, *, within_s: float) -> AsyncSession[SessionEvent]:
        self.request.epoch = epoch
        if self.request.HasField("track_options"):
            self.request.track_options.snapshots = True
        attempts = Attempts(
            retry=without_end(self.retry), attempt_s=self.timeout_s, timeout_s=within_s, repeats=may_open_later
        )
        return await self._open(attempts, ordering=Ordering.AS_COMPLETED, book=book)

    async def _open(
        self,
        attempts: Attempts,
        *,
        ordering: Ordering | None = None,
        spans: FrameSpans | None = None,
        book: TrackBook | None = None,
    ) -> AsyncSession[SessionEvent]:
        call, opened, shared = await open_sharing(
            self.connection,
            self.request,
            choices=self.choices,
            attempts=attempts,
            shared_memory=self.shared_memory,
            book=book if self.request.HasField("track_options") else None,
        )
        return AsyncSession(
            call,
            opened,
            max_message_bytes=self.max_message_bytes,
            answer_timeout_s=self.answer_timeout_s,
            budget_grace_s=self.budget_grace_s,
            ordering=ordering,
            shared=shared,
            spans=spans,
            book=book,
        )
