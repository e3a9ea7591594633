"""How much of a message is structure, found by walking over its bytes before it is parsed.

Structure is everything but the contents of `bytes` fields, which are pixels, and of packed floats, which are copied as
bytes are. Parsing copies pixels at the speed of
memory, and takes a step for everything else: 64 MiB of empty boxes hold the event loop for seconds. So structure has a
bound, and pixels have not.

Why a walk costs nothing: it ends as soon as what it has not seen yet cannot pass the bound. A message below the bound
is never walked. Of a frame it takes four steps, since the picture comes first; of a thousand ready crops, four each.

Traps: the bound is of bytes, since every field has at least two; how many fields there are does not matter. A field
that the contract does not know is no structure if it has a length, since parsers keep it as it is: later versions may
send pixels in it. The walk has a bound, too: a step for each 16 bytes of the bound on structure. What is broken here is
broken for every parser, but not the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

BYTES_A_STEP = 16

_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)
_MORE = 0x80
_MOST_VARINT_BYTES = 10
_FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
_SHORT = 128
"""A message without pixels that is shorter than this counts whole, unseen."""


class Verdict(Enum):
    """FITS: it may be parsed. TOO_MUCH: it has more structure than allowed. BROKEN: no parser would take it."""

    FITS = "fits"
    TOO_MUCH = "too much"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The fields of a message, by number. Pixels are left out, as unknown fields are. `plain`: no pixels and no
    lists of messages lie in it, however deep.
    """

    fields: dict[int, Shape] = field(default_factory=dict)
    plain: bool = True


_SCALAR = Shape()
"""Of a field that is structure and no message: numbers, perhaps packed, and text."""
_UNKNOWN = Shape()
"""Of a group: the contract has none."""


@cache
def shape_of(message: Descriptor) -> Shape:
    """The shape of a type, which may hold itself. Kept: there are as many types as methods."""
    return _shape(message, {})


def _shape(message: Descriptor, known: dict[str, Shape]) -> Shape:
    found = known.get(message.full_name)
    if found is not None:
        return found
    shape = known[message.full_name] = Shape(plain=_is_plain(message, frozenset()))
    for one in message.fields:
        if one.message_type is not None:
            shape.fields[one.number] = _shape(one.message_type, known)
        elif not _is_pixels(one):
            shape.fields[one.number] = _SCALAR
    return shape


def _is_plain(message: Descriptor, above: frozenset[str]) -> bool:
    if message.full_name in above:
        return False
    above |= {message.full_name}
    for one in message.fields:
        if _is_pixels(one):
            return False
        if one.message_type is not None and (one.is_repeated or not _is_plain(one.message_type, above)):
            return False
    return True


def _is_pixels(one: FieldDescriptor) -> bool:
    """Whether a parser copies what it holds in one piece. Floats that come one by one count as structure all the same:
    only what has a length is looked up.
    """
    return one.type == FieldDescriptor.TYPE_BYTES or (one.is_repeated and one.type in _FLOATS)


def judge(data: bytes, shape: Shape, most: int) -> Verdict:
    """Whether a message has at most `most` bytes of structure. Takes under 5 microseconds for a usual frame."""
    if len(data) <= most:
        return Verdict.FITS
    try:
        return _walk(data, shape, most)
    except IndexError:
        return Verdict.BROKEN


def _walk(data: bytes, shape: Shape, most: int) -> Verdict:  # noqa: C901, PLR0911, PLR0912 - a call costs as a step
    """Raises IndexError where the data ends within a number."""
    at, end, pixels = 0, len(data), 0
    enough = end - most
    fields: Mapping[int, Shape] = shape.fields
    outer: list[tuple[int, Mapping[int, Shape]]] = []
    for _ in range(most // BYTES_A_STEP):
        while at >= end:
            if at > end:
                return Verdict.BROKEN
            if not outer:
                return Verdict.FITS if at - pixels <= most else Verdict.TOO_MUCH
            end, fields = outer.pop()
        tag = data[at]
        if tag < _MORE:
            at += 1
        else:
            tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _LENGTH:
            length = data[at]
            if length < _MORE:
                at += 1
            else:
                length, at = _varint(data, at)
            inner = fields.get(tag >> 3)
            if inner is None:
                at += length
                pixels += length
                if pixels >= enough:
                    return Verdict.FITS if at <= end else Verdict.BROKEN
            elif inner is _SCALAR or (length < _SHORT and inner.plain):
                at += length
                if at - pixels > most:
                    return Verdict.TOO_MUCH
            else:
                outer.append((end, fields))
                if at + length > end:
                    return Verdict.BROKEN
                end, fields = at + length, inner.fields
        elif kind == _VARINT:
            if data[at] < _MORE:
                at += 1
            else:
                _, at = _varint(data, at)
        elif kind == _FIXED32:
            at += 4
        elif kind == _FIXED64:
            at += 8
        elif kind == _GROUP:
            outer.append((end, fields))
            fields = _UNKNOWN.fields
        elif kind == _GROUP_END and fields is _UNKNOWN.fields:
            end, fields = outer.pop()
        else:
            return Verdict.BROKEN
    return Verdict.TOO_MUCH


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of several bytes, and where it ends. Raises IndexError if it does not."""
    value, shift = data[at] & 0x7F, 7
    for place in range(at + 1, at + _MOST_VARINT_BYTES):
        byte = data[place]
        if byte < _MORE:
            return value | byte << shift, place + 1
        value |= (byte & 0x7F) << shift
        shift += 7
    raise IndexError
