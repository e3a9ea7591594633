"""The page for DeepStream, as far as it can be run without DeepStream: its configuration, and its probe as printed."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from grpc_tools import protoc

from reidstream_client import FrameEmbeddings, ReidClient
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_proto.kserve import inference_pb2_grpc
from tests.support.deepstream.pipeline import FrameMeta, ObjectMeta, Pipeline, Rect
from tests.support.exports import tao_export
from tests.support.harness import Pixels, picture
from tests.support.kserve import Tensor, request, rows
from tests.support.process import server_process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deepstream.md").read_text(encoding="utf-8")
PROTO = ROOT / "tests" / "support" / "deepstream" / "nvinferserver.proto"
MODEL = "reid"


def configuration(folder: Path) -> Any:
    """The page's, as the element parses it: a name that it does not know is an error."""
    found = folder / "nvinferserver.binpb"
    assert protoc.main(["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={found}", PROTO.name]) == 0
    pool = descriptor_pool.DescriptorPool()
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes()).file
    pool.Add(file)  # type: ignore[no-untyped-call]
    kind = pool.FindMessageTypeByName("nvdsinferserver.config.PluginControl")  # type: ignore[no-untyped-call]
    (text,) = re.findall(r"^```\n(infer_config.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return text_format.Parse(text, message_factory.GetMessageClass(kind)())


def test_the_configuration_asks_for_what_the_server_has(tmp_path: Path) -> None:
    """In the element's order; and its normalisation of pixels is the server's own, for the profile that is named."""
    config = configuration(tmp_path)
    infer = config.infer_config
    triton, normalize = infer.backend.triton, infer.preprocess.normalize
    assert (triton.model_name, triton.version, triton.grpc.url) == (MODEL, -1, "localhost:50051")
    assert not triton.grpc.enable_cuda_buffer_sharing
    assert config.output_control.output_tensor_meta
    pixels = np.random.default_rng(0).integers(0, 256, (4, 256, 128, 3), np.uint8)
    offsets = np.array(normalize.channel_offsets, np.float32)
    tensor = (normalize.scale_factor * (pixels.astype(np.float32) - offsets)).transpose(0, 3, 1, 2)
    path = tao_export(tmp_path / f"{MODEL}.onnx", dim=64)
    with (
        server_process("--kserve", "--model", str(path), "--profile", "tao") as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        name, version = triton.model_name, str(triton.version)
        assert stub.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready
        told = stub.ModelConfig(pb.ModelConfigRequest(name=name, version=version)).config
        assert [one.name for one in told.input] == [one.name for one in infer.backend.inputs]
        assert [one.name for one in told.output] == [one.name for one in infer.backend.outputs]
        assert infer.preprocess.tensor_name == told.input[0].name
        assert told.max_batch_size >= infer.max_batch_size
        sent = Tensor.of(told.input[0].name, np.ascontiguousarray(tensor))
        answer = stub.ModelInfer(request(sent, model=name, model_version=version, outputs=[told.output[0].name]))
        ours = rows(stub.ModelInfer(request(Tensor.of("image", pixels), model=name)))
    np.testing.assert_allclose(rows(answer), ours, atol=1e-5)


def test_a_name_that_the_element_does_not_know_is_found(tmp_path: Path) -> None:
    """So the parsing above can fail."""
    kind = type(configuration(tmp_path))
    with pytest.raises(text_format.ParseError, match="tensor_meta"):
        text_format.Parse("output_control { tensor_meta: true }", kind())


def frames(number: int) -> Sequence[FrameMeta]:
    """A batch of two sources, one of which has no objects in its second frame."""
    found: list[FrameMeta] = []
    for source in (0, 3):
        pixels = picture(640, 480, seed=10 * source + number)
        boxes = [] if (source, number) == (3, 1) else [(40.5, 50.0, 60.0, 160.0), (300.0, 80.0 + number, 90.0, 200.0)]
        objects = [ObjectMeta(100 * source + index, Rect(*box)) for index, box in enumerate(boxes)]
        rgba: Pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA).astype(np.uint8)
        found.append(FrameMeta(source, number, len(found), objects, rgba))
    return found


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_probe_of_the_page_gets_the_vectors_of_its_objects(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a plain call has for the same pictures; surfaces are copied, and on a Jetson unmapped."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    pipeline = Pipeline()
    for name, module in pipeline.modules():
        monkeypatch.setitem(sys.modules, name, module)
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - our own page
    taken: dict[tuple[int, int], tuple[Sequence[int], FrameEmbeddings]] = {}

    def take(source: int, objects: Sequence[int], answer: FrameEmbeddings) -> None:
        taken[source, answer.frame_id] = objects, answer

    batches = [frames(number) for number in range(3)]
    with server_process() as (_, address), ReidClient(address) as client:
        probe = names["ReidProbe"](address, (0, 3), take)
        names["attach"](pipeline.element, probe)
        for batch in batches:
            pipeline.push(batch)
        probe.close()
        assert len(taken) == 5
        for source in (0, 3):
            mine = [taken[key] for key in sorted(taken) if key[0] == source]
            sent = [frame for batch in batches for frame in batch if frame.source_id == source and frame.objects]
            for (objects, answer), frame in zip(mine, sent, strict=True):
                assert objects == [one.object_id for one in frame.objects]
                rects = [one.rect_params for one in frame.objects]
                boxes = [[box.left, box.top, box.left + box.width, box.top + box.height] for box in rects]
                expected = client.embed(np.ascontiguousarray(frame.pixels[:, :, 2::-1]), boxes)
                np.testing.assert_allclose(answer.embeddings, expected.embeddings, atol=1e-5)
    assert len(pipeline.mapped) == (0 if machine == "aarch64" else 5)
