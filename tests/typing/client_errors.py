"""What is raised is told apart by its class, and says what it has."""

from __future__ import annotations

from typing import assert_type

import grpc

from reidstream_client import Overloaded, ReidError, SessionDrained, SessionEnded


def told_apart(error: ReidError) -> None:
    """Only an overloaded server says when to come back; every error says which frames have no answer."""
    assert_type(error.unanswered, tuple[int, ...])
    assert_type(error.status, grpc.StatusCode | None)
    if isinstance(error, Overloaded):
        assert_type(error.retry_after_s, float | None)

    _ = error.retry_after_s  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def families(drained: SessionDrained, ended: SessionEnded) -> SessionDrained:
    """A drain is an end of a session, and not the other way round."""
    _: SessionEnded = drained
    return ended  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
