"""How requests end: a count for each route and status.

Trap: whoever calls chooses the path, so only routes are told apart, or there would be no end of counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import product

from reidstream_server.transport.status import CALLS, FRAMES, INTERNAL

from .routes import Route

OTHER = "other"
"""Paths and methods that are not offered."""

_STATUSES = tuple(
    dict.fromkeys(
        int(status)
        for status in (
            HTTPStatus.OK,
            *(status.http for status in (*CALLS.values(), *FRAMES.values(), INTERNAL)),
            HTTPStatus.NOT_FOUND,
            HTTPStatus.METHOD_NOT_ALLOWED,
        )
    )
)


class RequestsEnded:
    """`counts`: by method and pattern, and status; each that there may be is in it. Event loop only."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._counts = dict.fromkeys(product((*map(_name, routes), OTHER), map(str, _STATUSES)), 0)

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """So far."""
        return self._counts

    def count(self, route: Route | None, status: int) -> None:
        """A request was answered; `route`: None if it had none."""
        key = (OTHER if route is None else _name(route), str(int(status)))
        self._counts[key] = self._counts.get(key, 0) + 1


def _name(route: Route) -> str:
    return f"{route.method} {route.pattern}"
