"""What a client asks for, as messages: the options of a call, and the opening of a session.

Trap: everything is checked here, before anything is sent. A server's refusal comes late, and names fields of the
contract instead of arguments.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence

from reidstream_client.checks import check_above_zero, check_camera_id, check_unsigned
from reidstream_client.choices import ModelChoice
from reidstream_client.errors import InvalidRequest
from reidstream_client.options import ClientSettings, StreamSettings
from reidstream_proto.v1 import frame_pb2, session_pb2
from reidstream_proto.v1.contract import MAX_LATENCY_BUDGET_MS, SESSION_ID_BYTES

_MAX_CAMERA_CHARS = 32
_MIN_BUDGET_S, _MAX_BUDGET_S = 0.001, MAX_LATENCY_BUDGET_MS / 1000


def resolve_choices(
    model: str | None, expected_space_id: str | None, models: Sequence[ModelChoice]
) -> tuple[ModelChoice, ...]:
    """The models of a client: at least one choice. `models` excludes the two short forms."""
    if not models:
        return (ModelChoice(name=model or "", expected_space_id=expected_space_id),)
    if model is not None or expected_space_id is not None:
        raise InvalidRequest("give either models=[ModelChoice(...), ...] or model= and expected_space_id=, not both")
    return tuple(models)


def embed_options(settings: ClientSettings, choices: Sequence[ModelChoice]) -> session_pb2.EmbedOptions:
    """The options of every call of a client. Raises InvalidRequest for a value out of its range."""
    camera_id = settings.camera_id
    if camera_id is None:
        camera_id = socket.gethostname()[:_MAX_CAMERA_CHARS] or "camera"
    check_camera_id(camera_id)
    box_filter, latency_budget_s = settings.box_filter, settings.latency_budget_s
    filtered = () if box_filter is None else box_filter.class_ids
    for class_id in (*filtered, *(class_id for m in choices for class_id in m.class_ids)):
        check_unsigned("class_ids", class_id, 32)
    options = session_pb2.EmbedOptions(
        camera_id=camera_id,
        models=[
            session_pb2.ModelChoice(name=m.name, class_ids=m.class_ids, expected_space_id=m.expected_space_id)
            for m in choices
        ],
        priority=session_pb2.Priority.ValueType(settings.priority.value),
        dtype=frame_pb2.EmbeddingDtype.ValueType(settings.dtype.value),
    )
    if latency_budget_s is not None:
        if not _MIN_BUDGET_S <= latency_budget_s <= _MAX_BUDGET_S:
            raise InvalidRequest(
                f"the latency budget must be {_MIN_BUDGET_S} to {_MAX_BUDGET_S:.0f} s, not {latency_budget_s!r}"
            )
        options.latency_budget_ms = round(latency_budget_s * 1000)
    if box_filter is not None:
        options.box_filter.CopyFrom(
            session_pb2.BoxFilter(
                min_width=box_filter.min_width,
                min_height=box_filter.min_height,
                max_width=box_filter.max_width,
                max_height=box_filter.max_height,
                min_score=box_filter.min_score,
                class_ids=box_filter.class_ids,
            )
        )
    return options


def session_open(options: session_pb2.EmbedOptions, settings: StreamSettings) -> session_pb2.SessionOpen:
    """A new session's opening, with a random id. Raises InvalidRequest for a value out of its range."""
    check_above_zero("answer_timeout_s", settings.answer_timeout_s)
    check_above_zero("budget_grace_s", settings.budget_grace_s)
    check_above_zero("give_up_after_s", settings.give_up_after_s)
    check_unsigned("window_frames", settings.window_frames, 32)
    check_unsigned("window_bytes", settings.window_bytes, 64)
    opening = session_pb2.SessionOpen(
        options=options,
        session_id=secrets.token_bytes(SESSION_ID_BYTES),
        ordering=session_pb2.Ordering.ValueType(settings.ordering.value),
        overload_policy=session_pb2.OverloadPolicy.ValueType(settings.overload_policy.value),
        window=session_pb2.Window(frames=settings.window_frames, bytes=settings.window_bytes),
    )
    if settings.camera_id is not None:
        check_camera_id(settings.camera_id)
        opening.options.camera_id = settings.camera_id
    return opening
