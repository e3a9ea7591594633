"""What a call asks for, from the wire: EmbedOptions and SessionOpen become what `intake.terms` agrees on.

Trap: proto3 enums are open. A number that this server does not know is refused, never read as "unspecified".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from typing_extensions import override

from reidstream_proto.v1 import contract, frame_pb2, session_pb2
from reidstream_server.core.terms import Ordering, OverloadPolicy, Priority
from reidstream_server.errors import InvalidCall
from reidstream_server.identity.access import Caller
from reidstream_server.intake.fields import check_choice_counts, check_filter_count
from reidstream_server.intake.limits import PublishedLimits, WindowLimits
from reidstream_server.intake.terms import CallTerms, agree_on_call, agree_on_stream
from reidstream_server.intake.track_terms import check_track_ordering
from reidstream_server.runtime.agreement import Agreement, AnswerDtype, BoxFilter
from reidstream_server.runtime.models import ModelChoice, ModelTable
from reidstream_server.runtime.runtime import NO_TRACKS
from reidstream_server.tracks.room import TrackBounds

from .shared import SharedMemoryTerms
from .track_options import parse_track_terms

V = TypeVar("V")

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
class CallLimits:
    """Bounds of calls. Seconds. `max_age_s`: after so long a stream is asked to leave; 0: never. `idle_timeout_s`: the
    same for a session without frames.
    """

    max_sessions: int
    max_sessions_per_client: int
    open_timeout_s: float
    stall_timeout_s: float
    idle_timeout_s: float
    max_age_s: float
    drain_timeout_s: float
    window: WindowLimits
    shared_memory: SharedMemoryTerms
    tracks: TrackBounds
    published: PublishedLimits


@dataclass(frozen=True, slots=True)
class _WireTerms(CallTerms):
    """EmbedOptions, read when `intake` asks, so that what is wrong is told in its order."""

    _caller: Caller
    _options: session_pb2.EmbedOptions

    @property
    @override
    def client(self) -> str:
        return self._caller.client

    @property
    @override
    def source(self) -> str:
        return self._caller.source

    @property
    @override
    def camera_id(self) -> str:
        return self._options.camera_id

    @property
    @override
    def latency_budget_ms(self) -> int | None:
        return self._options.latency_budget_ms if self._options.HasField("latency_budget_ms") else None

    @property
    @override
    def priority(self) -> Priority:
        return _known("priority", self._options.priority, _PRIORITIES)

    @property
    @override
    def choices(self) -> Sequence[ModelChoice]:
        models = self._options.models
        check_choice_counts(len(models), sum(len(choice.class_ids) for choice in models))
        return [
            ModelChoice(
                name=choice.name,
                class_ids=tuple(choice.class_ids),
                expected_space_id=choice.expected_space_id if choice.HasField("expected_space_id") else None,
            )
            for choice in models
        ]

    @property
    @override
    def box_filter(self) -> BoxFilter | None:
        return _box_filter(self._options.box_filter) if self._options.HasField("box_filter") else None

    @property
    @override
    def dtype(self) -> AnswerDtype:
        return _known("dtype", self._options.dtype, _DTYPES)

    @property
    @override
    def upright(self) -> bool:
        return self._options.apply_exif_orientation


def parse_session(
    message: session_pb2.SessionOpen,
    *,
    caller: Caller,
    models: ModelTable,
    window: WindowLimits,
    tracks: TrackBounds = NO_TRACKS,
) -> Agreement:
    """The agreement of a stream, without the tracks that it goes on with. Raises CallRefused."""
    if len(message.session_id) != contract.SESSION_ID_BYTES:
        given, right = len(message.session_id), contract.SESSION_ID_BYTES
        raise InvalidCall(f"session_id has {given} bytes; it must have {right}")
    wanted = message.track_options if message.HasField("track_options") else None
    track_terms = None if wanted is None else parse_track_terms(wanted, tracks)
    ordering = _known("ordering", message.ordering, _ORDERINGS)
    if track_terms is not None:
        check_track_ordering(ordering)
    return agree_on_stream(
        _WireTerms(caller, message.options),
        models=models,
        limits=window,
        tracks=track_terms,
        ordering=ordering,
        policy=_known("overload_policy", message.overload_policy, _POLICIES),
        window_frames=message.window.frames,
        window_bytes=message.window.bytes,
    )


def parse_unary(
    message: session_pb2.EmbedOptions, *, caller: Caller, models: ModelTable, window: WindowLimits
) -> Agreement:
    """The agreement of a single call. Raises CallRefused."""
    return agree_on_call(_WireTerms(caller, message), models=models, limits=window)


def _box_filter(message: session_pb2.BoxFilter) -> BoxFilter:
    check_filter_count(len(message.class_ids))
    bounds = {
        name: getattr(message, name) if message.HasField(name) else None
        for name in ("min_width", "min_height", "max_width", "max_height", "min_score")
    }
    return BoxFilter(**bounds, class_ids=frozenset(message.class_ids))


def _known(field: str, number: int, table: Mapping[int, V]) -> V:
    if number not in table:
        raise InvalidCall(f"{field} is {number}; this server knows {', '.join(map(str, sorted(table)))}")
    return table[number]
