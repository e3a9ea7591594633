"""What a server does now, session by session: which camera suffers?

Counts run from a session's beginning, so rates are differences: of two answers, by `OpenSession.open_s`. Trap: two
answers of different processes have nothing to do with each other; `ServerState.instance` tells them apart.

Closed sets are the contract's words in lower case ("drop_oldest"). A newer one than this client reads "unknown_7".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import grpc

from reidstream_proto.admin.v1 import admin_pb2
from reidstream_proto.v1 import session_pb2

from .checks import unsigned
from .errors import CallRejected, ReidError
from .models import word_of

T = TypeVar("T")

ADMIN: Final = "reidstream.admin.v1.AdminService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A bound of the server, and how much of it is used. `name`: "sessions", "queue_bytes", "memory_bytes", ..."""

    name: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoad:
    """A model's work. `ready_crops` wait for a slot. `retiring`: new sessions do not get it. `lost`: it has failed."""

    name: str
    ready_crops: int
    running_batches: int
    running_crops: int
    retiring: bool
    lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """The whole server. `instance`: of its process. `time_unix_s`: its clock. `paused_clients`: are not read for some
    time, since they have cost more than their share. `parked_frames`: wait for room in the queue.
    """

    version: str
    instance: str
    uptime_s: float
    time_unix_s: float
    draining: bool
    models: tuple[ModelLoad, ...]
    budgets: tuple[Budget, ...]
    paused_clients: int
    parked_frames: int
    oldest_waiting_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that is open at a server; each field as admin.proto says. None for an age: no recent answers."""

    number: int
    client: str
    camera_id: str
    peer: str
    resumed: int
    open_s: float
    models: tuple[str, ...]
    more_models: int
    priority: str
    overload_policy: str
    ordering: str
    latency_budget_s: float | None
    frames: int
    received_bytes: int
    answered: int
    given_up: int
    failed: int
    losses: Mapping[str, int]
    rate_fps: float
    age_p50_s: float | None
    age_p99_s: float | None
    window_frames: int
    max_window_frames: int
    window_bytes: int
    max_window_bytes: int
    waiting_frames: int
    running_frames: int
    done_frames: int
    unwritten_answers: int
    unread_s: float
    oldest_frame_s: float
    parked: bool
    paused: bool
    slowed: bool
    held: bool
    draining: bool
    half_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFrame:
    """A frame without an answer. `phase`: "parked", "queued", "staging", "ready", "done". `here_s`: since it came."""

    frame_id: int
    phase: str
    here_s: float
    age_at_arrival_s: float
    crops: int
    message_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSessions:
    """The server and its open sessions, the oldest first."""

    server: ServerState
    sessions: tuple[OpenSession, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """One session with its oldest open frames, at most 64."""

    server: ServerState
    session: OpenSession
    open_frames: tuple[OpenFrame, ...]


class Ask(Protocol):
    """Calls a method of the admin service."""

    def __call__(self, method: str, request: bytes, parse: Callable[[bytes], T], /) -> Awaitable[T]:
        """Raises ReidError."""
        ...


async def ask_sessions(ask: Ask) -> ServerSessions:
    """Every page. Sessions that open meanwhile may be missing. Raises ReidError."""
    found: list[OpenSession] = []
    token = ""
    while True:
        request = admin_pb2.ListSessionsRequest(page_token=token).SerializeToString()
        page = await _asked(ask("ListSessions", request, admin_pb2.ListSessionsResponse.FromString))
        found += map(_session, page.sessions)
        token = page.next_page_token
        if not token:
            return ServerSessions(server=_server(page.server), sessions=tuple(found))


async def ask_session(ask: Ask, number: int) -> SessionDetail:
    """One session. Raises CallRejected if it is over, InvalidRequest for what is no number."""
    request = admin_pb2.GetSessionRequest(number=unsigned("number", number, 64)).SerializeToString()
    answer = await _asked(ask("GetSession", request, admin_pb2.GetSessionResponse.FromString))
    return SessionDetail(
        server=_server(answer.server),
        session=_session(answer.session),
        open_frames=tuple(
            OpenFrame(
                frame_id=frame.frame_id,
                phase=word_of(admin_pb2.FramePhase, "FRAME_PHASE_", frame.phase),
                here_s=frame.here_ns / 1e9,
                age_at_arrival_s=frame.age_at_arrival_ns / 1e9,
                crops=frame.crops,
                message_bytes=frame.message_bytes,
            )
            for frame in answer.open_frames
        ),
    )


async def _asked(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except ReidError as error:
        if error.status is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        said = f"{error}: the server is older than the service {ADMIN}; use a newer server, or look into its log"
        raise CallRejected(said, status=error.status) from None


def _server(state: admin_pb2.ServerState) -> ServerState:
    return ServerState(
        version=state.version,
        instance=state.instance,
        uptime_s=state.uptime_ns / 1e9,
        time_unix_s=state.time_unix_ns / 1e9,
        draining=state.draining,
        models=tuple(
            ModelLoad(
                name=model.name,
                ready_crops=model.ready_crops,
                running_batches=model.running_batches,
                running_crops=model.running_crops,
                retiring=model.retiring,
                lost=model.lost,
            )
            for model in state.models
        ),
        budgets=tuple(Budget(name=one.name, used=one.used, limit=one.limit) for one in state.budgets),
        paused_clients=state.paused_clients,
        parked_frames=state.parked_frames,
        oldest_waiting_s=state.oldest_waiting_ns / 1e9,
    )


def _session(state: admin_pb2.SessionState) -> OpenSession:
    return OpenSession(
        number=state.number,
        client=state.client,
        camera_id=state.camera_id,
        peer=state.peer,
        resumed=state.epoch,
        open_s=state.open_ns / 1e9,
        models=tuple(state.models),
        more_models=state.more_models,
        priority=word_of(session_pb2.Priority, "PRIORITY_", state.priority),
        overload_policy=word_of(session_pb2.OverloadPolicy, "OVERLOAD_POLICY_", state.overload_policy),
        ordering=word_of(session_pb2.Ordering, "ORDERING_", state.ordering),
        latency_budget_s=state.latency_budget_ns / 1e9 if state.latency_budget_ns else None,
        frames=state.frames,
        received_bytes=state.received_bytes,
        answered=state.answered,
        given_up=state.given_up,
        failed=state.failed,
        losses=dict(state.losses),
        rate_fps=state.rate_fps,
        age_p50_s=state.age_p50_ns / 1e9 if state.HasField("age_p50_ns") else None,
        age_p99_s=state.age_p99_ns / 1e9 if state.HasField("age_p99_ns") else None,
        window_frames=state.window_frames,
        max_window_frames=state.max_window_frames,
        window_bytes=state.window_bytes,
        max_window_bytes=state.max_window_bytes,
        waiting_frames=state.waiting_frames,
        running_frames=state.running_frames,
        done_frames=state.done_frames,
        unwritten_answers=state.unwritten_answers,
        unread_s=state.unread_ns / 1e9,
        oldest_frame_s=state.oldest_frame_ns / 1e9,
        parked=state.parked,
        paused=state.paused,
        slowed=state.slowed,
        held=state.held,
        draining=state.draining,
        half_closed=state.half_closed,
    )
