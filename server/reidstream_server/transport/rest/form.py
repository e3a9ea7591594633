"""A form, read as it comes: files stay as they are, everything else is a short text.

Trap: a form may have millions of parts, or headers without end, and each part costs the event loop something. Files
and fields are counted, the rest is counted in bytes, and the first that is too much ends the reading. Headers are read
in one go: the standard library's parser of them takes 8 ms for 4 kB of quotes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from typing_extensions import override

from reidstream_server.errors import InvalidCall

from .multipart import MalformedForm, Multipart, Parts

MAX_TEXT_BYTES = 2**20
"""All fields together that are no files: names, texts, and headers."""

MAX_FIELDS = 64
"""Parts that are no files; the call knows a handful."""

_MAX_BOUNDARY = 70
_FILE = "file"
_PARAMETER = re.compile(r"\s*([^\s=;\"]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;\"]*))\s*(?:;|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """`files`: the parts named "file", in order. `fields`: every other part by its name, the last of each."""

    files: list[bytes] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


def boundary_of(parameters: str) -> str:
    """Of a Content-Type. Raises InvalidCall."""
    boundary = _parameter("boundary", parameters)
    if not boundary or not boundary.isascii() or len(boundary) > _MAX_BOUNDARY:
        raise InvalidCall(
            f"the Content-Type of the form names no boundary of 1 to {_MAX_BOUNDARY} ASCII characters; let your HTTP "
            "library make the header"
        )
    return boundary


async def read_form(pieces: AsyncIterator[bytes], boundary: str, *, max_files: int) -> Form:
    """Read all of it. Raises InvalidCall, and what `pieces` raises."""
    form = _Reader(max_files)
    parser = Multipart(boundary.encode(), form)
    try:
        async for piece in pieces:
            parser.write(piece)
    except MalformedForm as error:
        raise InvalidCall(f"the body is no multipart form as its Content-Type says: {error}") from None
    if not parser.whole:
        raise InvalidCall("the form ends too early: its last boundary is missing; send all of it")
    return form.form


class _Reader(Parts):
    """Collects the parts of a form, within its bounds."""

    def __init__(self, max_files: int) -> None:
        self.form = Form()
        self._max_files = max_files
        self._text_bytes = self._fields = 0
        self._name = ""
        self._pieces: list[bytes] = []

    @override
    def begins(self, headers: Mapping[str, str], size: int) -> None:
        self._count(size)
        self._name, self._pieces = _name_in(headers), []
        if self._name != _FILE:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise InvalidCall(f"the form has more than {MAX_FIELDS} fields; a picture goes into a field named file")
        elif len(self.form.files) >= self._max_files:
            raise InvalidCall(
                f"the form has more than {self._max_files} files; that is the limit (max_boxes_per_frame)"
            )

    @override
    def content(self, piece: bytes) -> None:
        if self._name != _FILE:
            self._count(len(piece))
        self._pieces.append(piece)

    @override
    def ends(self) -> None:
        content, self._pieces = b"".join(self._pieces), []
        if self._name == _FILE:
            self.form.files.append(content)
            return
        try:
            self.form.fields[self._name] = content.decode()
        except UnicodeDecodeError:
            raise InvalidCall(
                f"the form's field {self._name[:64]!r} is not text in UTF-8; a picture goes into a field named file"
            ) from None

    def _count(self, size: int) -> None:
        self._text_bytes += size
        if self._text_bytes > MAX_TEXT_BYTES:
            raise InvalidCall(
                f"the form has more than {MAX_TEXT_BYTES} bytes beside its files; a picture goes into a field named "
                "file"
            )


def _name_in(headers: Mapping[str, str]) -> str:
    """The name that a part's headers give it. Raises InvalidCall."""
    _, _, parameters = headers.get("content-disposition", "").partition(";")
    name = _parameter("name", parameters)
    if not name:
        raise InvalidCall(
            'a part of the form has no name; it needs the header Content-Disposition: form-data; name="file"'
        )
    return name


def _parameter(wanted: str, parameters: str) -> str:
    """The value of a parameter of a header; "" if it is not there, or if what comes before it cannot be read."""
    at = 0
    while (found := _PARAMETER.match(parameters, at)) is not None:
        name, quoted, plain = found.groups()
        if name.lower() == wanted:
            return plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()
    return ""
