"""Which other files a model's weights lie in.

Why: an exporter may leave the weights in a file beside the ONNX file; PyTorch's newer one does so unless it is told not
to. What remains is the plan of the network, the same bytes after every training, and its sha256 would give different
weights one name. The `onnx` package could tell, but serving needs no more of the format than these few fields of
onnx.proto.

Trap: what is no protobuf (onnxruntime's own format) has its weights in itself; nothing is found there, and whether it
is a model at all is onnxruntime's to say. Steps only go forward, so garbage ends, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path

_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external_data"},
}
"""Of each message, the fields by number that lead to a tensor, and the message that they hold."""

_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MORE = 0x80


def external_files(path: Path) -> tuple[Path, ...]:
    """The files with weights of the ONNX file at `path`, in the order of their names; none, if it has them all itself.

    Takes a few milliseconds, whatever its size. The files need not be there. Raises OSError for `path`.
    """
    if path.stat().st_size == 0:
        return ()  # nothing to map
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        names = sorted(set(_locations(data)))
    return tuple(path.parent / name for name in names)


def _locations(data: mmap) -> Iterator[str]:
    pending = [("model", 0, len(data))]
    while pending:
        message, at, end = pending.pop()
        if message == "external_data":
            entry = {number: data[start:stop] for number, start, stop in _fields(data, at, end)}
            if entry.get(_KEY) == b"location" and _VALUE in entry:
                yield os.fsdecode(entry[_VALUE])
            continue
        inner = _MESSAGES[message]
        pending += [(inner[number], start, stop) for number, start, stop in _fields(data, at, end) if number in inner]


def _fields(data: mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field that has a length; up to the first byte that makes no sense."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _varint(data, at, end)
            if length > end - at:
                return
            yield tag >> 3, at, at + length
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        else:
            return


def _varint(data: mmap, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where it ends; 64 bits at most."""
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
