"""Every option, once: of a client, of a stream, of a frame.

An option is two lines in this module. The TypedDict has its name, type and meaning. Editors and type checkers read it,
since methods take `**options: Unpack[StreamOptions]` (PEP 692). The frozen dataclass beside it has the default, and is
what the code reads. No method passes an option on by name.

Traps: only type checkers check a TypedDict, so each method gives its options to `read_options` first, which knows their
names and, by `rules`, their values. If one of the two lines is missing, mypy complains where the dataclass is made, or
the test that compares the two fails.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

from .checks import nearest, shown
from .choices import (
    BoxFilter,
    EmbeddingDtype,
    ModelChoice,
    Ordering,
    OverloadPolicy,
    Priority,
    RetryPolicy,
    TrackOptions,
)
from .connection.credentials import TlsOptions
from .connection.protocols import Connect
from .errors import InvalidRequest, UnknownOption
from .frames.images import Image
from .option_help import with_options
from .rules import RULES
from .tracing import FrameTracing

F = TypeVar("F", bound=Callable[..., object])
S = TypeVar("S")

DEFAULT_MAX_MESSAGE_BYTES: Final = 64 << 20


class ClientOptions(TypedDict, total=False):
    """Options of `ReidClient` and `AsyncReidClient`."""

    camera_id: str | None
    """Names the camera; cameras share the engines fairly. Default: this machine's name."""
    model: str | None
    """A name from `models()`. Default: the server's default model."""
    expected_space_id: str | None
    """Refuse any other embedding space (SpaceMismatch). Default: take any."""
    models: Sequence[ModelChoice]
    """Several models, routed by class, instead of `model` and `expected_space_id`."""
    priority: Priority
    """Who goes first when the engines are busy. Default: NORMAL."""
    latency_budget_s: float | None
    """A frame older than this before its inference is answered OVER_BUDGET. 0.001 to 3600. Default: no budget.
    On a stream the client sees to it by itself if the server says nothing: `budget_grace_s`.
    """
    dtype: EmbeddingDtype
    """How vectors travel; FLOAT16 halves the answers. Default: FLOAT32."""
    box_filter: BoxFilter | None
    """Which boxes to embed. Default: all."""
    apply_exif_orientation: bool
    """Turn encoded images as their EXIF says, as `cv2.imread` does: boxes are then in pixels of the turned image. A
    server that cannot is refused (CallRejected). Default: False, images as they are stored.
    """
    timeout_s: float
    """Limit of a whole call, repetitions included, and of opening a session. Default: 10."""
    max_message_bytes: int
    """Largest message, both ways; the server has a limit of its own. Default: 64 MiB."""
    retry: RetryPolicy | None
    """How calls that met no ready server are repeated. Default: RetryPolicy()."""
    tls: TlsOptions | None
    """How the client knows the server, and proves who it is itself. Default: no TLS."""
    token: str | None
    """Sent with every call; without TLS to this machine only. Default: none."""
    keepalive_s: float | None
    """Ping the server this often while a call is open and idle, so that routers do not forget the connection.
    At least 10, since servers allow no more; None: never. Default: 30.
    """
    connect: Connect | None
    """Makes the connection, given the target, instead of gRPC: `reidstream_client.testing` has one. Default: gRPC."""
    tracing: FrameTracing | None
    """Begins a span for each frame, and tells the server of it: `OpenTelemetryTracing()`. Default: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """`ClientOptions` with the defaults."""

    camera_id: str | None = None
    model: str | None = None
    expected_space_id: str | None = None
    models: Sequence[ModelChoice] = ()
    priority: Priority = Priority.NORMAL
    latency_budget_s: float | None = None
    dtype: EmbeddingDtype = EmbeddingDtype.FLOAT32
    box_filter: BoxFilter | None = None
    apply_exif_orientation: bool = False
    timeout_s: float = 10.0
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    retry: RetryPolicy | None = None
    tls: TlsOptions | None = None
    token: str | None = field(default=None, repr=False)
    keepalive_s: float | None = 30.0
    connect: Connect | None = None
    tracing: FrameTracing | None = None


class StreamOptions(TypedDict, total=False):
    """Options of `stream` and `embed_many`."""

    camera_id: str | None
    """Instead of the client's."""
    ordering: Ordering
    """In which order frames are answered. Default: IN_ORDER."""
    overload_policy: OverloadPolicy
    """What happens to a frame while the window is full. Default: WAIT."""
    window_frames: int
    """How many frames may be unanswered. Default, 0: as many as the server gives."""
    window_bytes: int
    """How many bytes of frames may be unanswered. Default, 0: as many as the server gives."""
    answer_timeout_s: float
    """A stream whose server owes an answer for longer ends with CallTimeout. (A session that resumes then opens another
    stream.) Default: 60.
    """
    budget_grace_s: float
    """With a latency budget: how much longer than the budget to wait for the answer to a frame that was sent. Then the
    client answers OVER_BUDGET by itself (`local`). Longer than an inference and the way back. Default: 0.5.
    """
    shared_memory: bool
    """Leave raw frames in memory that a server on this machine reads, instead of sending them. Where that is not
    possible they are sent, and `opened.shared_memory_refusal` says why. Default: False.
    """


class TrackingStreamOptions(StreamOptions, total=False):
    """Options of `stream` and `embed_many` for a session that also gives the ends of tracks (`SessionEvent`)."""

    tracks: TrackOptions | None
    """A memory of tracks: boxes with a track id are embedded where `TrackOptions.embed` says so, and else answered
    CACHED. Ends of tracks come between the answers (TrackEnded). Only IN_ORDER. A server without it refuses
    (CallRejected). Default: none; track ids are then ignored.
    """


class ResumingStreamOptions(StreamOptions, total=False):
    """Options of `resuming_stream`."""

    give_up_after_s: float
    """How long to go on without success, from the first opening on, before the session ends with the last error. What
    will not pass (no token, an unknown model) ends it at once. Default: 60.
    """


class TrackingResumingStreamOptions(ResumingStreamOptions, TrackingStreamOptions, total=False):
    """Options of `resuming_stream` for a session that also gives the ends of tracks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """All options of streams with the defaults; a session of one stream never looks at `give_up_after_s`."""

    camera_id: str | None = None
    ordering: Ordering = Ordering.IN_ORDER
    overload_policy: OverloadPolicy = OverloadPolicy.WAIT
    window_frames: int = 0
    window_bytes: int = 0
    answer_timeout_s: float = 60.0
    budget_grace_s: float = 0.5
    shared_memory: bool = False
    tracks: TrackOptions | None = None
    give_up_after_s: float = 60.0


class FrameOptions(TypedDict, total=False):
    """Options of `send`, and fields of `FrameInput`. Arrays have one entry per box; None: the boxes have none."""

    frame_id: int | None
    """Ids increase within a session. Default: the next one; of `embed`, 0."""
    class_ids: npt.ArrayLike | None
    """(N,) integers of 32 bits: which model takes each box, and for filters."""
    scores: npt.ArrayLike | None
    """(N,) numbers of 0 to 1: the detector's, for filters."""
    track_ids: npt.ArrayLike | None
    """(N,) integers of 64 bits: the tracker's ids; -1, or None in a list, for a box without one. They are used in a
    session with `tracks`, and else ignored.
    """
    source_size: tuple[int, int] | None
    """(width, height) of the camera's frame, where the image was scaled before sending; filters measure in it."""
    capture_unix_ns: int | None
    """When the frame was taken, in nanoseconds since the Unix epoch. Recorded only: nothing is decided by it."""
    captured_monotonic: float | None
    """When the frame was taken, by `time.monotonic()`: it ages from then on. Default: when it is given."""
    age_s: float | None
    """How old the frame is, instead of `captured_monotonic`. Default: 0."""


class CallOptions(FrameOptions, total=False):
    """Options of `embed`."""

    timeout_s: float | None
    """Limit of this call, repetitions included. Default: the client's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameInput:
    """A frame for `embed_many` and `send_frame`: what `send` takes, in one object. See `FrameOptions`."""

    image: Image = field(repr=False)
    boxes: npt.ArrayLike | None = field(default=None, repr=False)
    frame_id: int | None = None
    class_ids: npt.ArrayLike | None = field(default=None, repr=False)
    scores: npt.ArrayLike | None = field(default=None, repr=False)
    track_ids: npt.ArrayLike | None = field(default=None, repr=False)
    source_size: tuple[int, int] | None = None
    capture_unix_ns: int | None = None
    captured_monotonic: float | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CallInput(FrameInput):
    """A frame for `embed`, and for how long."""

    timeout_s: float | None = None


def check_options(allowed: type[Any], options: Collection[str], function: str) -> None:
    """Raises UnknownOption for a name that `allowed`, a TypedDict, does not have."""
    known = _names(allowed)
    for name in options:
        if name not in known:
            close = nearest(name, known)
            meant = "" if close is None else f". Did you mean {close!r}?"
            raise UnknownOption(f"{function}() has no option {name!r}; it has {', '.join(known)}{meant}")


def read_options(allowed: type[Any], settings: type[S], options: Mapping[str, object], function: str) -> S:
    """What the caller gave, as settings: every value by its rule. Raises UnknownOption, or InvalidRequest."""
    check_options(allowed, options, function)
    return settings(**{name: RULES[name](name, value) for name, value in options.items()})


def check_frames(frames: object) -> None:
    """Raises InvalidRequest for what `embed_many` cannot go through."""
    if isinstance(frames, np.ndarray | str | bytes | dict | FrameInput) or not isinstance(frames, Iterable):
        raise InvalidRequest(
            f"frames must be several of (image, boxes) or FrameInput, not {shown(frames)}; give [frame]"
        )


def as_frame(given: object) -> FrameInput:
    """One of the frames of `embed_many`. Raises InvalidRequest."""
    if isinstance(given, FrameInput):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:  # noqa: PLR2004 - a picture and its boxes
        return FrameInput(image=given[0], boxes=given[1])
    raise InvalidRequest(f"each frame must be (image, boxes) or FrameInput(image=..., boxes=...), not {shown(given)}")


def shows_options(allowed: type[Any], settings: type[Any]) -> Callable[[F], F]:
    """Let `help()` and `inspect.signature` show the options of a TypedDict, with their meanings and the defaults of its
    dataclass, where the code says `**options`.
    """
    fields = inspect.signature(settings).parameters

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        named = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__dict__["__signature__"] = signature.replace(
            parameters=[*named, *(fields[name] for name in _names(allowed))]
        )
        function.__doc__ = with_options(function.__doc__, sys.modules[__name__], allowed.__name__)
        return function

    return decorate


def _names(allowed: type[Any]) -> Mapping[str, object]:
    """The options, inherited ones first."""
    names: Mapping[str, object] = allowed.__annotations__
    return names
