"""A request for inference in plain values, as both wires say it.

Trap: a tensor is its bytes here, whatever form it came in: little-endian and row-major, and each element of datatype
BYTES after its length in four bytes. A wire that has numbers writes them so; the rules are read from one form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeGuard

from reidstream_server.errors import InvalidCall

VERSION = "1"
"""Of every model: there is one at a time. What changes with the weights is the space id."""


MOST_INPUTS = 2
"""A picture and its boxes. What has more is refused before anything of it is read."""

MOST_OUTPUTS = 1

MAX_ID_BYTES = 1024
"""Of a request. It is sent back, and held until its answer is taken, so it must be small."""

REGION, SIZE, OFFSET = "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"
"""The parameters of a tensor that lies in shared memory, by the protocol's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRange:
    """Where a tensor lies that is not in the message: `length` bytes of a region. Nothing of it is checked."""

    region: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTensor:
    """`data`: empty if the tensor lies in `shared` memory."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes | memoryview
    shared: SharedRange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOutput:
    """`parameters`: the names of those that came with it. `shared`: where it is to be written."""

    name: str
    parameters: AbstractSet[str] = frozenset()
    shared: SharedRange | None = None


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


def shared_range(what: str, parameters: Mapping[str, object]) -> SharedRange | None:
    """Where a tensor lies, by its parameters; None if it is in the message. `what`: for people. Raises InvalidCall."""
    given = parameters.keys() & {REGION, SIZE, OFFSET}
    if not given:
        return None
    region, size, offset = parameters.get(REGION), parameters.get(SIZE), parameters.get(OFFSET, 0)
    if not isinstance(region, str) or not is_whole(size) or not is_whole(offset):
        raise InvalidCall(
            f"{what} lies in shared memory, so it needs {REGION}, a name, and {SIZE}, a whole number; {OFFSET} is a "
            "whole number, or left out"
        )
    return SharedRange(region=region, offset=int(offset), length=int(size))


def is_whole(value: object) -> TypeGuard[int]:
    """A number of JSON, or a parameter, that has no part behind the point."""
    return isinstance(value, int) and not isinstance(value, bool)


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
