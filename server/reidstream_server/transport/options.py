"""What a call asks for, from the wire: EmbedOptions and SessionOpen become an Agreement, or the call is refused.

Trap: proto3 enums are open. A number that this server does not know is refused, never read as "unspecified".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from reidstream_proto.v1 import frame_pb2, model_pb2, session_pb2
from reidstream_server.core.terms import Flow, Ordering, OverloadPolicy, Priority, SessionTerms, Window
from reidstream_server.errors import InvalidCall, NotOffered
from reidstream_server.runtime.agreement import Agreement, AnswerDtype, BoxFilter
from reidstream_server.runtime.models import ModelChoice, ModelTable

from .shared import SharedMemoryTerms

V = TypeVar("V")

MAX_CAMERA_ID_BYTES = 128
MAX_BUDGET_MS = 3_600_000
_SESSION_ID_BYTES = 16

_PRIORITIES: Mapping[int, Priority] = {
    session_pb2.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    session_pb2.PRIORITY_LOW: Priority.LOW,
    session_pb2.PRIORITY_NORMAL: Priority.NORMAL,
    session_pb2.PRIORITY_HIGH: Priority.HIGH,
}
_ORDERINGS: Mapping[int, Ordering] = {
    session_pb2.ORDERING_UNSPECIFIED: Ordering.IN_ORDER,
    session_pb2.ORDERING_IN_ORDER: Ordering.IN_ORDER,
    session_pb2.ORDERING_AS_COMPLETED: Ordering.AS_COMPLETED,
}
_POLICIES: Mapping[int, OverloadPolicy] = {
    session_pb2.OVERLOAD_POLICY_UNSPECIFIED: OverloadPolicy.WAIT,
    session_pb2.OVERLOAD_POLICY_WAIT: OverloadPolicy.WAIT,
    session_pb2.OVERLOAD_POLICY_DROP_OLDEST: OverloadPolicy.DROP_OLDEST,
    session_pb2.OVERLOAD_POLICY_REJECT: OverloadPolicy.REJECT,
}
_DTYPES: Mapping[int, AnswerDtype] = {
    frame_pb2.EMBEDDING_DTYPE_UNSPECIFIED: AnswerDtype.FLOAT32,
    frame_pb2.EMBEDDING_DTYPE_FLOAT32: AnswerDtype.FLOAT32,
    frame_pb2.EMBEDDING_DTYPE_FLOAT16: AnswerDtype.FLOAT16,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """The largest window, and the frames of one that names none."""

    max_frames: int
    max_bytes: int
    default_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Bounds of calls. Seconds. `max_age_s`: after so long a stream is asked to leave; 0: never."""

    max_sessions: int
    open_timeout_s: float
    max_age_s: float
    drain_timeout_s: float
    window: WindowLimits
    shared_memory: SharedMemoryTerms
    published: model_pb2.Limits


def parse_session(
    message: session_pb2.SessionOpen, *, client: str, models: ModelTable, window: WindowLimits
) -> Agreement:
    """The agreement of a stream. Raises CallRefused."""
    if len(message.session_id) != _SESSION_ID_BYTES:
        raise InvalidCall(f"session_id has {len(message.session_id)} bytes; it must have {_SESSION_ID_BYTES}")
    if message.HasField("track_options"):
        raise NotOffered("tracks: track_options asks for them, and this server does not aggregate tracks")
    return _agreement(
        message.options,
        client=client,
        models=models,
        ordering=_known("ordering", message.ordering, _ORDERINGS),
        policy=_known("overload_policy", message.overload_policy, _POLICIES),
        window=Window(
            frames=min(message.window.frames or window.default_frames, window.max_frames),
            bytes=min(message.window.bytes or window.max_bytes, window.max_bytes),
        ),
    )


def parse_unary(
    message: session_pb2.EmbedOptions, *, client: str, models: ModelTable, window: WindowLimits
) -> Agreement:
    """The agreement of a single call: one frame, rejected if the queue is full. Raises CallRefused."""
    return _agreement(
        message,
        client=client,
        models=models,
        ordering=Ordering.AS_COMPLETED,
        policy=OverloadPolicy.REJECT,
        window=Window(frames=1, bytes=window.max_bytes),
    )


def _agreement(
    options: session_pb2.EmbedOptions,
    *,
    client: str,
    models: ModelTable,
    ordering: Ordering,
    policy: OverloadPolicy,
    window: Window,
) -> Agreement:
    camera_id = options.camera_id
    if not 1 <= len(camera_id.encode()) <= MAX_CAMERA_ID_BYTES:
        raise InvalidCall(f"camera_id has {len(camera_id.encode())} bytes; it must have 1 to {MAX_CAMERA_ID_BYTES}")
    budget_ms = options.latency_budget_ms if options.HasField("latency_budget_ms") else None
    if budget_ms is not None and not 1 <= budget_ms <= MAX_BUDGET_MS:
        raise InvalidCall(f"latency_budget_ms is {budget_ms}; it must be 1 to {MAX_BUDGET_MS}, or absent for none")
    choices = [
        ModelChoice(
            name=choice.name,
            class_ids=tuple(choice.class_ids),
            expected_space_id=choice.expected_space_id if choice.HasField("expected_space_id") else None,
        )
        for choice in options.models
    ]
    routes = models.routes(choices)
    return Agreement(
        terms=SessionTerms(
            flow=Flow(client=client, camera_id=camera_id),
            priority=_known("priority", options.priority, _PRIORITIES),
            ordering=ordering,
            overload_policy=policy,
            window=window,
            latency_budget_ns=None if budget_ms is None else budget_ms * 1_000_000,
            models=frozenset(model for model in (*routes.by_class.values(), routes.others) if model is not None),
        ),
        routes=routes,
        box_filter=_box_filter(options.box_filter) if options.HasField("box_filter") else None,
        dtype=_known("dtype", options.dtype, _DTYPES),
    )


def _box_filter(message: session_pb2.BoxFilter) -> BoxFilter:
    bounds = {
        name: getattr(message, name) if message.HasField(name) else None
        for name in ("min_width", "min_height", "max_width", "max_height", "min_score")
    }
    for name, value in bounds.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidCall(f"box_filter.{name} is {value}; it must be finite and not negative")
    return BoxFilter(**bounds, class_ids=frozenset(message.class_ids))


def _known(field: str, number: int, table: Mapping[int, V]) -> V:
    if number not in table:
        raise InvalidCall(f"{field} is {number}; this server knows {', '.join(map(str, sorted(table)))}")
    return table[number]
