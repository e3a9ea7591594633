"""Requests and answers on the gRPC wire.

Traps: a request has its tensors either in `raw_input_contents`, for every input, or in typed contents. Typed FP32 may
be millions of numbers, so it is never a list of Python's: written again, the message of contents *is* the bytes, after
its head. The other typed contents have few elements, since the bound on a message's structure counts them. And inputs
in shared memory have no item in `raw_input_contents`, while outputs have an empty one in `raw_output_contents`, without
which perf_analyzer crashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server.errors import InvalidCall
from reidstream_server.transport.grpc_server.unparsable import Unparsed

from .asked import (
    OFFSET,
    REGION,
    SIZE,
    VERSION,
    Asked,
    RawTensor,
    RequestedOutput,
    SharedRange,
    check_counts,
    checked_id,
    shared_range,
)
from .inference import Inferred
from .tensors import as_element

_FP32_TAG = 6 << 3 | 2
_MORE = 0x80
_TIMEOUT = "timeout"
_FINAL_ASKED, _FINAL = "triton_enable_empty_final_response", "triton_final_response"
_NO_TYPED = "send its bytes in raw_input_contents"


def asked_by(request: Unparsed[pb.ModelInferRequest]) -> Asked:
    """A request in plain values. Any thread. Raises InvalidCall."""
    return asked_of(request.read())


def asked_of(message: pb.ModelInferRequest) -> Asked:
    """The same, of a message. Raises InvalidCall."""
    request_id = checked_id(message.id)
    check_counts(len(message.inputs), len(message.outputs))
    ranges = [_range(f"input {tensor.name[:64]!r}", tensor.parameters) for tensor in message.inputs]
    raw, in_message = message.raw_input_contents, ranges.count(None)
    if raw and len(raw) != in_message:
        raise InvalidCall(
            f"raw_input_contents has {len(raw)} items for {in_message} inputs; it must have one for each that is not "
            "in shared memory, or none if the inputs have typed contents"
        )
    items = iter(raw) if raw else None
    inputs = [_tensor(tensor, shared, items) for tensor, shared in zip(message.inputs, ranges, strict=True)]
    timeout = message.parameters.get(_TIMEOUT)
    return Asked(
        model=message.model_name,
        version=message.model_version,
        request_id=request_id,
        inputs=inputs,
        outputs=[
            RequestedOutput(
                name=output.name,
                parameters=frozenset(output.parameters),
                shared=_range(f"output {output.name[:64]!r}", output.parameters),
            )
            for output in message.outputs
        ],
        timeout_us=None if timeout is None else max(timeout.int64_param, timeout.uint64_param),
        wants_final=_FINAL_ASKED in message.parameters and message.parameters[_FINAL_ASKED].bool_param,
    )


def response_of(inferred: Inferred) -> pb.ModelInferResponse:
    """The answer."""
    final: Mapping[str, pb.InferParameter] = {_FINAL: pb.InferParameter(bool_param=True)} if inferred.final else {}
    return pb.ModelInferResponse(
        model_name=inferred.model.name,
        model_version=VERSION,
        id=inferred.request_id,
        parameters=final,
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name=inferred.model.spec.output.name,
                datatype="FP32",
                shape=inferred.rows.shape,
            )
        ],
        raw_output_contents=[b"" if inferred.placed else inferred.rows.tobytes()],  # clients count on one for each
    )


def _tensor(
    tensor: pb.ModelInferRequest.InferInputTensor, shared: SharedRange | None, items: Iterator[bytes] | None
) -> RawTensor:
    """`items`: of raw contents, if the request has them. Raises InvalidCall."""
    if tensor.HasField("contents") and (shared is not None or items is not None):
        beside = "raw_input_contents" if shared is None else "a place in shared memory"
        raise InvalidCall(f"input {tensor.name[:64]!r} has contents beside {beside}; set one of them")
    data = b"" if shared is not None else _typed(tensor) if items is None else next(items)
    return RawTensor(name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape), data=data, shared=shared)


def _range(what: str, parameters: Mapping[str, pb.InferParameter]) -> SharedRange | None:
    """Raises InvalidCall."""
    given = {name: parameters[name] for name in (REGION, SIZE, OFFSET) if name in parameters}
    return shared_range(what, {name: _value(one) for name, one in given.items()}) if given else None


def _value(parameter: pb.InferParameter) -> object:
    field = parameter.WhichOneof("parameter_choice")
    return None if field is None else getattr(parameter, field)


def _typed(tensor: pb.ModelInferRequest.InferInputTensor) -> bytes:
    """The bytes of typed contents. Raises InvalidCall."""
    contents, name = tensor.contents, tensor.name[:64]
    filled = [field.name for field, _ in contents.ListFields()]
    match tensor.datatype:
        case "FP32":
            wanted = "fp32_contents"
        case "UINT8":
            wanted = "uint_contents"
        case "BYTES":
            wanted = "bytes_contents"
        case other:
            raise InvalidCall(f"input {name!r} is {other[:16]}, which typed contents cannot have; {_NO_TYPED}")
    if filled and filled != [wanted]:
        raise InvalidCall(f"input {name!r} is {tensor.datatype} and has {', '.join(filled)}; it must be {wanted}")
    if tensor.datatype == "FP32":
        return _floats(contents)
    if tensor.datatype == "BYTES":
        return b"".join(map(as_element, contents.bytes_contents))
    numbers = np.array(contents.uint_contents, dtype=np.uint32)
    if numbers.size and numbers.max() > np.iinfo(np.uint8).max:
        raise InvalidCall(f"input {name!r} is UINT8 and has the number {numbers.max()}; the largest is 255")
    return numbers.astype(np.uint8).tobytes()


def _floats(contents: pb.InferTensorContents) -> bytes:
    """The bytes of `fp32_contents`. Fields that are not known come after them, and make them too many."""
    written = contents.SerializeToString()
    if not written or written[0] != _FP32_TAG:
        return b""
    at = 1
    while written[at] & _MORE:
        at += 1
    return written[at + 1 :]
