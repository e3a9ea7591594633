"""What the runtime counts, as messages of the admin contract.

Why nothing is counted here: the log reads the same figures, so it cannot say something else. Trap: a session may end
between two questions about it; whoever asks skips it then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reidstream_proto.admin.v1 import admin_pb2
from reidstream_proto.v1 import session_pb2
from reidstream_server.core.progress import OpenFrame, Progress, SessionProgress
from reidstream_server.core.statistics import ModelStatistics, SessionStatistics
from reidstream_server.core.terms import Ordering, OverloadPolicy, Priority
from reidstream_server.runtime.session import Origin, Session
from reidstream_server.runtime.statistics import SessionFigures

MOST_MODELS = 16
"""Names of models of one session."""

_PRIORITIES: Mapping[Priority, session_pb2.Priority.ValueType] = {
    priority: session_pb2.Priority.Value(f"PRIORITY_{priority.name}") for priority in Priority
}
_POLICIES: Mapping[OverloadPolicy, session_pb2.OverloadPolicy.ValueType] = {
    policy: session_pb2.OverloadPolicy.Value(f"OVERLOAD_POLICY_{policy.name}") for policy in OverloadPolicy
}
_ORDERINGS: Mapping[Ordering, session_pb2.Ordering.ValueType] = {
    ordering: session_pb2.Ordering.Value(f"ORDERING_{ordering.name}") for ordering in Ordering
}
_PHASES: Mapping[Progress, admin_pb2.FramePhase.ValueType] = {
    progress: admin_pb2.FramePhase.Value(f"FRAME_PHASE_{progress.name}") for progress in Progress
}


def session_message(
    session: Session, origin: Origin, figures: SessionFigures, held: SessionStatistics, progress: SessionProgress
) -> admin_pb2.SessionState:
    """One session."""
    terms = session.agreement.terms
    models = [model.name for model in session.agreement.routes.models.values()]
    return admin_pb2.SessionState(
        number=session.key,
        client=terms.flow.client,
        camera_id=terms.flow.camera_id,
        peer=origin.peer,
        epoch=origin.epoch,
        open_ns=int(figures.seconds * 1e9),
        models=models[:MOST_MODELS],
        more_models=max(0, len(models) - MOST_MODELS),
        priority=_PRIORITIES[terms.priority],
        overload_policy=_POLICIES[terms.overload_policy],
        ordering=_ORDERINGS[terms.ordering],
        latency_budget_ns=terms.latency_budget_ns or 0,
        frames=figures.frames,
        received_bytes=figures.bytes,
        answered=figures.answered,
        given_up=figures.given_up,
        failed=figures.failed,
        losses=figures.losses,
        rate_fps=figures.rate_fps,
        age_p50_ns=None if figures.ages is None else figures.ages.p50_ns,
        age_p99_ns=None if figures.ages is None else figures.ages.p99_ns,
        window_frames=held.window_frames,
        max_window_frames=held.window.frames,
        window_bytes=held.window_bytes,
        max_window_bytes=held.window.bytes,
        waiting_frames=progress.waiting_frames,
        running_frames=progress.running_frames,
        done_frames=progress.done_frames,
        unwritten_answers=held.unwritten_answers,
        unread_ns=progress.unread_ns,
        oldest_frame_ns=progress.oldest_frame_ns,
        parked=progress.parked,
        paused=progress.paused,
        slowed=progress.slowed,
        held=not held.readable,
        draining=held.draining,
        half_closed=progress.half_closed,
    )


def open_frame_messages(frames: Iterable[OpenFrame]) -> list[admin_pb2.OpenFrame]:
    """Open frames, in their order."""
    return [
        admin_pb2.OpenFrame(
            frame_id=frame.frame_id,
            phase=_PHASES[frame.progress],
            here_ns=frame.here_ns,
            age_at_arrival_ns=frame.age_ns,
            crops=frame.crops,
            message_bytes=frame.message_bytes,
        )
        for frame in frames
    ]


def model_message(model: ModelStatistics) -> admin_pb2.ModelState:
    """One model."""
    return admin_pb2.ModelState(
        name=model.name,
        ready_crops=model.ready_crops,
        running_batches=model.running_batches,
        running_crops=model.running_crops,
        retiring=model.retiring,
        lost=model.lost,
    )
