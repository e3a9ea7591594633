"""Walks through the fields of an ONNX file without loading it: ONNX is protobuf.

Why by hand: the `onnx` package can read this, too, but it is large and optional, and the few fields that serving needs
take some milliseconds, whatever the size of the file. Weights are passed over, not read.

Trap: a file that is no protobuf must not be believed, and must not hang anything. The walk only moves forward, and
stops at the first byte that cannot be right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from mmap import mmap
from typing import NamedTuple

GRAPHS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""The fields of each message that lead to a node or a tensor, by number, and the message that each holds."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MORE = 0x80


class Field(NamedTuple):
    """A field. With a length: its bytes are [start, end). A number: `value` (0 for one of fixed size), and `start` is
    `end`, which lies behind the file's end if that was cut.
    """

    number: int
    value: int
    start: int
    end: int


def messages(data: mmap) -> Iterator[tuple[str, list[Field]]]:
    """Every model, graph, function, node, attribute and tensor of a file, outer ones first, with its fields."""
    pending = [("model", 0, len(data))]
    while pending:
        kind, start, end = pending.pop()
        found = list(fields(data, start, end))
        yield kind, found
        inner = GRAPHS.get(kind, {})
        pending += [(inner[field.number], field.start, field.end) for field in found if field.number in inner]


def fields(data: mmap, at: int, end: int) -> Iterator[Field]:
    """The fields of the message in [at, end); stops at the first byte that is not valid."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind, value, start = tag & 7, 0, at
        if kind == _BYTES:
            length, start = _varint(data, at, end)
            if length > end - start:
                return
            at = start + length
        elif kind == _VARINT:
            value, at = _varint(data, at, end)
            start = at
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
            start = at  # nobody asks for its value, and nothing is within it
        else:
            return
        yield Field(tag >> 3, value, start, at)


def numbers(data: mmap, field: Field) -> list[int]:
    """The numbers of a repeated field: one, or several that are packed."""
    if field.start == field.end:
        return [field.value]
    found, at = [], field.start
    while at < field.end:
        value, at = _varint(data, at, field.end)
        found.append(value)
    return found


def missing_bytes(data: mmap) -> int:
    """How many bytes the last field of a file lacks at least; 0 if it ends where a field ends."""
    at, end = 0, len(data)
    for field in fields(data, 0, end):
        at = field.end
    if at >= end:
        return at - end
    tag, at = _varint(data, at, end)
    length, at = _varint(data, at, end)
    return max(0, length - (end - at)) if tag & 7 == _BYTES else 0


def _varint(data: mmap, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & ~_MORE) << shift
        if byte < _MORE:
            break
    return value, at
