"""Sessions and servers as a test wants them seen."""

from __future__ import annotations

from dataclasses import replace

from reidstream_client import Budget, ModelLoad, OpenSession, ServerSessions, ServerState, SessionDetail
from reidstream_client.admin import OpenFrame
from reidstream_client.cli.top.looks import Rates, Seen

SERVER = ServerState(
    version="1.2.3",
    instance="a",
    uptime_s=3700.0,
    time_unix_s=1e9,
    draining=False,
    models=(
        ModelLoad(name="osnet", ready_crops=7, running_batches=2, running_crops=8, retiring=False, lost=False),
        ModelLoad(name="old", ready_crops=0, running_batches=0, running_crops=0, retiring=True, lost=True),
    ),
    budgets=(
        Budget(name="sessions", used=3, limit=512),
        Budget(name="queue_boxes", used=12_000, limit=81_920),
        Budget(name="queue_bytes", used=3 * 2**20, limit=512 * 2**20),
        Budget(name="of the future", used=1, limit=2),
    ),
    paused_clients=0,
    parked_frames=0,
    oldest_waiting_s=0.0,
)
QUIET = OpenSession(
    number=1,
    client="",
    camera_id="gate",
    peer="ipv4:10.0.0.7:4242",
    resumed=0,
    open_s=10.0,
    models=("osnet",),
    more_models=0,
    priority="normal",
    overload_policy="wait",
    ordering="in_order",
    latency_budget_s=None,
    frames=0,
    received_bytes=0,
    answered=0,
    given_up=0,
    failed=0,
    losses={},
    rate_fps=0.0,
    age_p50_s=None,
    age_p99_s=None,
    window_frames=0,
    max_window_frames=16,
    window_bytes=0,
    max_window_bytes=256 * 2**20,
    waiting_frames=0,
    running_frames=0,
    done_frames=0,
    unwritten_answers=0,
    unread_s=0.0,
    oldest_frame_s=0.0,
    parked=False,
    paused=False,
    slowed=False,
    held=False,
    draining=False,
    half_closed=False,
)


def session(**changes: object) -> OpenSession:
    return replace(QUIET, **changes)  # type: ignore[arg-type]  # a wrong name or value fails the test


def sessions(*found: OpenSession, instance: str = "a") -> ServerSessions:
    return ServerSessions(server=replace(SERVER, instance=instance), sessions=found)


def details(found: OpenSession, frames: int = 0) -> SessionDetail:
    return SessionDetail(
        server=SERVER,
        session=found,
        open_frames=tuple(
            OpenFrame(frame_id=number, phase="queued", here_s=0.5, age_at_arrival_s=0.25, crops=2, message_bytes=2048)
            for number in range(frames)
        ),
    )


def rates(answered: float = 0.0, given_up: float = 0.0, failed: float = 0.0) -> Rates:
    return Rates(
        interval_s=2.0,
        answered_fps=answered,
        given_up_fps=given_up,
        failed_fps=failed,
        received_bytes_per_s=0.0,
    )


def seen(found: Rates | None = None, **changes: object) -> Seen:
    return Seen(session=session(**changes), rates=found)
