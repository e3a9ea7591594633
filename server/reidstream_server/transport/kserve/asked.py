"""A request for inference in plain values, as both wires say it.

Trap: a tensor is its bytes here, whatever form it came in: little-endian and row-major, and each element of datatype
BYTES after its length in four bytes. A wire that has numbers writes them so; the rules are read from one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

VERSION = "1"
"""Of every model: there is one at a time. What changes with the weights is the space id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTensor:
    """`parameters`: the names of those that came with it."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes | memoryview
    parameters: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOutput:
    """`parameters`: the names of those that came with it."""

    name: str
    parameters: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`inputs` is emptied when they are read, so their bytes are the job's alone. `outputs`: empty for all.
    `timeout_us`: after which the answer is not wanted; None for never. `wants_final`: the client counts on a word that
    an answer is its request's last.
    """

    model: str
    version: str
    request_id: str
    inputs: list[RawTensor]
    outputs: Sequence[RequestedOutput] = field(default_factory=tuple)
    timeout_us: int | None = None
    wants_final: bool = False
