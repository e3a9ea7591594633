"""The open inference protocol as a test says it: any request, right or wrong, on both wires.

Trap: these are our own messages. The ones of Triton's client have the same names, so that client runs in a process of
its own (tests/integration/test_triton.py).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import numpy as np
import numpy.typing as npt

from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_proto.kserve import inference_pb2_grpc
from reidstream_server.app import RunningServer
from tests.support.harness import MAX_MESSAGE
from tests.support.http import Answer, RawHttp

Stub: TypeAlias = "inference_pb2_grpc.GRPCInferenceServiceAsyncStub"
Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """`data`: little-endian."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes

    @classmethod
    def of(cls, name: str, array: Array) -> Tensor:
        """An array's."""
        datatype = {"f4": "FP32", "f2": "FP16", "u1": "UINT8"}[array.dtype.str[1:]]
        return cls(name, datatype, array.shape, array.tobytes())

    @classmethod
    def picture(cls, data: bytes, name: str = "image") -> Tensor:
        """A compressed picture."""
        return cls(name, "BYTES", [1], len(data).to_bytes(4, "little") + data)


def request(*tensors: Tensor, model: str = "", outputs: Sequence[str] = (), **fields: Any) -> pb.ModelInferRequest:
    """On the gRPC wire, with raw contents."""
    message = pb.ModelInferRequest
    return message(
        model_name=model,
        inputs=[message.InferInputTensor(name=one.name, datatype=one.datatype, shape=one.shape) for one in tensors],
        outputs=[message.InferRequestedOutputTensor(name=name) for name in outputs],
        raw_input_contents=[one.data for one in tensors],
        **fields,
    )


def rows(response: pb.ModelInferResponse) -> npt.NDArray[np.float32]:
    """Of the only output."""
    (output,), (data,) = response.outputs, response.raw_output_contents
    assert output.datatype == "FP32"
    return np.frombuffer(data, "<f4").reshape(output.shape)


@asynccontextmanager
async def kserve_stub(server: RunningServer, *more: tuple[str, int]) -> AsyncIterator[Stub]:
    """A stub of our own messages. `more`: options of its channel."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", MAX_MESSAGE), *more]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        yield inference_pb2_grpc.GRPCInferenceServiceStub(channel)


async def infer_over_http(http: RawHttp, model: str, *tensors: Tensor, binary: bool = True, **fields: Any) -> Answer:
    """On the HTTP wire, with the bytes behind the JSON. `binary`: of the answer."""
    said: Mapping[str, object] = {
        "inputs": [
            {
                "name": one.name,
                "datatype": one.datatype,
                "shape": list(one.shape),
                "parameters": {"binary_data_size": len(one.data)},
            }
            for one in tensors
        ],
        "parameters": {"binary_data_output": binary},
        **fields,
    }
    text = json.dumps(said).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return await http.ask("POST", f"/v2/models/{model}/infer", text + b"".join(one.data for one in tensors), headers)


def http_rows(answer: Answer) -> npt.NDArray[np.float32]:
    """Of the only output, in either form."""
    assert answer.status == 200, answer.body
    length = answer.headers.get("inference-header-content-length")
    head = json.loads(answer.body if length is None else answer.body[: int(length)])
    (output,) = head["outputs"]
    if length is None:
        return np.array(output["data"], np.float64).astype(np.float32).reshape(output["shape"])
    return np.frombuffer(answer.body[int(length) :], "<f4").reshape(output["shape"])
