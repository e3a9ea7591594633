"""What hostile clients of the open inference protocol say: right requests, wrong in a field, a byte or a length.

A seed makes one request, on either wire. Trap: most of what is random is refused at once, so most requests are right
but for one thing or two; and the model is small, so that a right one is short.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_engines.protocol import Crop, TensorCrop
from reidstream_proto.kserve import inference_pb2 as pb
from tests.support.harness import JPEG, encode, picture
from tests.support.hostile_http import HEADERS, METHODS, HostileScript, chunked, cut, damaged, leaving_of
from tests.support.kserve import Tensor, request

MODEL = "fake"
SERVICE = "/inference.GRPCInferenceService/"
WIDTH, HEIGHT, DIM = 4, 8, 4
SMALL = encode(picture(32, 48), ".png")
POISON = 77.0
LENGTH = "Inference-Header-Content-Length"

QUESTIONS: Sequence[tuple[str, Message]] = (
    ("ServerLive", pb.ServerLiveRequest()),
    ("ServerReady", pb.ServerReadyRequest()),
    ("ModelReady", pb.ModelReadyRequest(name=MODEL, version="1")),
    ("ServerMetadata", pb.ServerMetadataRequest()),
    ("ModelMetadata", pb.ModelMetadataRequest(name=MODEL)),
    ("ModelConfig", pb.ModelConfigRequest(name=MODEL)),
    ("ModelStatistics", pb.ModelStatisticsRequest()),
    ("RepositoryIndex", pb.RepositoryIndexRequest(ready=True)),
    ("RepositoryModelLoad", pb.RepositoryIndexRequest()),
    ("SystemSharedMemoryRegister", pb.RepositoryIndexRequest()),
    ("TraceSetting", pb.RepositoryIndexRequest()),
)
"""Every method that asks for no inference; of those that are not offered, some."""

_LONGEST = 2**18
_INTEGERS = (0, 1, -1, 2, 3, 4, 8, 255, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))
_NUMBERS = (0.0, -1.0, 1e30, float("inf"), float("nan"), POISON)
_TEXTS = ("", "x", MODEL, "input", "image", "boxes", "embedding", "1", "-1", "a\x00b", "é" * 200, "%s{}", "x" * 3000)
_DATATYPES = ("FP32", "FP16", "UINT8", "BYTES", "FP64", "INT8", "BOOL", "", "fp32", "BF16")
_PATHS = (
    *[f"/v2/models/{MODEL}/infer"] * 8,
    f"/v2/models/{MODEL}/versions/1/infer",
    f"/v2/models/{MODEL}",
    f"/v2/models/{MODEL}/config",
    f"/v2/models/{MODEL}/stats",
    f"/v2/models/{MODEL}/ready",
    "/v2/models/stats",
    "/v2/models//infer",
    "/v2/models/nobody/infer",
    "/v2/repository/index",
    "/v2/health/ready",
    "/v2/systemsharedmemory/region/x/register",
    "/v2",
)
_LENGTHS = ("", "0", "-1", "1", "99999999999", "9" * 40, "0x10", "1e3", " 5 ", "²")


def is_poison(crop: Crop) -> bool:
    """Some crops, none of a neighbour's."""
    return isinstance(crop, TensorCrop) and float(crop.tensor[0, 0, 0]) == POISON


def small_engine() -> FakeEngine:
    """Of crops of 4 x 8 pixels."""
    spec = fake_spec(MODEL, dim=DIM)
    small = replace(spec, input=replace(spec.input, width=WIDTH, height=HEIGHT))
    return FakeEngine(small, max_batch=8, script=FakeScript(poison=is_poison))


def right_tensors(rng: random.Random) -> list[Tensor]:
    """Of any kind that there is."""
    count = rng.choice((1, 1, 2, 3, 9))
    numbers = np.random.default_rng(rng.randrange(1000))
    floats = numbers.normal(size=(count, 3, HEIGHT, WIDTH))
    if rng.random() < 0.03:
        floats[0, 0, 0, 0] = POISON
    match rng.randrange(6):
        case 0 | 1:
            return [Tensor.of("input", floats.astype("<f4"))]
        case 2:
            return [Tensor.of("input", floats.astype("<f2"))]
        case 3:
            return [Tensor.of("input", numbers.integers(0, 256, (count, 3, HEIGHT, WIDTH), np.uint8))]
        case 4:
            return [Tensor.of("image", numbers.integers(0, 256, (count, 9, 7, 3), np.uint8))]
        case _:
            boxes = Tensor.of("boxes", numbers.uniform(-9, 60, (count, 4)).astype("<f4"))
            return [Tensor.picture(rng.choice((JPEG, SMALL))), boxes]


def right_request(rng: random.Random) -> pb.ModelInferRequest:
    """On the gRPC wire, with bytes or with numbers."""
    tensors = right_tensors(rng)
    message = request(*tensors, model=rng.choice(("", MODEL, MODEL)), id=str(rng.randrange(100)))
    if rng.random() < 0.2 and tensors[0].datatype == "FP32":
        del message.raw_input_contents[:]
        message.inputs[0].contents.fp32_contents.extend(np.frombuffer(tensors[0].data, "<f4").tolist())
    if rng.random() < 0.2:
        message.parameters["timeout"].int64_param = rng.choice((1, 1000, 10**9))
    return message


def hostile_request(rng: random.Random) -> bytes:
    """A message of ModelInfer or of its stream. A longer one than gRPC takes would end its stream."""
    message = right_request(rng)
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 4))):
        before = pb.ModelInferRequest()
        before.CopyFrom(message)
        spoil(rng, message)
        if message.ByteSize() > _LONGEST:
            message = before
    data = message.SerializeToString()
    return _wrong_bytes(rng, data) if rng.random() < 0.25 else data


def hostile_question(rng: random.Random) -> tuple[str, bytes]:
    """A method, and its message."""
    method, asked = rng.choice(QUESTIONS)
    message = type(asked)()
    message.CopyFrom(asked)
    if message.DESCRIPTOR.fields and rng.random() < 0.6:
        spoil(rng, message)
    data = message.SerializeToString()
    return method, _wrong_bytes(rng, data) if rng.random() < 0.4 else data


def spoil(rng: random.Random, message: Message) -> None:
    """Give one field, at any depth, a value of its type that nobody in their senses would send."""
    found = _somewhere(rng, message)
    if found is None:
        return
    here, field = found
    if not field.is_repeated:
        setattr(here, field.name, _value(rng, field))
        return
    values = getattr(here, field.name)
    match rng.randrange(4):
        case 0 if values:
            del values[rng.randrange(len(values))]
        case 1 if values:
            values[rng.randrange(len(values))] = _value(rng, field)
        case _:
            values.extend([_value(rng, field) for _ in range(rng.choice((1, 1, 2, 300)))])


def _somewhere(rng: random.Random, here: Message) -> tuple[Message, FieldDescriptor] | None:
    """A field that is no message, and the message that it is in; None if one was changed on the way there."""
    while here.DESCRIPTOR.fields:
        field = rng.choice(here.DESCRIPTOR.fields)
        if field.message_type is None:
            return here, field
        held = getattr(here, field.name)
        if field.message_type.GetOptions().map_entry:
            here = held[rng.choice(_TEXTS)]
        elif not field.is_repeated:
            if rng.random() < 0.2:
                here.ClearField(field.name)
                return None
            held.SetInParent()
            here = held
        elif not held or rng.random() < 0.2:
            held.extend([held[0] if held else field.message_type._concrete_class()] * rng.choice((1, 2, 40)))
            return None
        else:
            here = rng.choice(held)
    return None


_OF_TYPE: Mapping[int, Sequence[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: _TEXTS,
    FieldDescriptor.CPPTYPE_FLOAT: _NUMBERS,
    FieldDescriptor.CPPTYPE_DOUBLE: _NUMBERS,
    FieldDescriptor.CPPTYPE_BOOL: (False, True),
    FieldDescriptor.CPPTYPE_INT32: [n for n in _INTEGERS if -(2**31) <= n < 2**31],
    FieldDescriptor.CPPTYPE_UINT32: [n for n in _INTEGERS if 0 <= n < 2**32],
    FieldDescriptor.CPPTYPE_INT64: _INTEGERS,
    FieldDescriptor.CPPTYPE_UINT64: [n for n in _INTEGERS if n >= 0],
}


def _value(rng: random.Random, field: FieldDescriptor) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice((b"", b"\x00", rng.randbytes(7), bytes(384), bytes(5000), JPEG, (60).to_bytes(4, "little")))
    return rng.choice(_DATATYPES if field.name == "datatype" else _OF_TYPE[field.cpp_type])


def _wrong_bytes(rng: random.Random, data: bytes) -> bytes:
    """The message's bytes, damaged, or with fields that do not exist."""
    at = rng.randrange(len(data) + 1)
    return rng.choice(
        (
            data[:at],
            data[:at] + rng.randbytes(1) + data[at + 1 :],
            data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:],
            data + data,
            data + b"\xc2\x3e\x05hello",  # field 1000
            data.replace(b"input", b"\xff\xfe\x80ut"),  # no UTF-8
            rng.randbytes(rng.randrange(200)),
        )
    )


# The HTTP wire.


def kserve_script_of(rng: random.Random) -> HostileScript:
    """What one connection says."""
    data = b"".join(_http_request(rng) for _ in range(rng.choice((1, 1, 1, 1, 1, 1, 2, 4))))
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 2))):
        data = damaged(rng, data)
    return HostileScript(cut(rng, data), leaving_of(rng))


def _http_request(rng: random.Random) -> bytes:
    path = rng.choice(_PATHS)
    posts = path.endswith(("infer", "index", "register"))
    method = rng.choice(METHODS) if rng.random() < 0.05 else "POST" if posts else "GET"
    body, length = _http_body(rng) if posts and method != "GET" else (b"", "")
    lines = ["Host: t"] + ([f"{LENGTH}: {length}"] if length else [])
    if body and rng.random() < 0.2:
        lines.append("Transfer-Encoding: chunked")
        body = chunked(rng, body)
    elif body:
        lines.append(f"Content-Length: {len(body) + rng.choice((0,) * 20 + (1, -1))}")
    if rng.random() < 0.1:
        lines += rng.choices((*HEADERS, "Content-Encoding: gzip", "Content-Encoding: deflate"), k=rng.choice((1, 2)))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def _http_body(rng: random.Random) -> tuple[bytes, str]:
    """A body, and how long its JSON is said to be; "" for all of it."""
    tensors = right_tensors(rng)
    binary = rng.random() < 0.5 or any(one.datatype == "BYTES" for one in tensors)
    said: dict[str, Any] = {
        "id": str(rng.randrange(100)),
        "inputs": [_item(one, binary=binary) for one in tensors],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": rng.random() < 0.5}}],
    }
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        _spoil_json(rng, said)
    text = json.dumps(said).encode()
    if rng.random() < 0.1:
        text = damaged(rng, text)
    data = b"".join(one.data for one in tensors) if binary else b""
    if rng.random() < 0.1:
        data = damaged(rng, data) if data else rng.randbytes(9)
    length = str(len(text)) if data else ""
    if rng.random() < 0.15:
        length = rng.choice((*_LENGTHS, str(len(text) + 1), str(max(0, len(text) - 1)), str(len(text + data))))
    return text + data, length


def _item(tensor: Tensor, *, binary: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if binary:
        return item | {"parameters": {"binary_data_size": len(tensor.data)}}
    dtype = {"FP32": "<f4", "FP16": "<f2", "UINT8": "u1"}[tensor.datatype]
    return item | {"data": np.frombuffer(tensor.data, dtype).astype(float).tolist()}


def _spoil_json(rng: random.Random, said: Any) -> None:
    """Give one value, at any depth, another one."""
    here = said
    while True:
        keys: Sequence[Any] = list(here) if isinstance(here, dict) else range(len(here))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(here[key], dict | list) and here[key] and rng.random() < 0.8:
            here = here[key]
            continue
        match rng.randrange(8):
            case 0:
                del here[key]
            case 1 if isinstance(here, dict):
                here[rng.choice(_TEXTS)] = here[key]
            case _:
                here[key] = _json_value(rng)
        return


def _json_value(rng: random.Random) -> Any:
    return rng.choice(
        (
            *(None, True, False, "", {}, [], [[]], [None], ["a", ""], [[1], [1, 2]], {"binary_data_size": -1}),
            *(rng.choice(_INTEGERS), rng.choice(_TEXTS), rng.choice(_DATATYPES), 1e308, 1.5, 2**64, 10**40),
            [rng.choice(_INTEGERS) for _ in range(rng.choice((1, 4, 9, 300)))],
            json.loads("[" * (deep := rng.choice((2, 70, 900))) + "]" * deep),
        )
    )
