"""What a caller may choose: closed sets, and how they are written on the wire.

Why mirrored: the wire's enums are integers that a program cannot tell apart, and a newer server may send values that
this client does not know. Each member's value is its number on the wire; a test compares them with the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from reidstream_proto.v1 import frame_pb2, session_pb2
from reidstream_proto.v1.contract import MAX_CAMERA_ID_BYTES, MAX_LATENCY_BUDGET_MS

from .errors import InvalidRequest

_MIN_BUDGET_S, _MAX_BUDGET_S = 0.001, MAX_LATENCY_BUDGET_MS / 1000


class Priority(Enum):
    """Who goes first when the engines are busy. Nobody is starved."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


class Ordering(Enum):
    """In which order frames are answered: as they were sent, or as each is done."""

    IN_ORDER = 1
    AS_COMPLETED = 2


class OverloadPolicy(Enum):
    """What happens to a frame while the window is full.

    WAIT: `send` waits. DROP_OLDEST: only the newest unsent frame is kept, the one it replaces is answered DROPPED.
    REJECT: the new frame is answered WINDOW_FULL.
    """

    WAIT = 1
    DROP_OLDEST = 2
    REJECT = 3


class EmbeddingDtype(Enum):
    """How vectors travel. The client's arrays are float32 in either case."""

    FLOAT32 = 1
    FLOAT16 = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model and the box classes that go to it.

    `name` "" is the server's default model. No `class_ids`: all classes that no other choice names. A model whose
    space is not `expected_space_id` is refused (SpaceMismatch).
    """

    name: str = ""
    class_ids: tuple[int, ...] = ()
    expected_space_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFilter:
    """Boxes to leave alone: they are answered FILTERED. Sizes in pixels, scores 0 to 1; None: no such bound.

    With `class_ids`, only boxes of these classes are embedded; a box without a class is not.
    """

    min_width: float | None = None
    min_height: float | None = None
    max_width: float | None = None
    max_height: float | None = None
    min_score: float | None = None
    class_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after how long, a call that met no ready server is repeated.

    `attempts` counts the first one. The pauses grow twofold from `first_s` to `cap_s`, each shortened at random by up
    to a half so that many clients do not come back together. The call's own time-out bounds all of it.
    """

    attempts: int = 5
    first_s: float = 0.2
    cap_s: float = 2.0


def resolve_choices(
    model: str | None, expected_space_id: str | None, models: Sequence[ModelChoice]
) -> tuple[ModelChoice, ...]:
    """The models of a client: at least one choice. `models` excludes the two short forms."""
    if not models:
        return (ModelChoice(name=model or "", expected_space_id=expected_space_id),)
    if model is not None or expected_space_id is not None:
        raise InvalidRequest("give either models=[ModelChoice(...), ...] or model= and expected_space_id=, not both")
    return tuple(models)


def check_camera_id(camera_id: str) -> None:
    """Raises InvalidRequest for a name that the contract does not allow."""
    if not 1 <= len(camera_id.encode()) <= MAX_CAMERA_ID_BYTES:
        raise InvalidRequest(f"camera_id must be 1 to {MAX_CAMERA_ID_BYTES} bytes of UTF-8, not {camera_id!r}")


def check_unsigned(name: str, value: int, bits: int) -> None:
    """Raises InvalidRequest for a number that its field of so many bits cannot hold."""
    if not 0 <= value < 1 << bits:
        raise InvalidRequest(f"{name} must lie in 0 to 2**{bits} - 1, not {value}")


def check_above_zero(name: str, value: float) -> None:
    """Raises InvalidRequest for a number that is not above 0, NaN included."""
    if not value > 0:
        raise InvalidRequest(f"{name} must be above 0, not {value}")


def embed_options(
    *,
    camera_id: str,
    models: Sequence[ModelChoice],
    priority: Priority,
    latency_budget_s: float | None,
    dtype: EmbeddingDtype,
    box_filter: BoxFilter | None,
) -> session_pb2.EmbedOptions:
    """The wire's options. Raises InvalidRequest for a value out of its range, before anything is sent."""
    check_camera_id(camera_id)
    filtered = () if box_filter is None else box_filter.class_ids
    for class_id in (*filtered, *(class_id for m in models for class_id in m.class_ids)):
        check_unsigned("class_ids", class_id, 32)
    options = session_pb2.EmbedOptions(
        camera_id=camera_id,
        models=[
            session_pb2.ModelChoice(name=m.name, class_ids=m.class_ids, expected_space_id=m.expected_space_id)
            for m in models
        ],
        priority=session_pb2.Priority.ValueType(priority.value),
        dtype=frame_pb2.EmbeddingDtype.ValueType(dtype.value),
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
