"""A request for inference in plain values, as both wires say it.

Trap: a tensor is its bytes here, whatever form it came in: little-endian and row-major, and each element of datatype
BYTES after its length in four bytes. A wire that has numbers writes them so; the rules are read from one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from reidstream_server.errors import InvalidCall

VERSION = "1"
"""Of every model: there is one at a time. What changes with the weights is the space id."""


MOST_INPUTS = 2
"""A picture and its boxes. What has more is refused before anything of it is read."""

MOST_OUTPUTS = 1

MAX_ID_BYTES = 1024
"""Of a request. It is sent back, and held until its answer is taken, so it must be small."""


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


def check_counts(inputs: int, outputs: int) -> None:
    """Raises InvalidCall for a request with more tensors than any request may have."""
    for what, count, most in (("inputs", inputs, MOST_INPUTS), ("outputs", outputs, MOST_OUTPUTS)):
        if count > most:
            raise InvalidCall(
                f"the request has {count} {what}; the most is {most}: send the network's input, or a picture and its "
                "boxes, and ask for the network's output, or for none"
            )


def checked_id(request_id: str) -> str:
    """Raises InvalidCall for an id that is too long."""
    if len(request_id) > MAX_ID_BYTES or len(request_id.encode()) > MAX_ID_BYTES:
        raise InvalidCall(f"the id of the request has {len(request_id)} characters; the most is {MAX_ID_BYTES} bytes")
    return request_id
