"""The exceptions that a user of the server can meet: its operator at the start, or a client during a call.

    ServerError
    ├── ConfigError             the configuration is wrong; nothing was started
    ├── StartupError            a file, a model or a port cannot be had
    ├── SharedMemoryRefused     the server does not use the memory that a client offers; the session goes on without it
    └── CallRefused             a call is refused; its status ends the call
        ├── Unauthenticated     no token, or a wrong one
        ├── InvalidCall         the client broke the protocol, or a field is out of its range
        ├── UnknownModel        ListModels does not list the name
        ├── WrongSpace          the model's vectors could not be compared with the client's
        ├── UnknownSession      no open session has the number
        ├── NotPermitted        a setting, or who the caller is, keeps it from what it asks for
        ├── NoTracks            the session has no memory of tracks
        ├── StaleEpoch          a newer stream had resumed the session before
        ├── TakenOver           a newer stream has resumed the session now
        ├── NotOffered          the contract has the feature, this server does not
        ├── TooManySessions     as many sessions are open as the limit allows, in all or for this client
        ├── TooManyCalls        as many calls are in progress as the limit allows, in all or for this client
        ├── TooSlow             the message of a call did not arrive in time
        ├── TooLarge            the message of a call is larger than the limit
        ├── ReceivingFull       the caller's connection holds too much of messages that have not come whole
        └── GoingAway           the server is stopping

Trap: an error of one frame is no exception. It is a `core.faults.FrameFault`, which is data and travels as an answer.
Outside this tree is `stopping.ToldToStop` (a signal came before the server serves). It is a BaseException, so that code
which catches the errors of a model does not catch it.
`transport/status.py` has the one table from these to the statuses of gRPC and HTTP.
"""

from enum import Enum
from typing import ClassVar


class Refusal(Enum):
    """Why a call was refused. The values are metric labels, and the words that clients' programs read."""

    UNAUTHENTICATED = "unauthenticated"
    INVALID_CALL = "invalid_call"
    UNKNOWN_MODEL = "unknown_model"
    WRONG_SPACE = "wrong_space"
    UNKNOWN_SESSION = "unknown_session"
    NOT_PERMITTED = "not_permitted"
    NO_TRACKS = "no_tracks"
    STALE_EPOCH = "stale_epoch"
    TAKEN_OVER = "taken_over"
    NOT_OFFERED = "not_offered"
    TOO_MANY_SESSIONS = "too_many_sessions"
    TOO_MANY_CALLS = "too_many_calls"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    RECEIVING_FULL = "receiving_full"
    GOING_AWAY = "going_away"


SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The statuses of gRPC that OpenTelemetry's conventions have a server to blame for. The others are its answers to what
clients did.
"""


class ServerError(Exception):
    """Root of the tree. The message is for people and says what to do next."""


class ConfigError(ServerError):
    """The configuration is wrong. The message has all problems, one per line.

    `log_format`: the value of that setting, as far as it was understood.
    """

    def __init__(self, message: str, *, log_format: str = "text") -> None:
        super().__init__(message)
        self.log_format = log_format


class StartupError(ServerError):
    """A file, a model or a port cannot be had. The message has all that was found, one per line."""


class SharedMemoryRefused(ServerError):
    """The server cannot use the memory that a client offers, or must not. The client gets the message."""


class CallRefused(ServerError):
    """A call ends with this message. Raise a subclass, never this class."""

    refusal: ClassVar[Refusal]


class Unauthenticated(CallRefused):
    """The call has no token, or a wrong one."""

    refusal = Refusal.UNAUTHENTICATED


class InvalidCall(CallRefused):
    """The client broke the protocol, or a field is out of its range."""

    refusal = Refusal.INVALID_CALL


class UnknownModel(CallRefused):
    """The server has no model of that name."""

    refusal = Refusal.UNKNOWN_MODEL


class WrongSpace(CallRefused):
    """The client expects another embedding space."""

    refusal = Refusal.WRONG_SPACE


class UnknownSession(CallRefused):
    """No open session has the number."""

    refusal = Refusal.UNKNOWN_SESSION


class NotPermitted(CallRefused):
    """A setting, or who the caller is, keeps it from what it asks for; the message says what would do."""

    refusal = Refusal.NOT_PERMITTED


class NoTracks(CallRefused):
    """The session was opened without a memory of tracks."""

    refusal = Refusal.NO_TRACKS


class StaleEpoch(CallRefused):
    """A newer epoch of the session is open."""

    refusal = Refusal.STALE_EPOCH


class TakenOver(CallRefused):
    """A newer epoch of the session was opened while this one was open."""

    refusal = Refusal.TAKEN_OVER


class NotOffered(CallRefused):
    """The contract has the feature, this server does not."""

    refusal = Refusal.NOT_OFFERED


class TooManySessions(CallRefused):
    """As many sessions are open as the configuration allows, in all or for this client."""

    refusal = Refusal.TOO_MANY_SESSIONS


class TooManyCalls(CallRefused):
    """As many calls are in progress, or messages received, as are allowed, in all or for this client."""

    refusal = Refusal.TOO_MANY_CALLS


class TooSlow(CallRefused):
    """The message of a call did not arrive in time."""

    refusal = Refusal.TOO_SLOW


class TooLarge(CallRefused):
    """The message of a call is larger than the limit."""

    refusal = Refusal.TOO_LARGE


class ReceivingFull(CallRefused):
    """The server holds too much of messages that have not come whole, most of it from the caller's connection."""

    refusal = Refusal.RECEIVING_FULL


class GoingAway(CallRefused):
    """The server is stopping."""

    refusal = Refusal.GOING_AWAY
