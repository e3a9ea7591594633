"""The same client for programs without asyncio.

There is one implementation: an event loop in its own thread runs `AsyncReidClient`, and every method here waits for one
of its coroutines. Trap: the thread must end before the interpreter does, even if nobody calls `close`. A finalizer
without a reference to the client does that. A process that is forked later needs a client of its own.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import TypeVar

import numpy.typing as npt
from typing_extensions import Self, Unpack

from .aio import AsyncReidClient, Ping
from .errors import InvalidRequest, ReidError, SessionEnded
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
    as_frame,
    check_frames,
    check_options,
    shows_options,
)
from .session.async_session import AsyncSession
from .session.resuming import ResumingSession
from .session.sync_session import Session
from .types import FrameEmbeddings

S = TypeVar("S", AsyncSession, ResumingSession)


class ReidClient:
    """Embeds frames and boxes on a reidstream server; options and errors as for `AsyncReidClient`. Any thread.

    with ReidClient("localhost:50051") as client:
        result = client.embed(image, boxes)  # a BGR array or the bytes of a JPEG; (N, 4) x1, y1, x2, y2
        vectors = result.embeddings[result.valid]
    """

    @shows_options(ClientOptions, ClientSettings)
    def __init__(self, target: str, **options: Unpack[ClientOptions]) -> None:
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
        """The embeddings of one frame; options and errors as for `AsyncReidClient.embed`."""
        return self._thread.call(self._client.embed(image, boxes, **options))

    @shows_options(StreamOptions, StreamSettings)
    def embed_many(
        self, frames: Iterable[FrameInput | tuple[Image, npt.ArrayLike]], **options: Unpack[StreamOptions]
    ) -> Iterator[FrameEmbeddings]:
        """The answers to all frames, pipelined over one stream; each frame is answered exactly once.

        Frames are taken from `frames` in the caller's thread, and answers that have come are given between two of them.
        Raises as `Session.send` and the iteration over a session do. If the server leaves, the answers to the frames
        that it accepted come before SessionDrained. `options`: `StreamOptions`.
        """
        check_options(StreamOptions, options, "embed_many")
        check_frames(frames)
        return self._embed_many(frames, self.stream(**options))

    @shows_options(StreamOptions, StreamSettings)
    def stream(self, **options: Unpack[StreamOptions]) -> AbstractContextManager[Session]:
        """Open a session; options and errors as for `AsyncReidClient.stream`."""
        return self._entered(self._client.stream(**options))

    @shows_options(ResumingStreamOptions, StreamSettings)
    def resuming_stream(self, **options: Unpack[ResumingStreamOptions]) -> AbstractContextManager[Session]:
        """As `stream`, but the session outlives its stream: if that is cut or drained, another one goes on."""
        return self._entered(self._client.resuming_stream(**options))

    def models(self) -> tuple[ModelSummary, ...]:
        """The server's models."""
        return self._thread.call(self._client.models())

    def info(self, name: str = "") -> ModelInfo:
        """A model's whole spec, and the server's limits. "" is the default model. Raises ModelNotFound."""
        return self._thread.call(self._client.info(name))

    def ping(self) -> Ping:
        """The server's health, and how long asking took. Raises as `AsyncReidClient.ping`, at once."""
        return self._thread.call(self._client.ping())

    def _embed_many(
        self, frames: Iterable[FrameInput | tuple[Image, npt.ArrayLike]], stream: AbstractContextManager[Session]
    ) -> Iterator[FrameEmbeddings]:
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

    @contextmanager
    def _entered(self, context: AbstractAsyncContextManager[S]) -> Iterator[Session]:
        """A session of the client's thread, for the length of a block of this one."""
        session = self._thread.call(context.__aenter__())
        try:
            yield Session(session, self._thread)
        finally:
            with suppress(SessionEnded):  # the client was closed meanwhile, and the session with it
                self._thread.call(context.__aexit__(None, None, None))

    def close(self) -> None:
        """Close the connection and end the thread; open calls raise SessionEnded. Closing twice is harmless."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
