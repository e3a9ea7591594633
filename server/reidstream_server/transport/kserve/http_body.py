"""Requests and answers on the HTTP wire: JSON, and behind it the bytes of tensors.

The header `Inference-Header-Content-Length` says how long the JSON is, if bytes follow it. Each tensor that has
`binary_data_size` takes its bytes from them, in order.

Traps: numbers in JSON cost a hundred times what their bytes cost, so the JSON has a bound of its own. And what comes
out of it is anything: every value is looked at before it is used, also by numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from reidstream_server.errors import InvalidCall, TooLarge
from reidstream_server.transport.http_server.responses import JSON, Response

from .asked import VERSION, Asked, RawTensor, RequestedOutput, check_counts, checked_id, is_whole, shared_range
from .inference import Inferred
from .tensors import FLOATS, PIXELS

LENGTH_HEADER = "inference-header-content-length"
MAX_JSON_BYTES = 4 * 2**20
"""Of a request: about 400,000 numbers. What is larger goes as bytes."""

MAX_QUESTION_BYTES = 2**16
"""Of what asks for no inference."""

_BINARY = "application/octet-stream"
_BYTES, _WANTED, _ALL_WANTED = "binary_data_size", "binary_data", "binary_data_output"
_OUR_PARAMETERS = frozenset({_BYTES, _WANTED})
_MOST_DIGITS = 12
_MOST_PIXEL = 255


@dataclass(frozen=True, slots=True)
class HttpAsked:
    """`binary`: the answer's tensor goes as bytes."""

    asked: Asked
    binary: bool


def json_length(header: str, whole: int) -> int:
    """Of a body of so many bytes. `header`: as the client says it; "" if JSON is all. Raises InvalidCall, TooLarge."""
    if header and not (header.isascii() and header.isdigit() and len(header) <= _MOST_DIGITS and int(header) <= whole):
        raise InvalidCall(
            f"Inference-Header-Content-Length is {header[:32]!r}; it must be the length of the JSON, and the body has "
            f"{whole} bytes"
        )
    length = int(header) if header else whole
    if length > MAX_JSON_BYTES:
        raise TooLarge(
            f"the JSON of the request has {length} bytes; the limit is {MAX_JSON_BYTES}; send tensors as bytes behind "
            "it (binary_data_size)"
        )
    return length


def parse(body: bytes, length: int, model: str, version: str) -> HttpAsked:
    """A request. `length`: of its JSON. Any thread. Raises InvalidCall."""
    said = _loaded(body[:length])
    request_id, parameters = checked_id(_text(said, "id")), _object(said, "parameters")
    items, wished = _list(said, "inputs"), _list(said, "outputs")
    check_counts(len(items), len(wished))
    inputs = _Inputs(memoryview(body)[length:])
    tensors = [inputs.tensor(_is_object(item, "inputs")) for item in items]
    inputs.check_end()
    outputs = [_is_object(item, "outputs") for item in wished]
    wanted = [_object(output, "parameters") for output in outputs]
    timeout = parameters.get("timeout")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int)):
        raise InvalidCall("parameters.timeout is not a whole number; it must be microseconds")
    return HttpAsked(
        Asked(
            model=model,
            version=version,
            request_id=request_id,
            inputs=tensors,
            outputs=[
                RequestedOutput(
                    name=_text(output, "name"),
                    parameters=set(of) - _OUR_PARAMETERS,
                    shared=shared_range(f"output {_text(output, 'name')[:64]!r}", of),
                )
                for output, of in zip(outputs, wanted, strict=True)
            ],
            timeout_us=None if timeout is None else max(0, timeout),
        ),
        any(of.get(_WANTED, parameters.get(_ALL_WANTED)) is True for of in wanted or [{}]),
    )


def rendered(inferred: Inferred, *, binary: bool) -> Response:
    """The answer."""
    rows = inferred.rows
    output: dict[str, object] = {
        "name": inferred.model.spec.output.name,
        "datatype": "FP32",
        "shape": list(rows.shape),
    }
    if (
        not inferred.placed
    ):  # parameters that say where would stop Triton's client in C++, which looks for a size in them
        output |= {"parameters": {_BYTES: rows.nbytes}} if binary else {"data": rows.ravel()}
    said = {"model_name": inferred.model.name, "model_version": VERSION, "id": inferred.request_id, "outputs": [output]}
    text = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
    if inferred.placed or not binary:
        return Response(content_type=JSON, body=text)
    header = (LENGTH_HEADER.encode(), b"%d" % len(text))
    return Response(content_type=_BINARY, headers=[header], body=text + rows.tobytes())


@dataclass(frozen=True, slots=True)
class HttpRegion:
    """What a client registers."""

    key: str
    offset: int
    size_bytes: int


def region_of(body: bytes) -> HttpRegion:
    """Of a request to register one. Raises InvalidCall."""
    said = _loaded(body[:MAX_JSON_BYTES])
    offset, size = said.get("offset", 0), said.get("byte_size")
    if not is_whole(offset) or not is_whole(size):
        raise InvalidCall("offset and byte_size must be whole numbers; offset may be left out")
    return HttpRegion(_text(said, "key"), offset, size)


def wants_ready(body: bytes) -> bool:
    """Whether a question for models wants those only that are ready. Raises InvalidCall, TooLarge."""
    if len(body) > MAX_QUESTION_BYTES:
        raise TooLarge(f"the question has {len(body)} bytes; the limit is {MAX_QUESTION_BYTES}")
    return bool(body) and _loaded(body).get("ready") is True


class _Inputs:
    """Takes the bytes of tensors one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def tensor(self, item: Mapping[str, object]) -> RawTensor:
        """Raises InvalidCall."""
        name, datatype, parameters = _text(item, "name"), _text(item, "datatype"), _object(item, "parameters")
        shape = _list(item, "shape")
        if not all(isinstance(side, int) and not isinstance(side, bool) for side in shape):
            raise InvalidCall(f"input {name[:64]!r}: shape must be whole numbers")
        size, shared = parameters.get(_BYTES), shared_range(f"input {name[:64]!r}", parameters)
        if shared is not None:
            if size is not None or "data" in item:
                raise InvalidCall(f"input {name[:64]!r} has data beside a place in shared memory; set one of them")
            data: bytes | memoryview = b""
        elif size is None:
            data = _numbers(name, datatype, item.get("data"))
        elif not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(self._data) - self._at:
            left = len(self._data) - self._at
            raise InvalidCall(f"input {name[:64]!r}: binary_data_size is {str(size)[:32]}, and {left} bytes are left")
        else:
            data = self._data[self._at : self._at + size]
            self._at += size
        return RawTensor(
            name=name,
            datatype=datatype,
            shape=[side for side in shape if isinstance(side, int)],
            data=data,
            shared=shared,
        )

    def check_end(self) -> None:
        """Raises InvalidCall."""
        if left := len(self._data) - self._at:
            raise InvalidCall(
                f"{left} bytes follow the tensors of the request; binary_data_size says each one's length"
            )


def _numbers(name: str, datatype: str, data: object) -> bytes:
    """Of a tensor in JSON. Raises InvalidCall."""
    if datatype not in (*FLOATS, PIXELS):
        raise InvalidCall(f"input {name[:64]!r} is {datatype[:16]}, which JSON cannot have; send it as bytes")
    if not isinstance(data, list):
        raise InvalidCall(f"input {name[:64]!r} has no data: it needs a list in data, or binary_data_size and bytes")
    if not _has_numbers_only(data):
        raise InvalidCall(f"input {name[:64]!r}: data has what is not a number")
    try:
        found = np.array(data)
    except ValueError:
        raise InvalidCall(f"input {name[:64]!r}: the lists in data are not of the same length") from None
    if found.size and found.dtype.kind not in "iuf":
        raise InvalidCall(f"input {name[:64]!r}: data has what is not a number")
    if datatype != PIXELS:
        with np.errstate(over="ignore"):  # it becomes infinite
            return found.astype(FLOATS[datatype]).tobytes()
    if found.size and (found.min() < 0 or found.max() > _MOST_PIXEL or (found % 1).any()):
        raise InvalidCall(f"input {name[:64]!r} is UINT8; data must be whole numbers from 0 to {_MOST_PIXEL}")
    return found.astype(np.uint8).tobytes()


def _has_numbers_only(data: list[object]) -> bool:
    """Whether there is nothing else in a list, or in the lists in it. Look before numpy does: of texts it makes an
    array in which each has the room of the longest, and a megabyte of JSON becomes terabytes.
    """
    lists = [data]
    while lists:
        kinds = set(map(type, one := lists.pop()))
        if kinds == {list}:
            lists += one  # type: ignore[arg-type]  # they are lists
        elif not kinds <= {int, float}:
            return False
    return True


def _loaded(text: bytes) -> Mapping[str, object]:
    try:
        return _is_object(orjson.loads(text), "the request")
    except orjson.JSONDecodeError as error:
        raise InvalidCall(
            f"the request is not JSON: {error}; if bytes follow it, Inference-Header-Content-Length says its length"
        ) from None


def _is_object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidCall(f"{what} must be a JSON object")
    return value


def _object(of: Mapping[str, object], name: str) -> Mapping[str, object]:
    return _is_object(of.get(name, {}), name)


def _list(of: Mapping[str, object], name: str) -> Sequence[object]:
    value = of.get(name, [])
    if not isinstance(value, list):
        raise InvalidCall(f"{name} must be a list")
    return value


def _text(of: Mapping[str, object], name: str) -> str:
    value = of.get(name, "")
    if not isinstance(value, str):
        raise InvalidCall(f"{name} must be text")
    return value
