"""What a call asks for becomes an Agreement, or the call is refused.

A door says what its call asks for as `CallTerms`; the ranges and the defaults are here. The order in which terms are
looked at is a promise, since the first that is wrong is what the client is told: camera, budget, priority, models,
filter, dtype. That is why a door may give an object that reads its wire only when it is asked. Trap: a refusal names
the field as the wire contract does, since that is where people look it up.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reidstream_proto.v1 import contract
from reidstream_server.core.terms import Flow, Ordering, OverloadPolicy, Priority, SessionTerms, Window
from reidstream_server.errors import InvalidCall
from reidstream_server.runtime.agreement import Agreement, AnswerDtype, BoxFilter
from reidstream_server.runtime.models import ModelChoice, ModelTable
from reidstream_server.tracks.terms import TrackTerms

from .fields import check_choices, check_filter_count, utf8_bytes
from .limits import WindowLimits


class CallTerms(Protocol):
    """What every call says. Each property is read once, in the promised order, and may raise InvalidCall."""

    __slots__ = ()

    @property
    @abstractmethod
    def client(self) -> str:
        """The caller's identity."""
        ...

    @property
    @abstractmethod
    def source(self) -> str:
        """Who is held responsible for what the call costs."""
        ...

    @property
    @abstractmethod
    def camera_id(self) -> str:
        """Whose frames these are."""
        ...

    @property
    @abstractmethod
    def latency_budget_ms(self) -> int | None:
        """None for no budget."""
        ...

    @property
    @abstractmethod
    def priority(self) -> Priority:
        """Who goes first."""
        ...

    @property
    @abstractmethod
    def choices(self) -> Sequence[ModelChoice]:
        """Empty: the default model for every box."""
        ...

    @property
    @abstractmethod
    def box_filter(self) -> BoxFilter | None:
        """Boxes to leave alone."""
        ...

    @property
    @abstractmethod
    def dtype(self) -> AnswerDtype:
        """How vectors are written."""
        ...

    @property
    @abstractmethod
    def upright(self) -> bool:
        """Whether pictures are turned as their EXIF says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTerms:
    """Terms that are known already; what is left out has its default."""

    client: str
    source: str
    camera_id: str
    latency_budget_ms: int | None = None
    priority: Priority = Priority.NORMAL
    choices: Sequence[ModelChoice] = ()
    box_filter: BoxFilter | None = None
    dtype: AnswerDtype = AnswerDtype.FLOAT32
    upright: bool = False


def agree_on_stream(
    terms: CallTerms,
    *,
    models: ModelTable,
    limits: WindowLimits,
    ordering: Ordering,
    policy: OverloadPolicy,
    window_frames: int,
    window_bytes: int,
    tracks: TrackTerms | None = None,
) -> Agreement:
    """The agreement of a stream. 0 in a window: as much as the server gives; more is lowered. `tracks`: checked terms.
    Raises CallRefused.
    """
    for name, asked in (("frames", window_frames), ("bytes", window_bytes)):
        if asked < 0:
            raise InvalidCall(f"window.{name} is {asked}; it must not be negative")
    window = Window(
        frames=min(window_frames or limits.default_frames, limits.max_frames),
        bytes=min(window_bytes or limits.max_bytes, limits.max_bytes),
    )
    return _agree(terms, models=models, ordering=ordering, policy=policy, window=window, tracks=tracks)


def agree_on_call(
    terms: CallTerms,
    *,
    models: ModelTable,
    limits: WindowLimits,
    policy: OverloadPolicy = OverloadPolicy.REJECT,
) -> Agreement:
    """The agreement of a call with one frame. `policy`: what becomes of it if the queue is full. Raises CallRefused."""
    window = Window(frames=1, bytes=limits.max_bytes)
    return _agree(terms, models=models, ordering=Ordering.AS_COMPLETED, policy=policy, window=window)


def _agree(
    terms: CallTerms,
    *,
    models: ModelTable,
    ordering: Ordering,
    policy: OverloadPolicy,
    window: Window,
    tracks: TrackTerms | None = None,
) -> Agreement:
    flow = Flow(client=terms.client, camera_id=_checked_camera(terms.camera_id))
    budget_ms, most_ms = terms.latency_budget_ms, contract.MAX_LATENCY_BUDGET_MS
    if budget_ms is not None and not 1 <= budget_ms <= most_ms:
        raise InvalidCall(f"latency_budget_ms is {budget_ms}; it must be 1 to {most_ms}, or absent for no budget")
    priority = terms.priority
    choices = terms.choices
    check_choices(choices)
    routes = models.routes(choices)
    box_filter = terms.box_filter
    if box_filter is not None:
        _check_filter(box_filter)
    return Agreement(
        terms=SessionTerms(
            flow=flow,
            source=terms.source,
            priority=priority,
            ordering=ordering,
            overload_policy=policy,
            window=window,
            latency_budget_ns=None if budget_ms is None else budget_ms * 1_000_000,
            models=frozenset(routes.models),
        ),
        routes=routes,
        box_filter=box_filter,
        dtype=terms.dtype,
        upright=terms.upright,
        tracks=tracks,
    )


def _checked_camera(camera_id: str) -> str:
    length = utf8_bytes("camera_id", camera_id)
    if not 1 <= length <= contract.MAX_CAMERA_ID_BYTES:
        raise InvalidCall(f"camera_id has {length} bytes; it must have 1 to {contract.MAX_CAMERA_ID_BYTES}")
    return camera_id


def _check_filter(wanted: BoxFilter) -> None:
    check_filter_count(len(wanted.class_ids))
    for name in ("min_width", "min_height", "max_width", "max_height", "min_score"):
        value = getattr(wanted, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidCall(f"box_filter.{name} is {value}; it must be finite and not negative")
