"""A client that asks as TAO's ReID client does: metadata, configuration, batches, `results.json` in order.

    tao.py ADDRESS MODEL FOLDER MODE

MODE is sync, async or stream. The folder's pictures are read in the order of their names. A program for an environment
of its own: it imports nothing of ours. Preprocessing there: a stretch by PIL, mean and one deviation for all channels;
here the crops lie in `crops.npy`, prepared so, because what is compared is the wire.
"""

from __future__ import annotations

import json
import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.model_config_pb2 as config_pb2
from tritonclient.utils import triton_to_np_dtype


def described(client: Any, name: str) -> tuple[str, str, int]:
    """The names of a model's input and output, and its largest batch; fails as such clients do on what they do not
    expect.
    """
    metadata = client.get_model_metadata(model_name=name, model_version="")
    config = client.get_model_config(model_name=name, model_version="").config
    assert len(metadata.inputs) == len(metadata.outputs) == 1
    assert len(config.input) == 1
    assert metadata.outputs[0].datatype == "FP32"
    assert len(metadata.inputs[0].shape) == 3 + (config.max_batch_size > 0)
    assert config.input[0].format in (config_pb2.ModelInput.FORMAT_NCHW, config_pb2.ModelInput.FORMAT_NHWC)
    assert triton_to_np_dtype(metadata.inputs[0].datatype) == np.float32
    return metadata.inputs[0].name, metadata.outputs[0].name, config.max_batch_size


def main() -> None:
    """Everything, once."""
    address, name, folder, mode = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    client = grpcclient.InferenceServerClient(url=address)
    taken, given, most = described(client, name)
    assert given == "fc_pred"
    crops = np.load(folder / "crops.npy")
    paths = [f"person_{number:03}.png" for number in range(len(crops))]
    batch = min(16, most)
    answers: list[Any] = []
    done: queue.Queue[Any] = queue.Queue()
    if mode == "stream":
        client.start_stream(lambda result, error: done.put((result, error)))
    begins = range(0, len(crops), batch)
    for number, begin in enumerate(begins, 1):
        part = crops[begin : begin + batch]
        tensor = grpcclient.InferInput(taken, list(part.shape), "FP32")
        tensor.set_data_from_numpy(part)
        outputs = [grpcclient.InferRequestedOutput(given)]
        how: dict[str, Any] = {"request_id": str(number), "model_version": "", "outputs": outputs}
        if mode == "sync":
            answers.append(client.infer(name, [tensor], **how))
        elif mode == "stream":
            client.async_stream_infer(name, [tensor], **how)
        else:
            client.async_infer(name, [tensor], lambda result, error: done.put((result, error)), **how)
    if mode == "stream":
        client.stop_stream()  # all are sent, and none is read yet
    if mode != "sync":
        found = [done.get() for _ in begins]
        assert not any(error for _, error in found), found
        answers = [result for result, _ in found]
        if mode == "async":
            answers.sort(key=lambda answer: int(answer.get_response().id))
    assert [answer.get_response().id for answer in answers] == [str(number) for number in range(1, len(begins) + 1)]
    vectors = np.concatenate([answer.as_numpy(given) for answer in answers])
    results = [{"img_path": path, "embedding": vector.tolist()} for path, vector in zip(paths, vectors, strict=True)]
    (folder / f"results-{mode}.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
