"""The same client for programs without asyncio.

There is one implementation: an event loop in its own thread runs `AsyncReidClient`, and every method here waits for one
of its coroutines. Trap: the thread must end before the interpreter does, even if nobody calls `close`. A finalizer
without a reference to the client does that. In a process that is forked later, a client of this one raises
WrongPlace.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeAlias, overload

import numpy.typing as npt
from typing_extensions import Self, Unpack, override

from .admin import ServerSessions, SessionDetail
from .aio import AsyncReidClient
from .connection.protocols import Ping
from .errors import InvalidRequest, ReidError
from .frames.images import Image
from .loop_thread import LoopThread
from .models import ModelInfo, ModelSummary
from .options import (
    CallInput,
    CallOptions,
    ClientOptions,
    ClientSettings,
    FrameInput,
    ResumingStreamOptions,
    StreamOptions,
    StreamSettings,
    TrackingResumingStreamOptions,
    TrackingStreamOptions,
    as_frame,
    check_frames,
    check_options,
    shows_options,
)
from .process import not_picklable
from .session.block import Block
from .session.sync_session import Session
from .types import FrameEmbeddings, SessionEvent

GivenFrame: TypeAlias = "FrameInput | tuple[Image, npt.ArrayLike]"


class ReidClient:
    """Embeds frames and boxes on a reidstream server, for programs without asyncio. Any number of threads may use it.

    Its methods wait. In a coroutine they would stop the event loop: use `AsyncReidClient` there. It belongs to the
    process that made it. In another one, or where gevent has patched threads, it raises WrongPlace.

    with ReidClient("localhost:50051") as client:
        result = client.embed(image, boxes)  # a BGR array or the bytes of a JPEG; (N, 4) x1, y1, x2, y2
        vectors = result.embeddings[result.valid]
    """

    @shows_options(ClientOptions, ClientSettings)
    def __init__(self, target: str, **options: Unpack[ClientOptions]) -> None:
        """Make a client of the server at `target`, "host:port". It connects at the first call.

        Raises InvalidRequest for a value out of its range, FileError for a file of `tls` that cannot be used.
        """
        check_options(ClientOptions, options, "ReidClient")
        self._client = AsyncReidClient(target, **options)
        self._thread = LoopThread()
        self._finalizer = weakref.finalize(self, self._thread.close, self._client)

    @property
    def target(self) -> str:
        """The server, "host:port"."""
        return self._client.target

    @shows_options(CallOptions, CallInput)
    def embed(
        self, image: Image, boxes: npt.ArrayLike | None = None, **options: Unpack[CallOptions]
    ) -> FrameEmbeddings:
        """The embeddings of (N, 4) boxes x1, y1, x2, y2 in pixels of the image, or of `Crops`. Waits for the answer.

        `image`: a BGR array (H, W, 3) or a grey one (H, W), uint8; the bytes of a JPEG, PNG or WebP file; `RawFrame`,
        `Nv12` or `Crops`. For a camera use `stream`, which keeps several frames in flight.

        The call is repeated while no ready server answers. An error of the frame is raised. Raises InvalidRequest or
        FrameTooLarge for what cannot be sent, and else what the server's status says: `errors` has the list.
        """
        return self._thread.call(self._client.embed(image, boxes, **options))

    @overload
    def embed_many(
        self, frames: Iterable[GivenFrame], **options: Unpack[StreamOptions]
    ) -> Iterator[FrameEmbeddings]: ...
    @overload
    def embed_many(
        self, frames: Iterable[GivenFrame], **options: Unpack[TrackingStreamOptions]
    ) -> Iterator[SessionEvent]: ...
    @shows_options(TrackingStreamOptions, StreamSettings)
    def embed_many(
        self, frames: Iterable[GivenFrame], **options: Unpack[TrackingStreamOptions]
    ) -> Iterator[SessionEvent]:
        """The answers to all frames, pipelined over one stream; each frame is answered exactly once.

        `frames`: pairs of image and boxes, or `FrameInput`. They are taken in the caller's thread, and answers that
        have come are given between two of them. An error of a frame is in its answer. Raises InvalidRequest or
        FrameTooLarge for a frame that cannot be sent, and the error that ended the session. If the server leaves, the
        answers to the frames that it accepted come before SessionDrained.
        """
        check_options(TrackingStreamOptions, options, "embed_many")
        check_frames(frames)
        return self._embed_many(frames, self.stream(**options))

    @overload
    def stream(self, **options: Unpack[StreamOptions]) -> AbstractContextManager[Session]: ...
    @overload
    def stream(self, **options: Unpack[TrackingStreamOptions]) -> AbstractContextManager[Session[SessionEvent]]: ...
    @shows_options(TrackingStreamOptions, StreamSettings)
    def stream(self, **options: Unpack[TrackingStreamOptions]) -> AbstractContextManager[Session[SessionEvent]]:
        """Open a session for one camera, in a `with` block: send frames, take answers, each exactly once.

        with client.stream(camera_id="door") as session:
            session.send(image, boxes)
            session.finish()  # no more frames: without it the iteration waits for more answers
            for answer in session:
                ...

        Leaving the block ends the session and gives up frames without an answer. Entering it raises ServerUnavailable
        or CallTimeout if no server opens the session, CallRejected if it refuses, InvalidRequest for a wrong value.
        """
        return Block(self._client.stream(**options), self._thread)

    @overload
    def resuming_stream(self, **options: Unpack[ResumingStreamOptions]) -> AbstractContextManager[Session]: ...
    @overload
    def resuming_stream(
        self, **options: Unpack[TrackingResumingStreamOptions]
    ) -> AbstractContextManager[Session[SessionEvent]]: ...
    @shows_options(TrackingResumingStreamOptions, StreamSettings)
    def resuming_stream(
        self, **options: Unpack[TrackingResumingStreamOptions]
    ) -> AbstractContextManager[Session[SessionEvent]]:
        """Open a session that outlives its stream, in a `with` block: if that is cut or drained, another one goes on.

        Frames without an answer are kept and sent again, so each is still answered exactly once. Send, finish and
        iterate as with `stream`. Entering the block raises what `stream` raises. The session ends with SpaceMismatch
        if the next server answers in another space, or with the last error if no stream can be opened.
        """
        return Block(self._client.resuming_stream(**options), self._thread)

    def models(self) -> tuple[ModelSummary, ...]:
        """The server's models, one line each. Raises ServerUnavailable or CallTimeout if no server answers."""
        return self._thread.call(self._client.models())

    def info(self, name: str = "") -> ModelInfo:
        """A model's whole spec, and the server's limits. "" is the default model. Raises ModelNotFound."""
        return self._thread.call(self._client.info(name))

    def ping(self) -> Ping:
        """The server's health, and how long asking took, without connecting. A server that is still starting answers.

        Raises ServerUnavailable or CallTimeout at once; nothing is repeated.
        """
        return self._thread.call(self._client.ping())

    def server_sessions(self) -> ServerSessions:
        """The server's state, and each open session with its figures. Raises CallRejected if that is not allowed."""
        return self._thread.call(self._client.server_sessions())

    def server_session(self, number: int) -> SessionDetail:
        """One of them by its `number`, with its open frames. Raises CallRejected if it is over."""
        return self._thread.call(self._client.server_session(number))

    def _embed_many(
        self, frames: Iterable[GivenFrame], stream: AbstractContextManager[Session[SessionEvent]]
    ) -> Iterator[SessionEvent]:
        with stream as session:
            for item in frames:
                try:
                    session.send_frame(as_frame(item))
                except InvalidRequest:
                    raise
                except ReidError:
                    yield from session  # what was taken is still answered; then it raises why the session ended
                    raise
                yield from session.take()
            session.finish()
            yield from session

    def close(self) -> None:
        """Close the connection and end the thread; open calls and sessions end with SessionEnded.

        Closing twice is harmless. A closed client cannot be used again.
        """
        self._finalizer()

    __reduce__ = not_picklable

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    def __enter__(self) -> Self:
        self._thread.check_open()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
