"""Requests of the open inference protocol, as attackers send them: right ones, and ones that are wrong in one thing.

Trap: whatever model is served, a request names none and sends pixels, so that it fits every server.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from reidstream_proto.kserve import inference_pb2 as pb

MODEL_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
MODEL_STREAM_INFER: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
MODEL_STATISTICS: Final = "/inference.GRPCInferenceService/ModelStatistics"
MODEL_METADATA: Final = "/inference.GRPCInferenceService/ModelMetadata"
MODEL_CONFIG: Final = "/inference.GRPCInferenceService/ModelConfig"

MOST_SIDE: Final = 2**62
_Input = pb.ModelInferRequest.InferInputTensor
_ONE_BOX = bytes(16)


def request_of(*tensors: tuple[str, str, Sequence[int], bytes], request_id: str = "") -> bytes:
    """Each tensor: its name, datatype, shape and bytes."""
    return pb.ModelInferRequest(
        id=request_id,
        inputs=[_Input(name=name, datatype=datatype, shape=shape) for name, datatype, shape, _ in tensors],
        raw_input_contents=[data for *_, data in tensors],
    ).SerializeToString()


@cache
def crops_request(count: int, side: int = 16) -> bytes:
    """Square crops of pixels, which are right."""
    data = bytes(range(256)) * (3 * side * side * count // 256 + 1)
    return request_of(("image", "UINT8", [count, side, side, 3], data[: 3 * side * side * count]))


@cache
def huge_crop(total: int) -> bytes:
    """One crop of nearly so many bytes, which is right."""
    width = 4000
    height = total // (3 * width)
    return request_of(("image", "UINT8", [1, height, width, 3], bytes(3 * width * height)))


@cache
def huge_refused(total: int) -> bytes:
    """A tensor of so many bytes of a datatype that no model takes."""
    return request_of(("input", "FP64", [1, total // 8], bytes(total)))


@cache
def endless_shape(sides: int) -> bytes:
    """A picture whose shape has so many sides of 2^62, and a box."""
    return request_of(("image", "BYTES", [MOST_SIDE] * sides, bytes(8)), ("boxes", "FP32", [1, 4], _ONE_BOX))


@cache
def overflowing_shapes() -> Sequence[bytes]:
    """Shapes whose product is 2^64 and more, or 0 in 64 bits, of every kind of tensor."""
    shapes: Sequence[Sequence[int]] = ([2**32, 2**32], [2**62, 4, 1, 3], [2**31, 2**31, 4, 3], [2**63 - 1] * 4)
    return [
        request_of((name, datatype, shape, bytes(16)))
        for shape in shapes
        for name, datatype in (("image", "UINT8"), ("input", "FP32"), ("input", "FP16"), ("input", "UINT8"))
    ]


@cache
def many_inputs(count: int) -> bytes:
    """So many inputs, two bytes each."""
    return b"\x2a\x00" * count


@cache
def many_parameters(count: int) -> bytes:
    """A right request whose tensor has so many parameters."""
    message = pb.ModelInferRequest.FromString(crops_request(1))
    for number in range(count):
        message.inputs[0].parameters[f"{number:x}"].bool_param = True
    return message.SerializeToString()


@cache
def lying_pictures() -> Sequence[bytes]:
    """Elements of datatype BYTES whose lengths are not those of what follows."""
    said = [
        (2**32 - 1).to_bytes(4, "little") + bytes(64),
        (63).to_bytes(4, "little") + bytes(64),
        (2**31).to_bytes(4, "little"),
        b"\x05\x00",
        b"",
        (0).to_bytes(4, "little"),
        (60).to_bytes(4, "little") + b"\xff\xd8\xff" + bytes(57),
    ]
    return [request_of(("image", "BYTES", [1], data), ("boxes", "FP32", [1, 4], _ONE_BOX)) for data in said]
