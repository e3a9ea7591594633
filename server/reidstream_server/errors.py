"""Everything this package raises on purpose, but `stopping.ToldToStop`.

    ServerError
    ├── ConfigError             the configuration, as a whole; nothing was started
    ├── StartupError            a model cannot be loaded, or a port cannot be opened
    ├── SharedMemoryRefused     memory that a client offers is not used; its session goes on without
    └── CallRefused             a call, not a frame, is at fault; its status ends the call
        ├── Unauthenticated     no token, or a wrong one
        ├── InvalidCall         the protocol or a field
        ├── UnknownModel        a name that ListModels does not know
        ├── WrongSpace          the model's vectors would not fit the client's
        ├── StaleEpoch          a session that was resumed by a newer stream already
        ├── TakenOver           a session that a newer stream has just resumed
        ├── NotOffered          a feature of the contract that this server does not have
        ├── TooManySessions     the bound on open sessions
        └── GoingAway           the server is stopping

What is wrong with one frame is no exception but a `core.faults.FrameFault`: it is data, and answered in-band.
`transport/status.py` has the one table from these to gRPC status codes. ToldToStop (a signal before the server serves)
is a BaseException on purpose: whoever catches the errors of a model must not catch it.
"""

from enum import Enum
from typing import ClassVar


class Refusal(Enum):
    """Why a call was refused. The values are metric labels, and words for clients' programs."""

    UNAUTHENTICATED = "unauthenticated"
    INVALID_CALL = "invalid_call"
    UNKNOWN_MODEL = "unknown_model"
    WRONG_SPACE = "wrong_space"
    STALE_EPOCH = "stale_epoch"
    TAKEN_OVER = "taken_over"
    NOT_OFFERED = "not_offered"
    TOO_MANY_SESSIONS = "too_many_sessions"
    GOING_AWAY = "going_away"


class ServerError(Exception):
    """Root of the tree. The message is for people and says what to do next."""


class ConfigError(ServerError):
    """All problems of the configuration, one a line."""


class StartupError(ServerError):
    """A model cannot be loaded, or a port cannot be listened on."""


class SharedMemoryRefused(ServerError):
    """Memory that a client offers cannot be used, or may not be. The client is told the message."""


class CallRefused(ServerError):
    """A call ends with this message. Only its kinds are raised."""

    refusal: ClassVar[Refusal]


class Unauthenticated(CallRefused):
    """The caller did not say who it is, or it was not believed."""

    refusal = Refusal.UNAUTHENTICATED


class InvalidCall(CallRefused):
    """The call broke the protocol, or one of its fields is out of range."""

    refusal = Refusal.INVALID_CALL


class UnknownModel(CallRefused):
    """No model of that name."""

    refusal = Refusal.UNKNOWN_MODEL


class WrongSpace(CallRefused):
    """The client expects another embedding space."""

    refusal = Refusal.WRONG_SPACE


class StaleEpoch(CallRefused):
    """A newer epoch of the session is open."""

    refusal = Refusal.STALE_EPOCH


class TakenOver(CallRefused):
    """A newer epoch of the session was opened while this one was open."""

    refusal = Refusal.TAKEN_OVER


class NotOffered(CallRefused):
    """In the contract, and not in this server."""

    refusal = Refusal.NOT_OFFERED


class TooManySessions(CallRefused):
    """As many sessions as the configuration allows are open."""

    refusal = Refusal.TOO_MANY_SESSIONS


class GoingAway(CallRefused):
    """The server is stopping."""

    refusal = Refusal.GOING_AWAY
