"""The rules of both wires: whatever a request says, it is a job, a fault or a refusal, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_engines.image import PixelFormat, RawImage
from reidstream_engines.spec import ColorOrder
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import CallRefused, InvalidCall
from reidstream_server.intake.frames import FrameIntake
from reidstream_server.intake.limits import FrameLimits, WindowLimits
from reidstream_server.intake.terms import PlainTerms, agree_on_call
from reidstream_server.transport.kserve.asked import Asked, RawTensor, RequestedOutput
from reidstream_server.transport.kserve.http_body import json_length, parse
from reidstream_server.transport.kserve.planning import Planned, plan
from reidstream_server.transport.kserve.tensors import floats, planes
from tests.support.harness import JPEG
from tests.support.models import table_of

SPEC = fake_spec("fake", dim=4)
SMALL = replace(SPEC, input=replace(SPEC.input, width=2, height=4))
MODELS = table_of([FakeEngine(SMALL)])
LIMITS = FrameLimits(
    max_image_pixels=100_000, max_boxes=10, min_box_px=1, max_answer_bytes=10**6, max_staged_bytes=10**6
)
INTAKE = FrameIntake(limits=LIMITS, stager=CpuStager(JpegDecoder(None)))
AGREEMENT = agree_on_call(
    PlainTerms(client="", source="connection of the test", camera_id="c"),
    models=MODELS,
    limits=WindowLimits(max_frames=8, max_bytes=10**9, default_frames=8),
)


def planned(*tensors: RawTensor, outputs: tuple[RequestedOutput, ...] = ()) -> Planned:
    asked = Asked(model="fake", version="", request_id="", inputs=list(tensors), outputs=outputs)
    found = plan(asked, AGREEMENT, MODELS.default, INTAKE)
    assert not asked.inputs  # the job alone has them now
    return found


SHAPES = st.one_of(
    st.just([2, 3, 4, 2]),
    st.just([1, 5, 6, 3]),
    st.just([1]),
    st.just([1, 4]),
    st.lists(st.integers(-2, 2**63), max_size=9),
)
DATA = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([48, 90, 96, 192]).map(bytes),
    st.just(len(JPEG).to_bytes(4, "little") + JPEG),
    st.just(np.array([np.nan, -1e30, np.inf, 5], "<f4").tobytes()),
)
TENSORS = st.builds(
    RawTensor,
    name=st.sampled_from(["input", "image", "boxes", "other"]),
    datatype=st.sampled_from(["FP32", "FP16", "UINT8", "BYTES", "INT64", ""]),
    shape=SHAPES,
    data=DATA,
)


@given(st.lists(TENSORS, max_size=3))
def test_any_tensors_are_a_job_a_fault_or_a_refusal(tensors: list[RawTensor]) -> None:
    """Shapes of any length and size, bytes that do not fit them, and boxes of anything."""
    try:
        found = planned(*tensors)
    except InvalidCall:
        return
    assert isinstance(found.taken, FrameFault) or found.taken[1].fates is not None


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "id", "timeout"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["FP32", "FP16", "UINT8", "BYTES"]))
def test_any_json_is_a_request_or_is_refused(said: object, datatype: str) -> None:
    """Also as the data of a tensor that is right but for that."""
    for value in (said, {"inputs": [{"name": "input", "datatype": datatype, "shape": [1], "data": said}]}):
        body = json.dumps(value).encode()
        try:
            found = parse(body, json_length("", len(body)), "fake", "")
        except CallRefused:
            continue
        assert found.asked.model == "fake"


def test_numbers_are_read_wherever_they_lie() -> None:
    """Behind JSON of any length they lie at any address; what a network reads does not."""
    numbers = np.arange(48, dtype="<f4")
    for offset in range(5):
        view = memoryview(bytes(offset) + numbers.tobytes())[offset:]
        found = floats(RawTensor(name="input", datatype="FP32", shape=[2, 3, 4, 2], data=view))
        assert found.flags.aligned
        assert np.array_equal(found.ravel(), numbers)


@pytest.mark.parametrize(
    ("order", "channels", "pixel_format"),
    [
        (ColorOrder.RGB, 3, PixelFormat.RGB),
        (ColorOrder.BGR, 3, PixelFormat.BGR),
        (ColorOrder.GRAY, 1, PixelFormat.GRAY),
        (ColorOrder.GRAY, 3, PixelFormat.GRAY),
    ],
)
def test_planes_are_pixels_in_the_networks_order(order: ColorOrder, channels: int, pixel_format: PixelFormat) -> None:
    """Of a grey picture one plane is taken: all are the same."""
    spec = replace(SMALL.input, color_order=order, mean=(0.0,) * channels, std=(1.0,) * channels)
    values = np.arange(channels * 8, dtype=np.uint8).reshape(1, channels, 4, 2)
    (image,) = planes(RawTensor(name="input", datatype="UINT8", shape=values.shape, data=values.tobytes()), spec)
    assert isinstance(image, RawImage)
    assert (image.format, image.width, image.height) == (pixel_format, 2, 4)
    kept = values[0, : 1 if order is ColorOrder.GRAY else 3]
    assert image.data == kept.transpose(1, 2, 0).tobytes()
