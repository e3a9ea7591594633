"""Everything that was seen, as plain values: what gathering gives and judging takes.

Why between the two: a judgement of values needs no network, so each can be tested by itself. Trap: None means that
nobody looked, because something before it failed; a failure that was seen is a value too (an error, an enum's member).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, TypeVar

from reidstream_client.admin import OpenSession, ServerSessions
from reidstream_client.connection.protocols import Health
from reidstream_client.errors import ReidError
from reidstream_client.models import ModelInfo, ModelSummary
from reidstream_client.session.opening import SessionInfo
from reidstream_client.types import FrameEmbeddings

from .gather.exposition import Samples

T = TypeVar("T")
Answer: TypeAlias = "T | ReidError"


def is_lacking(answer: object) -> bool:
    """Whether a call ended because the server does not have the method."""
    return isinstance(answer, ReidError) and answer.status is not None and answer.status.name == "UNIMPLEMENTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says. `proxy`: the variable that names a proxy for this target, which gRPC obeys."""

    target: str
    version: str
    timeout_s: float
    tls: bool = False
    client_certificate: bool = False
    token: bool = False
    model: str = ""
    space_id: str | None = None
    frame_size: tuple[int, int] = (1920, 1080)
    fps: float = 25.0
    proxy: str | None = None
    metrics: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The addresses of the target's host, or why there are none."""

    host: str
    addresses: tuple[str, ...] = ()
    error: str = ""


class Reach(Enum):
    """How a TCP connection to an address ended. TIMED_OUT: packets are dropped. REFUSED: the host says no."""

    OPEN = "open"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One address."""

    address: str
    port: int
    reach: Reach
    error: str = ""


class Speaks(Enum):
    """What answers to the first bytes of gRPC without TLS."""

    GRPC = "gRPC"
    OPERATORS = "reidstream's metrics"
    HTTP = "HTTP"
    TLS = "TLS"
    SILENT = "nothing"
    CLOSED = "a closed connection"
    OTHER = "something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """`first`: the beginning of its answer, as text that a terminal may be shown."""

    speaks: Speaks
    first: str = ""


class Trust(Enum):
    """How a TLS handshake ended, by this client's own options."""

    TRUSTED = "trusted"
    UNKNOWN_AUTHORITY = "unknown authority"
    WRONG_NAME = "wrong name"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    CLIENT_REFUSED = "client refused"
    NO_TLS = "no TLS"
    NO_HTTP2 = "no HTTP/2"
    SILENT = "silent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The server's own."""

    names: tuple[str, ...]
    issuer: str
    begins_unix_s: float
    ends_unix_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """`name`: the one that the certificate must have. `certificate`: None if it could not be read."""

    trust: Trust
    name: str
    detail: str = ""
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The server's clock less this machine's. It is right to within `within_s`, half of the answer's way."""

    ahead_s: float
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What the server's unary methods say. `pings`: seconds that a health check took, on an open connection."""

    health: Answer[Health]
    models: Answer[tuple[ModelSummary, ...]] | None = None
    info: Answer[ModelInfo] | None = None
    sessions: Answer[ServerSessions] | None = None
    clock: Clock | None = None
    pings: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Frames that doctor drew, and their answers.

    `too_large`: why a raw frame of the camera's size would not be read; "" if it would. `embed`: one frame by a single
    call, of `embed_bytes`. `opened`, `answers`, `broken`: the same picture as JPEG over a stream, and what ended it
    early. `own`: how the server sees that stream.
    """

    raw_bytes: int
    too_large: str = ""
    embed: Answer[FrameEmbeddings] | None = None
    embed_bytes: int = 0
    opened: Answer[SessionInfo] | None = None
    answers: tuple[FrameEmbeddings, ...] = ()
    broken: ReidError | None = None
    own: OpenSession | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A page of metrics, and when it came by this machine's clock that never jumps."""

    at_s: float
    samples: Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """The port of metrics and probes. `error`: why there are no metrics. `alive`, `ready`: what its probes say; "" if
    all is well, None if they did not answer.
    """

    url: str
    error: str = ""
    alive: str | None = None
    ready: str | None = None
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All of it. `now_unix_s`: this machine's clock."""

    asked: Asked
    now_unix_s: float
    names: Names | None = None
    attempts: tuple[Attempt, ...] | None = None
    port: Port | None = None
    handshake: Handshake | None = None
    calls: Calls | None = None
    frames: Frames | None = None
    operators: Operators | None = field(default=None)
