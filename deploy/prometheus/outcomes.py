"""Whose fault it is when a frame has no vectors.

Why it matters: the server owes an answer to frames that it could have answered. If frames that nobody can answer (a
damaged picture) counted as lost, one broken camera would wake an operator who cannot mend it. If they counted as
answered, a flood of them would hide a real fault. So they count in neither part of the share.

Trap: `dropped` is one outcome with two causes: the session's own window, or the server's queue. The client has asked
for either (DROP_OLDEST). So what is given up for something newer is counted apart, for a ticket.
"""

from __future__ import annotations

from enum import Enum

from typing_extensions import assert_never

from reidstream_server.core.faults import FaultReason

ANSWERED = "answered"


class Whose(Enum):
    """SERVER: it owed an answer. POLICY: given up, as the session asked for it. CLIENT: nobody could have answered."""

    SERVER = "server"
    POLICY = "policy"
    CLIENT = "client"


def whose(reason: FaultReason) -> Whose:
    """Who is to look at it."""
    match reason:
        case FaultReason.QUEUE_FULL | FaultReason.ENGINE_LOST | FaultReason.SHUTTING_DOWN | FaultReason.INTERNAL:
            return Whose.SERVER
        case FaultReason.DROPPED | FaultReason.WINDOW_FULL | FaultReason.OVER_BUDGET:
            return Whose.POLICY
        case (
            FaultReason.INVALID_FRAME_ID
            | FaultReason.INVALID_IMAGE
            | FaultReason.UNSUPPORTED_IMAGE
            | FaultReason.IMAGE_TOO_LARGE
            | FaultReason.TOO_MANY_BOXES
            | FaultReason.ANSWER_TOO_LARGE
            | FaultReason.INVALID_ARGUMENT
            | FaultReason.STAGING_TIMEOUT
        ):
            return Whose.CLIENT
        case _:
            assert_never(reason)


def outcomes(who: Whose) -> tuple[str, ...]:
    """The outcomes that are somebody's, as labels."""
    return tuple(reason.value for reason in FaultReason if whose(reason) is who)
