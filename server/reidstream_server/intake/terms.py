"""What a call asks for becomes an Agreement, or the call is refused.

A door translates its own words into these arguments; the ranges and the defaults are here. Trap: a refusal names the
field as the wire contract does, since that is where people look it up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reidstream_proto.v1 import contract
from reidstream_server.core.terms import Flow, Ordering, OverloadPolicy, Priority, SessionTerms, Window
from reidstream_server.errors import InvalidCall
from reidstream_server.runtime.agreement import Agreement, AnswerDtype, BoxFilter
from reidstream_server.runtime.models import ModelChoice, ModelTable

from .limits import WindowLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What every call says: whose camera it is, which models, how its boxes are filtered and its vectors written.

    `latency_budget_ms`: None for no budget. No `choices`: the default model for every box.
    """

    client: str
    camera_id: str
    choices: Sequence[ModelChoice] = ()
    priority: Priority = Priority.NORMAL
    latency_budget_ms: int | None = None
    box_filter: BoxFilter | None = None
    dtype: AnswerDtype = AnswerDtype.FLOAT32


def agree_on_stream(
    asked: Asked,
    *,
    models: ModelTable,
    limits: WindowLimits,
    ordering: Ordering,
    policy: OverloadPolicy,
    window_frames: int,
    window_bytes: int,
) -> Agreement:
    """The agreement of a stream. 0 in a window: as much as the server gives; more is lowered. Raises CallRefused."""
    window = Window(
        frames=min(window_frames or limits.default_frames, limits.max_frames),
        bytes=min(window_bytes or limits.max_bytes, limits.max_bytes),
    )
    return _agree(asked, models=models, ordering=ordering, policy=policy, window=window)


def agree_on_call(asked: Asked, *, models: ModelTable, limits: WindowLimits) -> Agreement:
    """The agreement of a call with one frame, which is rejected if the queue is full. Raises CallRefused."""
    window = Window(frames=1, bytes=limits.max_bytes)
    return _agree(asked, models=models, ordering=Ordering.AS_COMPLETED, policy=OverloadPolicy.REJECT, window=window)


def _agree(
    asked: Asked, *, models: ModelTable, ordering: Ordering, policy: OverloadPolicy, window: Window
) -> Agreement:
    length = len(asked.camera_id.encode())
    if not 1 <= length <= contract.MAX_CAMERA_ID_BYTES:
        raise InvalidCall(f"camera_id has {length} bytes; it must have 1 to {contract.MAX_CAMERA_ID_BYTES}")
    budget_ms, most_ms = asked.latency_budget_ms, contract.MAX_LATENCY_BUDGET_MS
    if budget_ms is not None and not 1 <= budget_ms <= most_ms:
        raise InvalidCall(f"latency_budget_ms is {budget_ms}; it must be 1 to {most_ms}, or absent for no budget")
    if asked.box_filter is not None:
        _check_filter(asked.box_filter)
    routes = models.routes(asked.choices)
    return Agreement(
        terms=SessionTerms(
            flow=Flow(client=asked.client, camera_id=asked.camera_id),
            priority=asked.priority,
            ordering=ordering,
            overload_policy=policy,
            window=window,
            latency_budget_ns=None if budget_ms is None else budget_ms * 1_000_000,
            models=frozenset(routes.models),
        ),
        routes=routes,
        box_filter=asked.box_filter,
        dtype=asked.dtype,
    )


def _check_filter(wanted: BoxFilter) -> None:
    for name in ("min_width", "min_height", "max_width", "max_height", "min_score"):
        value = getattr(wanted, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidCall(f"box_filter.{name} is {value}; it must be finite and not negative")
