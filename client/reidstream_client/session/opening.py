"""Opening a session: ask, read what was agreed, and check that the two fit.

Why apart: before the server's first answer there is nothing to lose, so the opening may be repeated. Later messages may
not. Trap: a server that is frozen takes a call and says nothing, so each attempt has a limit of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import grpc

from reidstream_client.choices import (
    EmbeddingDtype,
    ModelChoice,
    Ordering,
    OverloadPolicy,
    Priority,
    RetryPolicy,
    TrackOptions,
)
from reidstream_client.connection.protocols import Call, Connection
from reidstream_client.connection.retries import met_no_server, with_retries
from reidstream_client.connection.within import within
from reidstream_client.errors import CallRejected, CallTimeout, ProtocolFault, ReidError, SpaceMismatch
from reidstream_client.frames.shared_memory import SharedMemory
from reidstream_client.models import AgreedModel, Limits, parse_limits
from reidstream_client.track_terms import agreed_tracks
from reidstream_proto.v1 import service_pb2, session_pb2

from .track_book import TrackBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """How an opening is repeated: each attempt takes up to `attempt_s`, all together `timeout_s`."""

    retry: RetryPolicy
    attempt_s: float
    timeout_s: float
    repeats: Callable[[ReidError], bool] = met_no_server


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What was agreed. `window_frames`, `window_bytes`: how much may be unanswered.

    `shared_memory_bytes`: how much shared memory the server reads raw frames from; 0: they are sent.
    `shared_memory_refusal`: why raw frames are sent although shared memory was asked for; else "".
    `takes_close`: the server wants to be told when this client leaves.
    `apply_exif_orientation`: encoded images are turned as their EXIF says.
    `tracks`: the memory of tracks, with every default of the server; None: there is none.
    """

    session_id: bytes
    models: tuple[AgreedModel, ...]
    window_frames: int
    window_bytes: int
    limits: Limits = field(repr=False)
    priority: Priority
    ordering: Ordering
    overload_policy: OverloadPolicy
    dtype: EmbeddingDtype
    latency_budget_s: float | None
    shared_memory_bytes: int = 0
    shared_memory_refusal: str = ""
    takes_close: bool = False
    apply_exif_orientation: bool = False
    tracks: TrackOptions | None = None


async def open_session(
    connection: Connection,
    request: session_pb2.SessionOpen,
    *,
    choices: Sequence[ModelChoice],
    attempts: Attempts,
    book: TrackBook | None = None,
) -> tuple[Call, SessionInfo]:
    """Open a call and read its first answer. `book`: the tracks that the session has had so far.

    Raises the call's error, CallTimeout, ProtocolFault or SpaceMismatch.
    """

    async def attempt(left_s: float) -> tuple[Call, SessionInfo]:
        call = connection.stream()
        if book is not None:
            book.write_to(request.track_options, time.monotonic())
        try:
            info = await within(min(left_s, attempts.attempt_s), _exchange(call, request))
            check_spaces(choices, info.models)
            check_upright(call.target, asked=request.options.apply_exif_orientation, given=info.apply_exif_orientation)
            _check_tracks(call.target, asked=request.HasField("track_options"), given=info.tracks is not None)
        except asyncio.TimeoutError:
            call.cancel()
            limit_s = min(attempts.attempt_s, attempts.timeout_s)
            raise CallTimeout(f"{connection.target}: the session was not opened within {limit_s:.3g} s") from None
        except BaseException:
            call.cancel()
            raise
        return call, info

    return await with_retries(attempt, attempts.retry, timeout_s=attempts.timeout_s, repeats=attempts.repeats)


async def open_sharing(
    connection: Connection,
    request: session_pb2.SessionOpen,
    *,
    choices: Sequence[ModelChoice],
    attempts: Attempts,
    shared_memory: bool,
    book: TrackBook | None = None,
) -> tuple[Call, SessionInfo, SharedMemory | None]:
    """As `open_session`. With `shared_memory`, offer new memory, and return it if the server takes it."""
    request.ClearField("shared_memory")
    shared: SharedMemory | None = None
    failure = ""
    if shared_memory:
        try:
            shared = SharedMemory()
            request.shared_memory.CopyFrom(shared.offer)
        except OSError as error:
            failure = f"this client has no memory to share: {error.strerror}"
    try:
        call, info = await open_session(connection, request, choices=choices, attempts=attempts, book=book)
    except BaseException:
        if shared is not None:
            shared.close()
        raise
    if shared is None:
        return call, replace(info, shared_memory_refusal=failure), None
    if not info.shared_memory_bytes:
        shared.close()
        return call, info, None
    shared.agreed(info.shared_memory_bytes, info.window_frames)
    return call, info, shared


async def _exchange(call: Call, request: session_pb2.SessionOpen) -> SessionInfo:
    await call.write(service_pb2.EmbedStreamRequest(session_open=request).SerializeToString())
    first = await call.read()
    if first is None or not first.HasField("session_opened"):
        raise ProtocolFault(f"{call.target}: the stream did not begin with SessionOpened")
    info = _parse_opened(first.session_opened)
    if info.session_id != request.session_id:
        raise ProtocolFault(f"{call.target}: opened another session than was asked for")
    if info.shared_memory_bytes > request.shared_memory.size_bytes:
        raise ProtocolFault(f"{call.target}: agreed on more shared memory than was offered")
    if request.HasField("shared_memory") and not (info.shared_memory_bytes or info.shared_memory_refusal):
        return replace(info, shared_memory_refusal="the server does not know shared memory")
    return info


def _parse_opened(opened: session_pb2.SessionOpened) -> SessionInfo:
    try:
        info = SessionInfo(
            session_id=opened.session_id,
            models=tuple(
                AgreedModel(
                    name=model.name,
                    version=model.version,
                    dim=model.dim,
                    space_id=model.space_id,
                    class_ids=tuple(model.class_ids),
                )
                for model in opened.models
            ),
            window_frames=opened.window.frames,
            window_bytes=opened.window.bytes,
            limits=parse_limits(opened.limits),
            priority=Priority(opened.priority),
            ordering=Ordering(opened.ordering),
            overload_policy=OverloadPolicy(opened.overload_policy),
            dtype=EmbeddingDtype(opened.dtype),
            latency_budget_s=opened.latency_budget_ms / 1000 if opened.HasField("latency_budget_ms") else None,
            shared_memory_bytes=opened.shared_memory.size_bytes,
            shared_memory_refusal=opened.shared_memory.refusal,
            takes_close=opened.takes_close,
            apply_exif_orientation=opened.apply_exif_orientation,
            tracks=agreed_tracks(opened.track_options) if opened.HasField("track_options") else None,
        )
    except ValueError as error:  # an enum that says nothing, or something else than what may be asked for
        raise ProtocolFault(f"the server's SessionOpened does not say what was agreed: {error}") from None
    if not info.models or not info.window_frames or not info.window_bytes:
        raise ProtocolFault("SessionOpened names no model, or a window of nothing")
    return info


def check_spaces(choices: Sequence[ModelChoice], models: Sequence[AgreedModel]) -> None:
    """Raises SpaceMismatch if a choice expects another space than its model has. The server refuses this too."""
    if len(choices) != len(models):
        raise ProtocolFault(f"{len(models)} models were agreed, {len(choices)} were asked for")
    for choice, model in zip(choices, models, strict=True):
        if choice.expected_space_id not in {None, model.space_id}:
            raise SpaceMismatch(
                f"model {model.name!r} has space {model.space_id}, expected was {choice.expected_space_id}",
                status=grpc.StatusCode.FAILED_PRECONDITION,
            )


def check_upright(target: str, *, asked: bool, given: bool) -> None:
    """Raises CallRejected if a server does not turn pictures although it was asked to: an older one cannot."""
    if asked and not given:
        raise CallRejected(
            f"{target}: the server does not know apply_exif_orientation, so boxes of turned pictures would be cut "
            "elsewhere: update the server, or send arrays (cv2.imread turns them) without this option",
            status=grpc.StatusCode.UNIMPLEMENTED,
        )


def _check_tracks(target: str, *, asked: bool, given: bool) -> None:
    """A server that does not know `tracks` refuses by itself; one that agrees on what was not asked for is broken."""
    if asked and not given:
        raise CallRejected(
            f"{target}: the server has no memory of tracks: update it, or open the session without tracks=",
            status=grpc.StatusCode.UNIMPLEMENTED,
        )
    if given and not asked:
        raise ProtocolFault(f"{target}: agreed on a memory of tracks that was not asked for")
