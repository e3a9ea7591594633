"""Forms, cut into their parts: the same parts wherever the pieces begin, and no part that is not there."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from reidstream_server.transport.rest.multipart import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MalformedForm,
    Multipart,
    Parts,
)

BOUNDARY = b"XyX"
ABOUT = b'Content-Disposition: form-data; name="a"'


class Collected(Parts):
    """Every part: its headers and its content."""

    def __init__(self) -> None:
        self.found: list[tuple[dict[str, str], bytes]] = []
        self.sizes: list[int] = []
        self.ended = 0

    def begins(self, headers: Mapping[str, str], size: int) -> None:
        assert self.ended == len(self.found)
        self.found.append((dict(headers), b""))
        self.sizes.append(size)

    def content(self, piece: bytes) -> None:
        headers, before = self.found[-1]
        assert piece
        self.found[-1] = (headers, before + piece)

    def ends(self) -> None:
        self.ended += 1


def part(content: bytes, *headers: bytes) -> bytes:
    return b"--XyX\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + content + b"\r\n"


def read(*pieces: bytes) -> tuple[Collected, Multipart]:
    parts = Collected()
    form = Multipart(BOUNDARY, parts)
    for piece in pieces:
        form.write(piece)
    return parts, form


def pieces_of(data: bytes, size: int) -> Sequence[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


CONTENTS = (
    b"picture",
    b"",
    b"\r\n",
    b"\r",
    b"--XyX",
    b"\r\n--Xy",
    b"\r\n--XyXX\r\n--Xy-\r\n--XyX\r",
    b"\r\n--XyX-\r\n--XyX -- \r\n",
    b"\r\r\n\r\n--\r\n--Xy\r\n",
    bytes(1000),
)


@pytest.mark.parametrize("content", CONTENTS)
def test_a_part_is_the_same_wherever_the_pieces_begin(content: bytes) -> None:
    """Also where it holds what looks like a boundary, and each piece is one byte."""
    data = part(content, ABOUT, b"X:  y\t") + part(b"other", ABOUT) + b"--XyX--\r\n"
    for size in (len(data), 1, 2, 3, 7, 64):
        parts, form = read(*pieces_of(data, size))
        headers = {"content-disposition": 'form-data; name="a"'}
        assert parts.found == [({**headers, "x": "y"}, content), (headers, b"other")], size
        assert (form.whole, parts.ended) == (True, 2)
        assert parts.sizes == [len(ABOUT) + len(b"\r\nX:  y\t"), len(ABOUT)]


def test_any_content_comes_back_in_any_pieces() -> None:
    """Drawn of the bytes that boundaries are made of."""
    rng = random.Random(0)  # noqa: S311 - so that a failure can be run again
    for _ in range(2000):
        contents = [bytes(rng.choices(b"\r\n-XyX", k=rng.randrange(12))) for _ in range(rng.randrange(3))]
        if any(b"\r\n--XyX\r\n" in b"%b\r\n" % one or b"\r\n--XyX--" in one for one in contents):
            continue  # it does end there
        data = b"".join(part(one, ABOUT) for one in contents) + b"--XyX--"
        at = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(4)))
        pieces = [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]
        parts, form = read(*pieces)
        assert [content for _, content in parts.found] == contents, pieces
        assert (form.whole, parts.ended) == (True, len(contents))


def test_a_form_may_be_empty_and_have_empty_lines_before_it_and_anything_behind_it() -> None:
    """What is behind the last boundary is nobody's."""
    for data in (b"--XyX--", b"\r\n\r\n--XyX--", b"--XyX--\r\nmore" + part(b"x", ABOUT)):
        for size in (len(data), 1):
            parts, form = read(*pieces_of(data, size))
            assert (parts.found, form.whole) == ([], True)


def test_a_part_may_have_no_headers() -> None:
    """Whoever takes the parts says what it needs."""
    parts, form = read(part(b"x") + b"--XyX--")
    assert (parts.found, form.whole) == ([({}, b"x")], True)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b"x--XyX\r\n",
        b"--Xy\r\n",
        b"--XyXX\r\n",
        b"--XyX \r\n",
        part(b"", b"no colon"),
        part(b"", b": no name"),
        part(b"", b" folded: x"),
        part(b"", b"a b: x"),
        part(b"", *[b"X: y"] * (MAX_HEADERS + 1)),
        part(b"", b"X: " + b"y" * MAX_HEADER_BYTES),
        b"--XyX\r\nX: " + b"y" * MAX_HEADER_BYTES,
        b"--XyX\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1),
    ],
)
def test_what_is_no_form_is_refused(data: bytes, size: int) -> None:
    """As soon as that is known."""
    with pytest.raises(MalformedForm):
        read(*pieces_of(data, size))


@pytest.mark.parametrize("end", range(1, 60))
def test_a_form_that_ends_too_early_is_not_whole(end: int) -> None:
    """Wherever that is; and nothing of a part is told that did not come."""
    data = part(b"picture", ABOUT)
    parts, form = read(data[: min(end, len(data))])
    assert not form.whole
    assert parts.ended == 0
    assert all(b"picture".startswith(content) for _, content in parts.found)
