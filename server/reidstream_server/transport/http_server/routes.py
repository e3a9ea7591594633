"""Which handler a request has, by its path and method.

Trap: whoever calls chooses the path, so metrics know a route by its pattern, and everything else as one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from reidstream_server.identity.access import Caller

from .requests import Request
from .responses import Response, refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was let in. `names`: what its path has in the places of the pattern's names."""

    request: Request
    caller: Caller
    names: Mapping[str, str] = field(default_factory=dict)


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`pattern`: a path whose parts in braces stand for anything. `public`: strangers may call it, and it also answers
    while the server stops. `refused`: how its clients are told a refusal, if not as all others.
    """

    method: str
    pattern: str
    handler: Handler
    public: bool = False
    refused: Callable[[Response], Response] | None = None


class Routes:
    """Finds routes. What is asked by HEAD is answered as GET, without its body."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.all = tuple(routes)
        self._by_length: dict[int, list[tuple[Sequence[str], Route]]] = {}
        for route in routes:
            parts = _parts(route.pattern)
            self._by_length.setdefault(len(parts), []).append((parts, route))

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | Response:
        """The route and its names, or what to answer instead."""
        wanted, parts = "GET" if method == "HEAD" else method, _parts(path)
        others = set()
        for pattern, route in self._by_length.get(len(parts), ()):
            names = _matched(pattern, parts)
            if names is None:
                continue
            if route.method == wanted:
                return route, names
            others.add(route.method)
        if not others:
            return refusal(404, "this port has no such path; GET /docs shows those that it has", reason="unknown_path")
        allowed = ", ".join(sorted(others | ({"HEAD"} if "GET" in others else set())))
        return refusal(
            405,
            f"this path takes {allowed}, and no {method}",
            reason="unknown_method",
            headers=[(b"allow", allowed.encode())],
        )


def _parts(path: str) -> Sequence[str]:
    return path.strip("/").split("/")


def _matched(pattern: Sequence[str], parts: Sequence[str]) -> Mapping[str, str] | None:
    names = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            names[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return names
