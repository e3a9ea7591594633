"""The same client for programs without asyncio.

One implementation: an event loop in a thread of its own runs `AsyncReidClient`, and every method here waits for one of
its coroutines. Trap: the thread must end before the interpreter does, also when nobody calls `close`; a finalizer that
holds no reference to the client sees to it. A process that was forked after a client was made needs a client of its
own.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy.typing as npt

from .aio import DEFAULT_MAX_MESSAGE_BYTES, AsyncReidClient, Ping
from .connection.credentials import TlsOptions
from .errors import InvalidRequest, ReidError, SessionEnded
from .frames.images import Image
from .loop_thread import LoopThread
from .models import ModelInfo, ModelSummary
from .options import BoxFilter, EmbeddingDtype, ModelChoice, Ordering, OverloadPolicy, Priority, RetryPolicy
from .session.sync_session import Session
from .types import FrameEmbeddings

if TYPE_CHECKING:
    from typing_extensions import Self


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameInput:
    """A frame for `embed_many`; the fields are those of `Session.send`."""

    image: Image
    boxes: npt.ArrayLike | None = None
    frame_id: int | None = None
    class_ids: npt.ArrayLike | None = None
    scores: npt.ArrayLike | None = None
    track_ids: npt.ArrayLike | None = None
    captured_monotonic: float | None = None


class ReidClient:
    """Embeds frames and boxes on a reidstream server; the arguments are those of `AsyncReidClient`. Any thread.

    with ReidClient("localhost:50051") as client:
        result = client.embed(image, boxes)  # a BGR array or the bytes of a JPEG; (N, 4) x1, y1, x2, y2
        vectors = result.embeddings[result.valid]
    """

    def __init__(
        self,
        target: str,
        *,
        camera_id: str | None = None,
        model: str | None = None,
        expected_space_id: str | None = None,
        models: Sequence[ModelChoice] = (),
        priority: Priority = Priority.NORMAL,
        latency_budget_s: float | None = None,
        dtype: EmbeddingDtype = EmbeddingDtype.FLOAT32,
        box_filter: BoxFilter | None = None,
        timeout_s: float = 10.0,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        retry: RetryPolicy | None = None,
        tls: TlsOptions | None = None,
        token: str | None = None,
    ) -> None:
        self._client = AsyncReidClient(
            target,
            camera_id=camera_id,
            model=model,
            expected_space_id=expected_space_id,
            models=models,
            priority=priority,
            latency_budget_s=latency_budget_s,
            dtype=dtype,
            box_filter=box_filter,
            timeout_s=timeout_s,
            max_message_bytes=max_message_bytes,
            retry=retry,
            tls=tls,
            token=token,
        )
        self._thread = LoopThread()
        self._finalizer = weakref.finalize(self, self._thread.close, self._client)

    @property
    def target(self) -> str:
        """The server, "host:port"."""
        return self._client.target

    def embed(
        self,
        image: Image,
        boxes: npt.ArrayLike | None = None,
        *,
        frame_id: int = 0,
        class_ids: npt.ArrayLike | None = None,
        scores: npt.ArrayLike | None = None,
        source_size: tuple[int, int] | None = None,
        age_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> FrameEmbeddings:
        """The embeddings of one frame; arguments and errors as for `AsyncReidClient.embed`."""
        return self._thread.call(
            self._client.embed(
                image,
                boxes,
                frame_id=frame_id,
                class_ids=class_ids,
                scores=scores,
                source_size=source_size,
                age_s=age_s,
                timeout_s=timeout_s,
            )
        )

    def embed_many(
        self,
        frames: Iterable[FrameInput | tuple[Image, npt.ArrayLike]],
        *,
        camera_id: str | None = None,
        ordering: Ordering = Ordering.IN_ORDER,
        overload_policy: OverloadPolicy = OverloadPolicy.WAIT,
    ) -> Iterator[FrameEmbeddings]:
        """The answers to all frames, pipelined over one stream; each frame is answered exactly once.

        Frames are taken from `frames` in the caller's thread, and answers that came meanwhile are given between two of
        them. Raises as `Session.send` and the iteration over a session do; frames that a leaving server accepted are
        given before SessionDrained.
        """
        with self.stream(camera_id=camera_id, ordering=ordering, overload_policy=overload_policy) as session:
            for item in frames:
                frame = item if isinstance(item, FrameInput) else FrameInput(image=item[0], boxes=item[1])
                try:
                    session.send(
                        frame.image,
                        frame.boxes,
                        frame_id=frame.frame_id,
                        class_ids=frame.class_ids,
                        scores=frame.scores,
                        track_ids=frame.track_ids,
                        captured_monotonic=frame.captured_monotonic,
                    )
                except InvalidRequest:
                    raise
                except ReidError:
                    yield from session  # what was taken is still answered; then it raises why the session ended
                    raise
                yield from session.take()
            session.finish()
            yield from session

    @contextmanager
    def stream(
        self,
        *,
        camera_id: str | None = None,
        ordering: Ordering = Ordering.IN_ORDER,
        overload_policy: OverloadPolicy = OverloadPolicy.WAIT,
        window_frames: int = 0,
        window_bytes: int = 0,
        answer_timeout_s: float = 60.0,
        shared_memory: bool = False,
    ) -> Iterator[Session]:
        """Open a session; arguments and errors as for `AsyncReidClient.stream`."""
        context = self._client.stream(
            camera_id=camera_id,
            ordering=ordering,
            overload_policy=overload_policy,
            window_frames=window_frames,
            window_bytes=window_bytes,
            answer_timeout_s=answer_timeout_s,
            shared_memory=shared_memory,
        )
        with self._entered(context) as session:
            yield Session(session, self._thread)

    @contextmanager
    def resuming_stream(
        self,
        *,
        camera_id: str | None = None,
        ordering: Ordering = Ordering.IN_ORDER,
        overload_policy: OverloadPolicy = OverloadPolicy.WAIT,
        window_frames: int = 0,
        window_bytes: int = 0,
        answer_timeout_s: float = 60.0,
        give_up_after_s: float = 60.0,
        shared_memory: bool = False,
    ) -> Iterator[Session]:
        """As `stream`, but the session outlives its stream: when that is cut or drained, another one goes on."""
        context = self._client.resuming_stream(
            camera_id=camera_id,
            ordering=ordering,
            overload_policy=overload_policy,
            window_frames=window_frames,
            window_bytes=window_bytes,
            answer_timeout_s=answer_timeout_s,
            give_up_after_s=give_up_after_s,
            shared_memory=shared_memory,
        )
        with self._entered(context) as session:
            yield Session(session, self._thread)

    def models(self) -> tuple[ModelSummary, ...]:
        """The models that the server holds."""
        return self._thread.call(self._client.models())

    def info(self, name: str = "") -> ModelInfo:
        """A model's whole spec and the server's limits; "" is the default model. Raises ModelNotFound."""
        return self._thread.call(self._client.info(name))

    def ping(self) -> Ping:
        """The server's health, and how long asking took. Raises ServerUnavailable, not repeated."""
        return self._thread.call(self._client.ping())

    @contextmanager
    def _entered(self, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """A session of the client's thread, for the length of a block of this one."""
        session = self._thread.call(context.__aenter__())
        try:
            yield session
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
