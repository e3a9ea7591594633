"""Finds the files beside an ONNX file that hold its weights.

Why: an exporter may write the weights to a file of their own; PyTorch's newer exporter does so by default. The ONNX
file is then only the structure of the network, the same bytes after every training, so its sha256 would give different
weights one name. The `onnx` package can read this, too, but these few fields of onnx.proto are all that serving needs.

Trap: a file that is not protobuf (onnxruntime's own format) holds its weights itself. Nothing is found in it, and
onnxruntime says whether it is a model. The parser only moves forward, so it also ends on garbage.
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
"""The fields of each message that lead to a tensor, by number, and the message that each holds."""

_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MORE = 0x80


def external_files(path: Path) -> tuple[Path, ...]:
    """The files with weights of the ONNX file at `path`, sorted by name; empty if it holds all weights itself.

    Takes a few milliseconds, whatever the file's size. The files need not exist. Raises OSError for `path`.
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
    """Number, start and end of each field that has a length; stops at the first byte that is not valid."""
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
