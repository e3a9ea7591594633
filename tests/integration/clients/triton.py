"""Triton's own client against a server: every flavour of it. A program for an environment of its own.

    triton.py GRPC_ADDRESS HTTP_ADDRESS FOLDER

The folder has `crops.npy`, float32 (N, C, H, W); its model is the server's only one. Rows are written to `rows.npz`, a
flavour each, and what was said to `said.json`.

Trap: it runs where nothing of ours is, so it imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as aioclient
import tritonclient.http as httpclient
import tritonclient.http.aio as aiohttpclient
from tritonclient.utils import InferenceServerException

Rows = dict[str, Any]
IN_FLIGHT = 100


class Model:
    """As the server describes it."""

    def __init__(self, client: Any) -> None:
        (about,) = client.get_model_repository_index(as_json=True)["models"]
        self.name = about["name"]
        metadata = client.get_model_metadata(self.name, as_json=True)
        self.input, self.output = metadata["inputs"][0]["name"], metadata["outputs"][0]["name"]

    def inputs(self, library: Any, crops: Any, **how: Any) -> list[Any]:
        """Of a request."""
        tensor = library.InferInput(self.input, list(crops.shape), "FP32")
        tensor.set_data_from_numpy(crops, **how)
        return [tensor]


def over_grpc(client: Any, model: Model, crops: Any) -> Iterator[tuple[str, Any]]:
    """Sync, callbacks, futures and streams."""
    inputs = partial(model.inputs, grpcclient)
    outputs = [grpcclient.InferRequestedOutput(model.output)]
    first = client.infer(model.name, inputs(crops), model_version="1", outputs=outputs, request_id="first")
    assert first.get_response().id == "first"
    yield "grpc", first.as_numpy(model.output)
    done: queue.Queue[Any] = queue.Queue()
    for number in range(IN_FLIGHT):
        one = crops[number % len(crops)][None]
        client.async_infer(
            model.name, inputs(one), lambda result, error: done.put((result, error)), request_id=str(number)
        )
    found = {}
    for _ in range(IN_FLIGHT):
        result, error = done.get()
        assert error is None, error
        found[int(result.get_response().id)] = result.as_numpy(model.output)[0]
    yield "grpc, 100 in flight", np.stack([found[number] for number in range(len(crops))])
    client.start_stream(lambda result, error: done.put((result, error)))
    for number in range(IN_FLIGHT):
        client.async_stream_infer(model.name, inputs(crops[number % len(crops)][None]), request_id=str(number))
    client.stop_stream()  # half-closes, and waits for all answers
    streamed = [done.get_nowait() for _ in range(IN_FLIGHT)]
    assert not any(error for _, error in streamed)
    assert [result.get_response().id for result, _ in streamed] == [str(number) for number in range(IN_FLIGHT)]
    yield "grpc, stream", np.stack([result.as_numpy(model.output)[0] for result, _ in streamed[: len(crops)]])


def stream_with_faults(client: Any, model: Model, crops: Any) -> list[str]:
    """What each request of a stream got: its id, or an error."""
    done: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    client.async_stream_infer(model.name, model.inputs(grpcclient, crops), request_id="a")
    client.async_stream_infer(model.name, model.inputs(grpcclient, crops[:, :, 1:]), request_id="b")
    client.async_stream_infer("nobody", model.inputs(grpcclient, crops), request_id="c")
    client.async_stream_infer(model.name, model.inputs(grpcclient, crops), request_id="d")
    client.stop_stream()
    answers = [done.get_nowait() for _ in range(4)]
    return [str(error) if error else result.get_response().id for result, error in answers]


async def over_aio(address: str, model: Model, crops: Any) -> Rows:
    """The same from asyncio."""
    async with aioclient.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        results = await asyncio.gather(
            *(client.infer(model.name, model.inputs(grpcclient, crop[None])) for crop in crops)
        )

        async def requests() -> Any:
            for number, crop in enumerate(crops):
                yield {
                    "model_name": model.name,
                    "inputs": model.inputs(grpcclient, crop[None]),
                    "request_id": str(number),
                }

        streamed = [(result, error) async for result, error in client.stream_infer(requests())]
    assert not any(error for _, error in streamed)
    return {
        "grpc, asyncio": np.concatenate([result.as_numpy(model.output) for result in results]),
        "grpc, asyncio stream": np.concatenate([result.as_numpy(model.output) for result, _ in streamed]),
    }


def over_http(client: Any, model: Model, crops: Any) -> Iterator[tuple[str, Any]]:
    """Bytes and numbers, both ways; and at once."""
    for sent, name in ((True, "bytes"), (False, "numbers")):
        inputs = model.inputs(httpclient, crops if sent else crops[:1], binary_data=sent)
        for wanted in (True, False):
            outputs = [httpclient.InferRequestedOutput(model.output, binary_data=wanted)]
            result = client.infer(model.name, inputs, outputs=outputs, request_id="h")
            assert result.get_response()["id"] == "h"
            yield f"http, {name} to {'bytes' if wanted else 'numbers'}", result.as_numpy(model.output)
    calls = [client.async_infer(model.name, model.inputs(httpclient, crop[None])) for crop in crops]
    yield "http, at once", np.concatenate([call.get_result().as_numpy(model.output) for call in calls])


async def over_http_aio(address: str, model: Model, crops: Any) -> Rows:
    """From asyncio."""
    async with aiohttpclient.InferenceServerClient(address) as client:
        result = await client.infer(model.name, model.inputs(httpclient, crops))
    return {"http, asyncio": result.as_numpy(model.output)}


def told(call: Callable[[], object]) -> str:
    """The error that a call ends with."""
    try:
        call()
    except InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    return "no error"


def refusals(library: Any, client: Any, model: Model, crops: Any) -> dict[str, str]:
    """What is said to wrong requests."""

    def infer(name: str = model.name, output: str = model.output, tensor: str = model.input, **more: Any) -> str:
        changed = library.InferInput(tensor, list(more.pop("shape", crops.shape)), more.pop("datatype", "FP32"))
        changed.set_data_from_numpy(more.pop("data", crops))
        outputs = [library.InferRequestedOutput(output)]
        return told(lambda: client.infer(name, [changed], outputs=outputs, **more))

    return {
        "model": infer("nobody"),
        "version": infer(model_version="7"),
        "input": infer(tensor="inputs"),
        "output": infer(output="fc"),
        "shape": infer(shape=crops[:, :, 1:].shape, data=crops[:, :, 1:]),
        "datatype": infer(datatype="FP64", data=crops.astype(np.float64)),
        "compressed": infer(**{f"{'request_' if library is httpclient else ''}compression_algorithm": "gzip"}),
        "shared memory": told(lambda: client.register_system_shared_memory("region", "/region", 64)),
        "load": told(lambda: client.load_model(model.name)),
        "config": told(lambda: client.get_model_config("nobody")),
    }


def main() -> None:
    """Everything, once."""
    grpc_address, http_address, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    crops = np.load(folder / "crops.npy")
    rows: Rows = {}
    said: dict[str, Any] = {}
    with grpcclient.InferenceServerClient(grpc_address) as client:
        model = Model(client)
        said["ready"] = [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model.name)]
        said["not ready"] = client.is_model_ready("nobody")
        rows.update(over_grpc(client, model, crops))
        said["stream"] = stream_with_faults(client, model, crops)
        said["grpc"] = refusals(grpcclient, client, model, crops)
        said["config"] = client.get_model_config(model.name, as_json=True)["config"]
        said["statistics"] = client.get_inference_statistics(model.name, as_json=True)["model_stats"][0]
        said["server"] = client.get_server_metadata(as_json=True)
    rows.update(asyncio.run(over_aio(grpc_address, model, crops)))
    with httpclient.InferenceServerClient(http_address, concurrency=4) as http:
        said["http ready"] = [http.is_server_live(), http.is_server_ready(), http.is_model_ready(model.name)]
        rows.update(over_http(http, model, crops))
        said["http"] = refusals(httpclient, http, model, crops)
        said["http config"] = http.get_model_config(model.name)
        said["http statistics"] = http.get_inference_statistics(model.name)["model_stats"][0]
    rows.update(asyncio.run(over_http_aio(http_address, model, crops)))
    np.savez(folder / "rows.npz", **rows)
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
