"""Closed sets of the client are matched without a last resort, and a member that is forgotten is found."""

from __future__ import annotations

from typing import assert_never

from reidstream_client import Outcome, OverloadPolicy


def has_vector(outcome: Outcome) -> bool:
    """Every outcome, once: a new one must say whether it has a vector."""
    match outcome:
        case Outcome.EMBEDDED | Outcome.CACHED:
            return True
        case Outcome.TOO_SMALL | Outcome.OUTSIDE_FRAME | Outcome.INVALID_BOX | Outcome.FILTERED | Outcome.NO_MODEL:
            return False
        case Outcome.INVALID_IMAGE | Outcome.FAILED | Outcome.SOURCE_LOST | Outcome.UNKNOWN | Outcome.FRAME_FAILED:
            return False
        case _:
            assert_never(outcome)


def forgets_one(policy: OverloadPolicy) -> str:
    """A set that is not matched to its end."""
    match policy:
        case OverloadPolicy.WAIT:
            return "send waits"
        case OverloadPolicy.DROP_OLDEST:
            return "the newest is kept"
        case _:
            assert_never(policy)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def is_no_number(outcome: Outcome) -> bool:
    """The wire's numbers are not the client's words."""
    _: Outcome = 1  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    return outcome == 1  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
