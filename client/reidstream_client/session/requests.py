"""What a client asks for, as messages: the options of a call, and the opening of a session.

The settings were checked where they were given (`rules`), since a server's refusal comes late, and names fields of the
contract instead of arguments. Only what must fit together is checked here.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence

from reidstream_client.choices import ModelChoice, Ordering
from reidstream_client.errors import InvalidRequest
from reidstream_client.options import ClientSettings, StreamSettings
from reidstream_client.track_terms import track_message
from reidstream_proto.v1 import frame_pb2, session_pb2
from reidstream_proto.v1.contract import SESSION_ID_BYTES

_MAX_CAMERA_CHARS = 32


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
    """The options of every call of a client."""
    camera_id = settings.camera_id
    if camera_id is None:
        camera_id = socket.gethostname()[:_MAX_CAMERA_CHARS] or "camera"
    box_filter, latency_budget_s = settings.box_filter, settings.latency_budget_s
    options = session_pb2.EmbedOptions(
        camera_id=camera_id,
        models=[
            session_pb2.ModelChoice(name=m.name, class_ids=m.class_ids, expected_space_id=m.expected_space_id)
            for m in choices
        ],
        priority=session_pb2.Priority.ValueType(settings.priority.value),
        dtype=frame_pb2.EmbeddingDtype.ValueType(settings.dtype.value),
        apply_exif_orientation=settings.apply_exif_orientation,
    )
    if latency_budget_s is not None:
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
    """A new session's opening, with a random id. Raises InvalidRequest for tracks in any other order than sent."""
    if settings.tracks is not None and settings.ordering is not Ordering.IN_ORDER:
        raise InvalidRequest(
            f"tracks need ordering=Ordering.IN_ORDER, not Ordering.{settings.ordering.name}: a box may have the row of "
            "the frame before it"
        )
    opening = session_pb2.SessionOpen(
        options=options,
        session_id=secrets.token_bytes(SESSION_ID_BYTES),
        ordering=session_pb2.Ordering.ValueType(settings.ordering.value),
        overload_policy=session_pb2.OverloadPolicy.ValueType(settings.overload_policy.value),
        window=session_pb2.Window(frames=settings.window_frames, bytes=settings.window_bytes),
    )
    if settings.camera_id is not None:
        opening.options.camera_id = settings.camera_id
    if settings.tracks is not None:
        opening.track_options.CopyFrom(track_message(settings.tracks))
    return opening
