"""multipart/form-data (RFC 7578), cut into its parts as it comes.

Why not a library: those that read it as it comes look at each byte of a header in Python, and copy each file three
times. Here what is between two boundaries is found by one search, and a file that came in one piece is cut out of it.

Traps: a boundary may lie in two pieces, so what may be the beginning of one is kept until more comes. And what looks
like a boundary and goes on otherwise is a part's content.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

MAX_HEADERS = 8
"""Of a part."""

MAX_HEADER_BYTES = 4096
"""Of each of them."""

_LINE, _DASHES = b"\r\n", b"--"
_BEGINNINGS = (b"", b"\r", b"-")
"""Of what ends a boundary."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class MalformedForm(Exception):
    """It is none. The message says what is wrong."""


class Parts(Protocol):
    """Who takes the parts, in their order. What these raise ends the reading."""

    __slots__ = ()

    @abstractmethod
    def begins(self, headers: Mapping[str, str], size: int) -> None:
        """A part. `headers`: names in lower case. `size`: of all of them, in bytes."""
        ...

    @abstractmethod
    def content(self, piece: bytes) -> None:
        """More of it."""
        ...

    @abstractmethod
    def ends(self) -> None:
        """That was all of it."""
        ...


class _At(Enum):
    START = auto()
    HEADERS = auto()
    CONTENT = auto()
    END = auto()


_MORE = -1
"""More must come."""


class Multipart:
    """Tells `parts` what is in a form with this boundary."""

    def __init__(self, boundary: bytes, parts: Parts) -> None:
        self._first = _DASHES + boundary
        self._next = _LINE + self._first
        self._parts = parts
        self._at = _At.START
        self._rest = b""  # of what came, what cannot be understood yet

    @property
    def whole(self) -> bool:
        """Whether the last boundary has come. What follows it is nobody's."""
        return self._at is _At.END

    def write(self, piece: bytes) -> None:
        """More of the form. Raises MalformedForm, and what `parts` raises."""
        data, self._rest = self._rest + piece if self._rest else piece, b""
        at = 0
        while at != _MORE and not self.whole:
            match self._at:
                case _At.START:
                    at = self._start(data)
                case _At.HEADERS:
                    at = self._headers(data, at)
                case _:
                    at = self._content(data, at)

    def _start(self, data: bytes) -> int:
        """The first boundary. Empty lines may come before it."""
        begun = data.lstrip(_LINE)
        if not (begun.startswith(self._first) or self._first.startswith(begun)):
            raise MalformedForm("it does not begin with the boundary that its Content-Type names")
        if len(begun) < len(self._first) + len(_LINE):
            self._rest = begun
            return _MORE
        at = len(data) - len(begun) + len(self._first)
        if not self._passed_boundary(data, at):
            raise MalformedForm("its first line goes on behind the boundary")
        return at + len(_LINE)

    def _passed_boundary(self, data: bytes, at: int) -> bool:
        """Whether a boundary ends here. What it says of what follows is known then."""
        if data.startswith(_LINE, at):
            self._at = _At.HEADERS
        elif data.startswith(_DASHES, at):
            self._at = _At.END
        else:
            return False
        return True

    def _headers(self, data: bytes, at: int) -> int:
        """All headers of a part, and the empty line behind them."""
        if data.startswith(_LINE, at):
            block, behind = b"", at + len(_LINE)
        elif (end := data.find(_LINE + _LINE, at)) >= 0:
            block, behind = data[at:end], end + 2 * len(_LINE)
        else:
            self._rest = data[at:]
            _check(self._rest.split(_LINE)[:-1], longest=len(self._rest) - self._rest.rfind(_LINE))
            return _MORE
        lines = block.split(_LINE) if block else []
        _check(lines, longest=max(map(len, lines), default=0))
        self._parts.begins(dict(map(_header, lines)), len(block))
        self._at = _At.CONTENT
        return behind

    def _content(self, data: bytes, at: int) -> int:
        """A part's content, up to the next boundary."""
        found = at - 1
        while (found := data.find(self._next, found + 1)) >= 0:
            behind = found + len(self._next)
            if self._passed_boundary(data, behind):
                self._take(data[at:found])
                self._parts.ends()
                return behind + len(_LINE)
            if len(data) - behind < len(_LINE) and data[behind:] in _BEGINNINGS:
                break
        else:
            found = self._beginning(data, at)
        self._take(data[at:found])
        self._rest = data[found:]
        return _MORE

    def _beginning(self, data: bytes, at: int) -> int:
        """Where a boundary may begin whose end has not come; the end of the data if it does nowhere."""
        found = data.find(_LINE[:1], max(at, len(data) - len(self._next) + 1))
        while found >= 0 and not self._next.startswith(data[found:]):
            found = data.find(_LINE[:1], found + 1)
        return len(data) if found < 0 else found

    def _take(self, piece: bytes) -> None:
        if piece:
            self._parts.content(piece)


def _check(lines: Sequence[bytes], *, longest: int) -> None:
    if len(lines) > MAX_HEADERS or longest > MAX_HEADER_BYTES:
        raise MalformedForm(f"a part has more than {MAX_HEADERS} headers, or one of more than {MAX_HEADER_BYTES} bytes")


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or _TOKEN.fullmatch(name) is None:
        raise MalformedForm("a line of a part's headers is none")
    return name.decode("ascii").lower(), value.strip(b" \t").decode(errors="replace")
