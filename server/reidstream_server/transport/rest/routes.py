"""What the HTTP port has for people with pictures: the call, its descriptions, and the probes.

Why probes here too: in the images this is the port that load balancers see. The answers are the operators' port's.
Trap: the page must work without the internet and under a strict policy, so all it needs is served here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from importlib.resources import files

from reidstream_server.transport.http_server.responses import Response
from reidstream_server.transport.http_server.routes import Call, Handler, Route
from reidstream_server.transport.operators.health import Look, Verdict

from .embed import EmbedCall
from .openapi import description

_POLICY = ((b"content-security-policy", b"default-src 'self'; style-src 'self' 'unsafe-inline'"),)


def rest_routes(embed: EmbedCall, look: Callable[[], Look], version: str) -> Sequence[Route]:
    """`look`: how the server is, now."""
    api = Response(body=json.dumps(description(version)).encode())
    page, script = _file("page.html", "text/html; charset=utf-8"), _file("page.js", "text/javascript; charset=utf-8")
    return (
        Route(method="POST", pattern="/embed", handler=embed),
        Route(method="GET", pattern="/docs", handler=_always(page), public=True),
        Route(method="GET", pattern="/docs.js", handler=_always(script), public=True),
        Route(method="GET", pattern="/openapi.json", handler=_always(api), public=True),
        Route(method="GET", pattern="/healthz", handler=_probe(lambda: look().alive), public=True),
        Route(method="GET", pattern="/readyz", handler=_probe(lambda: look().ready), public=True),
    )


def _always(response: Response) -> Handler:
    async def handler(call: Call) -> Response:
        del call
        return response

    return handler


def _probe(verdict: Callable[[], Verdict]) -> Handler:
    async def handler(call: Call) -> Response:
        del call
        found = verdict()
        status = HTTPStatus.OK if found.good else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(status=status, content_type="text/plain; charset=utf-8", body=f"{found.why}\n".encode())

    return handler


def _file(name: str, content_type: str) -> Response:
    return Response(content_type=content_type, headers=_POLICY, body=(files(__package__) / name).read_bytes())
