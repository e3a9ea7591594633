"""Finds the files beside an ONNX file that hold its weights.

Why: an exporter may write the weights to a file of their own; PyTorch's newer exporter does so by default. The ONNX
file is then only the structure of the network, the same bytes after every training, so its sha256 would give different
weights one name.

Trap: a file that is not protobuf (onnxruntime's own format) holds its weights itself. Nothing is found in it, and
onnxruntime says whether it is a model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path

from .onnx_fields import fields, messages

_EXTERNAL = 13
_KEY, _VALUE = 1, 2


def external_files(path: Path) -> tuple[Path, ...]:
    """The files with weights of the ONNX file at `path`, sorted by name; empty if it holds all weights itself.

    Takes a few milliseconds, whatever the file's size. The files need not exist. Raises OSError for `path`.
    """
    return tuple(external_sizes(path))


def external_sizes(path: Path) -> Mapping[Path, int]:
    """The same files, each with how many bytes it must have at least, as far as the ONNX file says so."""
    if path.stat().st_size == 0:
        return {}  # nothing to map
    sizes: dict[str, int] = {}
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        for name, size in _places(data):
            sizes[name] = max(size, sizes.get(name, 0))
    return {path.parent / name: sizes[name] for name in sorted(sizes)}


def _places(data: mmap) -> Iterator[tuple[str, int]]:
    """For each tensor that lies elsewhere: the file, and where in it the tensor ends."""
    for kind, found in messages(data):
        if kind != "tensor":
            continue
        place: dict[bytes, bytes] = {}
        for entry in (field for field in found if field.number == _EXTERNAL):
            parts = {field.number: data[field.start : field.end] for field in fields(data, entry.start, entry.end)}
            place[parts.get(_KEY, b"")] = parts.get(_VALUE, b"")
        if b"location" in place:
            yield os.fsdecode(place[b"location"]), _number(place, b"offset") + _number(place, b"length")


def _number(place: Mapping[bytes, bytes], key: bytes) -> int:
    text = place.get(key, b"")
    return int(text) if text.isdigit() else 0
