"""How long a session that resumes goes on without success, how fast it tries, and which errors are worth it.

Why one place: a stream that cannot be opened and one that is opened and answers nothing are the same trouble for the
caller, so one clock counts both, from the last success on. Trap: an end that will not pass (no token, another space)
must not be waited for.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Final

from reidstream_client.choices import RetryPolicy
from reidstream_client.connection.retries import spread
from reidstream_client.errors import CallTimeout, Overloaded, ReidError, ServerFault, ServerUnavailable, SessionEnded

MAX_PAUSE_S: Final = 0.8
"""Frames wait, so a server that is back is found within a second."""

_FIRST_PAUSE_S = 0.1
_PASSES = (ServerUnavailable, Overloaded, ServerFault, CallTimeout)


def may_open_later(error: ReidError) -> bool:
    """Whether an opening that failed so is worth another try. A client that was closed opens nothing any more."""
    return isinstance(error, _PASSES) or error.cut_off


def may_be_resumed(error: ReidError) -> bool:
    """Whether the next stream may go on where this error ended one."""
    return isinstance(error, (*_PASSES, SessionEnded))


def without_end(retry: RetryPolicy) -> RetryPolicy:
    """The same policy for an opening that time alone ends, with pauses for a session whose frames wait."""
    first_s, cap_s = min(retry.first_s, MAX_PAUSE_S), min(retry.cap_s, MAX_PAUSE_S)
    return replace(retry, attempts=sys.maxsize, first_s=first_s, cap_s=cap_s)


@dataclass(slots=True)
class Patience:
    """Pure: times are given, by any one clock."""

    give_up_after_s: float
    _troubled_since_s: float | None = None
    _failures: int = 0

    def succeeded(self) -> None:
        """A server answered a frame, or a stream ended that had none to answer."""
        self._troubled_since_s = None
        self._failures = 0

    def failed(self, now_s: float) -> None:
        """A stream has ended."""
        if self._troubled_since_s is None:
            self._troubled_since_s = now_s
        self._failures += 1

    def left_s(self, now_s: float) -> float:
        """For how long to try another one; not above 0: not at all."""
        since_s = now_s if self._troubled_since_s is None else self._troubled_since_s
        return since_s + self.give_up_after_s - now_s

    def pause_s(self) -> float:
        """How long to wait before the next stream, after one that answered nothing."""
        doubled = _FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10)
        return spread(min(MAX_PAUSE_S, doubled))
