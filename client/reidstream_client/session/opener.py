"""What opens the streams of a session, one after the other.

Why a Protocol: a session that resumes asks for its next stream and does not care where it comes from. Today that is
the same server again; another opener may choose among servers, or change what the frames look like.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from typing_extensions import override

from reidstream_client.choices import ModelChoice, RetryPolicy
from reidstream_client.connection.protocols import Connection
from reidstream_proto.v1 import session_pb2

from .async_session import AsyncSession
from .opening import open_sharing


class Opener(Protocol):
    """Opens streams of one session, by their epochs."""

    __slots__ = ()

    async def open(self, epoch: int) -> AsyncSession:
        """A session over a new stream. 0 is the first epoch, and each later stream has the next one.

        Raises ReidError where no stream can be opened; the session then ends with it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOpener(Opener):
    """Opens every stream on one server.

    The first stream fails as soon as a single call would, after `timeout_s`. A later one is worth waiting for:
    `give_up_after_s`, with any number of attempts.
    """

    connection: Connection
    request: session_pb2.SessionOpen
    choices: Sequence[ModelChoice]
    retry: RetryPolicy
    timeout_s: float
    give_up_after_s: float
    answer_timeout_s: float
    max_message_bytes: int
    shared_memory: bool

    @override
    async def open(self, epoch: int) -> AsyncSession:
        self.request.epoch = epoch
        call, opened, shared = await open_sharing(
            self.connection,
            self.request,
            choices=self.choices,
            retry=replace(self.retry, attempts=sys.maxsize) if epoch else self.retry,
            timeout_s=self.give_up_after_s if epoch else self.timeout_s,
            shared_memory=self.shared_memory,
        )
        return AsyncSession(
            call,
            opened,
            max_message_bytes=self.max_message_bytes,
            answer_timeout_s=self.answer_timeout_s,
            shared=shared,
        )
