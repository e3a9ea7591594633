"""Triton's own client with tensors in system shared memory, on both wires. A program for an environment of its own.

    triton_shared.py GRPC_ADDRESS HTTP_ADDRESS FOLDER

The folder has `crops.npy`, float32 (N, C, H, W); its model is the server's only one. Rows are written to `shared.npz`,
a flavour each, and what was said to `shared.json`. Trap: it runs where nothing of ours is, so it imports nothing of
ours.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as shm

Rows = dict[str, Any]


@contextmanager
def region(client: Any, name: str, size: int) -> Iterator[tuple[Any, str]]:
    """Made, registered, and both undone."""
    key = f"/reidstream-test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region(name, key, size, create_only=True)
    try:
        client.register_system_shared_memory(name, key, size)
        yield handle, key
        client.unregister_system_shared_memory(name)
    finally:
        shm.destroy_shared_memory_region(handle)


def told(call: Callable[[], object]) -> str:
    """The error that a call ends with."""
    try:
        call()
    except InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    return "no error"


def used(library: Any, client: Any, crops: Any, said: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Input there, output there, and both."""
    plain = {"as_json": True} if library is grpcclient else {}  # as HTTP is anyway
    index = client.get_model_repository_index(**plain)
    (about,) = index["models"] if library is grpcclient else index
    name = about["name"]
    metadata = client.get_model_metadata(name, **plain)
    (given,), (taken,) = metadata["inputs"], metadata["outputs"]
    shape = [len(crops), int(taken["shape"][1])]
    size = 4 * shape[0] * shape[1]

    def tensor(offset: int | None = None) -> Any:
        found = library.InferInput(given["name"], list(crops.shape), "FP32")
        if offset is None:
            found.set_data_from_numpy(crops)
        else:
            found.set_shared_memory("crops", crops.nbytes, offset=offset)
        return found

    def output(offset: int) -> Any:
        found = library.InferRequestedOutput(taken["name"])
        found.set_shared_memory("rows", size, offset=offset)
        return found

    with region(client, "crops", crops.nbytes + 64) as (crops_there, key), region(client, "rows", 4096 + size) as rows:
        shm.set_shared_memory_region(crops_there, [crops], offset=32)
        yield "input", client.infer(name, [tensor(32)]).as_numpy(taken["name"])
        client.infer(name, [tensor()], outputs=[output(100)])
        yield "output", np.array(shm.get_contents_as_numpy(rows[0], np.float32, shape, offset=100))
        client.infer(name, [tensor(32)], outputs=[output(200)])
        yield "both", np.array(shm.get_contents_as_numpy(rows[0], np.float32, shape, offset=200))
        if library is grpcclient:
            stream_one(client, name, inputs=[tensor(32)], outputs=[output(300)])
            yield "stream", np.array(shm.get_contents_as_numpy(rows[0], np.float32, shape, offset=300))
        said["status"] = str(client.get_system_shared_memory_status())
        said["key"] = key
        said["beyond"] = told(lambda: client.infer(name, [tensor(65)]))
        said["twice"] = told(lambda: client.register_system_shared_memory("crops", key, 64))
        said["too long"] = told(lambda: client.register_system_shared_memory("long", key, 2**30))
        said["no name"] = told(lambda: client.register_system_shared_memory("path", "/../etc/passwd", 64))
        os.truncate(f"/dev/shm{key}", 1000)  # noqa: S108 - its own memory
        said["cut off"] = told(lambda: client.infer(name, [tensor(32)]))
    said["gone"] = told(lambda: client.infer(name, [tensor(32)]))
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    said["status after"] = str(client.get_system_shared_memory_status())


def stream_one(client: Any, name: str, **request: Any) -> None:
    """One request through a stream."""
    done: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    client.async_stream_infer(name, **request)
    client.stop_stream()
    _, error = done.get_nowait()
    assert error is None, error


def main() -> None:
    """Everything, once."""
    grpc_address, http_address, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    crops = np.load(folder / "crops.npy")
    rows: Rows = {}
    said: dict[str, dict[str, Any]] = {"grpc": {}, "http": {}}
    with grpcclient.InferenceServerClient(grpc_address) as client:
        rows.update({f"grpc, {name}": found for name, found in used(grpcclient, client, crops, said["grpc"])})
    with httpclient.InferenceServerClient(http_address) as client:
        rows.update({f"http, {name}": found for name, found in used(httpclient, client, crops, said["http"])})
    np.savez(folder / "shared.npz", **rows)
    (folder / "shared.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
