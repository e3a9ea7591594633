"""One request and one answer of HTTP/1.1, within bounds.

Why no framework: GET and HEAD of three small pages are all that is asked here, and whatever can reach the port may ask.
So a request has a largest size, a caller has its time (see `port`), and a connection has one request. Trap: nothing
that came is echoed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus

MAX_HEAD_BYTES = 8192
TEXT = (("Content-Type", "text/plain; charset=utf-8"),)
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request without a body. `headers`: by their names in lower case."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """A header's value by its name in lower case; "" if it did not come."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is answered."""

    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = TEXT
    body: bytes = b""


class BadRequest(Exception):
    """What came is no request that is answered here. `page`: the answer."""

    def __init__(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        super().__init__(status)
        self.page = Page(status=status, headers=(*TEXT, *headers), body=f"{status.phrase}\n".encode())


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one; None if the caller leaves without having asked. Raises BadRequest, OSError.

    `reader`: with the limit MAX_HEAD_BYTES.
    """
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    first, *rest = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/") or not words[2].startswith("HTTP/1."):  # noqa: PLR2004
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    if words[0] not in _METHODS:
        raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", ", ".join(_METHODS)))
    path, _, query = words[1].partition("?")
    named = (line.partition(":") for line in rest)
    return Request(
        method=words[0],
        path=path,
        query=query,
        headers={name.lower(): value.strip() for name, _, value in named if name},
    )


def rendered(page: Page, *, with_body: bool = True) -> bytes:
    """An answer's bytes; an answer to HEAD says how long the body would be."""
    headers = (*page.headers, ("Content-Length", str(len(page.body))), ("Connection", "close"))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    start = f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\n{head}\r\n".encode("latin-1")
    return start + page.body if with_body else start
