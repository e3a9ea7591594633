"""What the HTTP port answers. A refusal is problem+json (RFC 9457), with what to do next in `detail`.

Trap: a handler's text may quote its client, so it is never a header.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import CallRefused, Refusal
from reidstream_server.transport.status import CALLS, FRAMES

JSON = "application/json"
PROBLEM = "application/problem+json"

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """`content_type` may be empty where there is no body. `headers`: more of them, names in lower case."""

    status: int = HTTPStatus.OK
    content_type: str = JSON
    headers: Sequence[Header] = ()
    body: bytes = b""

    def head(self, *, keep_alive: bool) -> bytes:
        """As it is sent before the body."""
        kind = b"content-type: %b\r\n" % self.content_type.encode() if self.content_type else b""
        more = b"".join([b"%b: %b\r\n" % header for header in self.headers])
        ends = b"" if keep_alive else b"connection: close\r\n"
        return b"%bdate: %b\r\n%bcontent-length: %d\r\n%b%b\r\n" % (
            _first_line(self.status),
            _date(int(time.time())),
            kind,
            len(self.body),
            more,
            ends,
        )


def refusal(
    status: int,
    detail: str,
    *,
    reason: str = "",
    retry_after_ms: int | None = None,
    headers: Sequence[Header] = (),
) -> Response:
    """A problem. `reason`: the word for programs. `retry_after_ms`: when to come back, if that is known."""
    problem: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status)}
    problem |= {"detail": detail} | ({"reason": reason} if reason else {})
    more = list(headers)
    if retry_after_ms is not None:
        problem["retry_after_ms"] = retry_after_ms
        more.append((b"retry-after", b"%d" % -(-retry_after_ms // 1000)))  # whole seconds; the body has it exactly
    return Response(status=status, content_type=PROBLEM, headers=more, body=json.dumps(problem).encode())


def call_refused(error: CallRefused) -> Response:
    """Of a call that may not go on."""
    status = CALLS[error.refusal].http
    challenge = [(b"www-authenticate", b"Bearer")] if error.refusal is Refusal.UNAUTHENTICATED else []
    return refusal(status, str(error), reason=error.refusal.value, headers=challenge)


def frame_refused(fault: FrameFault) -> Response:
    """Of a frame that has no vectors."""
    retry = fault.retry_after_ms or None
    return refusal(FRAMES[fault.reason].http, fault.message, reason=fault.reason.value, retry_after_ms=retry)


@lru_cache
def _first_line(status: int) -> bytes:
    return f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}\r\n".encode()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
