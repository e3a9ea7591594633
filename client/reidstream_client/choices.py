"""What a caller may choose: closed sets and small records, the values of many options.

Why our own enums: the wire's are integers that a program cannot tell apart, and a newer server may send values that
this client does not know. Each member's value is its number on the wire; a test compares them with the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Priority(Enum):
    """Who goes first when the engines are busy. Nobody is starved."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


class Ordering(Enum):
    """In which order frames are answered: as they were sent, or each when it is done."""

    IN_ORDER = 1
    AS_COMPLETED = 2


class OverloadPolicy(Enum):
    """What happens to a frame while the window is full.

    WAIT: `send` waits. DROP_OLDEST: only the newest unsent frame is kept, and the frame that it replaces is answered
    DROPPED. REJECT: the new frame is answered WINDOW_FULL.
    """

    WAIT = 1
    DROP_OLDEST = 2
    REJECT = 3


class EmbeddingDtype(Enum):
    """How vectors travel. The client's arrays are always float32."""

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
    """Which boxes to embed; the others are answered FILTERED. Sizes in pixels, scores 0 to 1; None: no such bound.

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
    """How often, and after which pauses, a call that met no ready server is repeated.

    `attempts` includes the first one. The pauses double from `first_s` up to `cap_s`. Each is shortened at random by up
    to a half, so that many clients do not come back together. The call's own time-out limits it all.
    """

    attempts: int = 5
    first_s: float = 0.2
    cap_s: float = 2.0


@dataclass(frozen=True, slots=True)
class EmbedEveryFrame:
    """Every box of a track is embedded; the server only sums them up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedAtIntervals:
    """A box is embedded when its track's newest row is of a frame so long ago: `frames` frames (2 embeds every second
    one), or `seconds` between the times when they were taken. At least one of the two is given.
    """

    frames: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOnRisk:
    """A box is embedded when its row may teach something, or when its track id may be wrong. None: the server's
    default, which `opened.tracks` tells.

    `max_overlap`: another box of the frame overlaps it by more (intersection over union, 0 to 1). `max_size_ratio`: its
    width, its height, or their ratio, has changed by more than this factor since the track's last box. `max_shift`: its
    centre has moved by more, in widths or heights of that box. `min_quality_gain`: its quality is better by more than
    the newest row's, 0 to 1. `max_age_s`: the newest row is older.
    """

    max_overlap: float | None = None
    max_size_ratio: float | None = None
    max_shift: float | None = None
    min_quality_gain: float | None = None
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class EmbedOnce:
    """Only the first box of a track is embedded."""


EmbedPolicy: TypeAlias = EmbedEveryFrame | EmbedAtIntervals | EmbedOnRisk | EmbedOnce
"""When a box of a track is embedded. The first one always is; the others are answered CACHED."""


class TrackVector(Enum):
    """How a track's vector is made of its rows.

    ROBUST: the mean, weighted by quality, without the one row that fits the others least, if it is far from them. MEAN:
    the plain mean.
    """

    ROBUST = 1
    MEAN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """A memory of tracks: boxes that are sent with a track id belong to tracks.

    `embed`: which of them are embedded. `timeout_s`: a track ends when it has had no box for so long, 0.001 to 3600.
    `vector`: how the vector of an ended track is made. `representatives`: how many rows it brings along, 0 to 3.
    """

    embed: EmbedPolicy = EmbedEveryFrame()
    timeout_s: float = 5.0
    vector: TrackVector = TrackVector.ROBUST
    representatives: int = 0
