"""The same crop has the same vector, bit for bit, at every door and in every form."""

from __future__ import annotations

import json

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from reidstream_engines.cpu.preprocess import Preprocessor, Scratch
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.image import ColorMatrix, ColorRange, PixelBox, PixelFormat, RawImage
from reidstream_engines.spec import InputSpec
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from tests.support.harness import Pixels, encode, picture, raw_image, real_engine, stream_to, stub_of
from tests.support.http import form, http_serving, http_to
from tests.support.kserve import Tensor, http_rows, infer_over_http, kserve_stub, request, rows

MODEL = "stripes"
SPEC = real_engine().spec.input
INPUT = SPEC.name


def network_input(pixels: Pixels, spec: InputSpec = SPEC) -> npt.NDArray[np.float32]:
    """What a client sends that preprocesses as the server does."""
    height, width = pixels.shape[:2]
    image = RawImage(
        data=pixels.tobytes(),
        format=PixelFormat.BGR,
        width=width,
        height=height,
        stride=3 * width,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )
    box = PixelBox(x1=0, y1=0, x2=width, y2=height)
    tensor = np.empty((len(spec.mean), spec.height, spec.width), np.float32)
    with CpuStager(JpegDecoder(None)).stage(image, [box]) as frame:
        Preprocessor(spec).write(frame, box, tensor, Scratch(spec))
    return tensor


async def test_a_picture_has_one_vector_at_all_doors() -> None:
    """A frame with one box, alone in its batch: the stream, the unary call, REST, and both wires of the protocol."""
    jpeg = encode(picture(64, 160, seed=5))
    corners = (5.0, 7.0, 60.0, 150.0)
    box = image_pb2.Box(rect=image_pb2.Rect(x1=corners[0], y1=corners[1], x2=corners[2], y2=corners[3]))
    message = frame_pb2.Frame(frame_id=1, encoded=image_pb2.EncodedImage(data=jpeg), boxes=[box])
    tensors = (Tensor.picture(jpeg), Tensor.of("boxes", np.array([corners], np.float32)))
    async with (
        http_serving(real_engine(), kserve=True) as server,
        stream_to(server) as stream,
        stub_of(server.port) as unary,
        kserve_stub(server) as kserve,
        http_to(server) as http,
    ):
        await stream.open()
        await stream.call.write(service_pb2.EmbedStreamRequest(frame=message))
        expected = np.frombuffer((await stream.result()).blocks[0].data, "<f4")
        options = session_pb2.EmbedOptions(camera_id="c")
        called = (await unary.Embed(service_pb2.EmbedRequest(options=options, frame=message))).result
        body, headers = form(jpeg, boxes=json.dumps([corners]))
        rest = (await http.ask("POST", "/embed", body, headers)).json["boxes"][0]["embedding"]
        found = {
            "unary": np.frombuffer(called.blocks[0].data, "<f4"),
            "rest": np.array(rest, np.float64).astype(np.float32),
            "grpc": rows(await kserve.ModelInfer(request(*tensors, model=MODEL)))[0],
            "http, bytes": http_rows(await infer_over_http(http, MODEL, *tensors))[0],
            "http, numbers": http_rows(await infer_over_http(http, MODEL, *tensors, binary=False))[0],
        }
    assert np.linalg.norm(expected) == pytest.approx(1, abs=1e-6)
    assert {name: np.array_equal(vector, expected) for name, vector in found.items()} == dict.fromkeys(found, True)


async def test_a_crop_has_one_vector_in_every_form() -> None:
    """As pixels of any size, as pixels of the network's size, and as the network's input: what the stream answers for
    the same pixels.
    """
    pixels = picture(SPEC.width, SPEC.height, seed=6)
    large = picture(90, 200, seed=7)

    def rgb(bgr: Pixels) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

    small_first = rgb(pixels).transpose(2, 0, 1)[None]
    sent = {
        "tensor": Tensor.of(INPUT, network_input(pixels)[None]),
        "planes": Tensor.of(INPUT, np.ascontiguousarray(small_first)),
        "pixels": Tensor.of("image", rgb(pixels)[None]),
        "large, tensor": Tensor.of(INPUT, network_input(large)[None]),
        "large, pixels": Tensor.of("image", rgb(large)[None]),
    }
    async with (
        http_serving(real_engine(), kserve=True) as server,
        stream_to(server) as stream,
        kserve_stub(server) as kserve,
        http_to(server) as http,
    ):
        await stream.open()
        streamed = {}
        for number, (name, crop) in enumerate((("", pixels), ("large", large)), 1):
            crops = frame_pb2.CropList(crops=[image_pb2.Crop(raw=raw_image(crop))])
            await stream.call.write(service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(frame_id=number, crops=crops)))
            streamed[name] = np.frombuffer((await stream.result()).blocks[0].data, "<f4")
        for name, tensor in sent.items():
            expected = streamed["large" if name.startswith("large") else ""]
            answer = await kserve.ModelInfer(request(tensor, model=MODEL))
            assert np.array_equal(rows(answer)[0], expected), name
            assert np.array_equal(http_rows(await infer_over_http(http, MODEL, tensor))[0], expected), name


async def test_half_precision_is_computed_as_its_numbers_are() -> None:
    """The network gets float32, made of the numbers that came."""
    half = network_input(picture(64, 160, seed=8))[None].astype(np.float16)
    async with http_serving(real_engine(), kserve=True) as server, kserve_stub(server) as kserve:
        found = rows(await kserve.ModelInfer(request(Tensor.of(INPUT, half), model=MODEL)))
        full = rows(await kserve.ModelInfer(request(Tensor.of(INPUT, half.astype(np.float32)), model=MODEL)))
    assert np.array_equal(found, full)


async def test_a_request_larger_than_a_batch_is_answered_in_its_order() -> None:
    """The scheduler splits it, as it splits the boxes of a frame; a row is the one of its crop."""
    crops = np.stack([network_input(picture(64, 160, seed=seed)) for seed in range(4)])
    many = np.tile(crops, (20, 1, 1, 1))  # more than the engine takes at a time
    async with http_serving(real_engine(), kserve=True) as server, kserve_stub(server) as kserve:
        alone = [rows(await kserve.ModelInfer(request(Tensor.of(INPUT, crop[None]), model=MODEL)))[0] for crop in crops]
        found = rows(await kserve.ModelInfer(request(Tensor.of(INPUT, many), model=MODEL)))
    assert len(many) > real_engine().limits.max_batch
    np.testing.assert_allclose(found, np.tile(np.stack(alone), (20, 1)), atol=1e-6)
