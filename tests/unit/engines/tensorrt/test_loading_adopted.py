"""An adopted plan on a device: served under its own spec, by a fake device that computes with onnxruntime."""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.probe import probe
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.errors import PlanError, SpecError
from reidstream_engines.protocol import BoxCrop, Embeddings, Engine, Stager
from reidstream_engines.selftest import noise, noise_boxes
from reidstream_engines.spec_fields import fields_to_mapping
from reidstream_engines.tensorrt.api import Runtime, TensorType
from reidstream_engines.tensorrt.cache import PlanCache
from reidstream_engines.tensorrt.manifest import Origin, PlanPrecision, TensorInfo
from reidstream_engines.tensorrt.messages import Messages
from reidstream_engines.tensorrt.opened_gpu import Gpu, GpuOptions
from tests.unit.engines.cuda.fake_driver import FakeDriver, image
from tests.unit.engines.networks import DIM, HEIGHT, WIDTH, convolution
from tests.unit.engines.tensorrt.fake_builder import FakeTensorRt
from tests.unit.engines.tensorrt.fake_tensorrt import FakeRuntime, Script
from tests.unit.engines.tensorrt.plan_parts import KEY, MANIFEST

pytestmark = pytest.mark.needs("g++")

CROPS = 6


@pytest.fixture(autouse=True)
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt())


@contextmanager
def opened(driver: FakeDriver, script: Script) -> Iterator[Gpu]:
    device = probe(load_library=lambda _: None, open_api=lambda: driver).device(0)

    def make_runtime(messages: Messages) -> tuple[Runtime, object]:
        return FakeRuntime(driver, script, messages), None

    def no_planner(*_: object) -> bytes:
        raise AssertionError("an adopted plan is not built")

    options = GpuOptions(max_batch=8)
    with Gpu(driver, device, options, make_runtime=make_runtime, planner=no_planner, crop_kernel=image) as gpu:
        yield gpu


def kept(
    tmp_path: Path, architecture: str, *, batch: int | None, most: int, taken: TensorType = TensorType.FP32
) -> Path:
    """As `adopt_plan` keeps one; the fake TensorRT's plans are ONNX files."""
    plan = convolution(tmp_path / "net.onnx").read_bytes()
    spec = load_onnx(tmp_path / "net.onnx", name=None, profile="torchreid", options=OnnxOptions()).spec
    sha, axis = hashlib.sha256(plan).hexdigest(), -1 if batch is None else batch
    manifest = replace(
        MANIFEST,
        key=replace(KEY, source_sha256=sha, architecture=architecture, precision=PlanPrecision.UNKNOWN, max_batch=most),
        origin=Origin.ADOPTED,
        artifact_sha256=sha,
        max_batch=most,
        static_batch=batch,
        input=TensorInfo(name="input", dtype=taken, shape=(axis, 3, HEIGHT, WIDTH)),
        output=TensorInfo(name="embedding", dtype=TensorType.FP32, shape=(axis, DIM)),
        plan_sha256=sha,
        plan_bytes=len(plan),
        spec=json.dumps({**fields_to_mapping(spec), "output": "embedding"}),
    )
    return PlanCache(root=tmp_path / "plans").keep(manifest, plan).folder


def rows(engine: Engine, stager: Stager) -> Embeddings:
    boxes = noise_boxes(CROPS)
    with stager.stage(noise(), boxes) as frame:
        crops = [BoxCrop(frame=frame, box=box) for box in boxes]
        size = engine.limits.max_batch
        return np.concatenate([engine.submit(crops[i : i + size]).result() for i in range(0, CROPS, size)])


@pytest.mark.parametrize(("batch", "most", "served"), [(None, 4, 4), (None, 64, 8), (3, 3, 8)])
def test_it_is_served(kernel_library: ctypes.CDLL, tmp_path: Path, batch: int | None, most: int, served: int) -> None:
    """The vectors of the CPU, in batches that the plan takes, or in its pieces."""
    driver = FakeDriver(kernel=kernel_library)
    with opened(driver, Script(batch=batch, profile=(1, most))) as gpu:
        folder = kept(tmp_path, gpu.device.architecture, batch=batch, most=most)
        found = gpu.load(folder, name="mine", profile=None).engine
        assert (found.spec.name, found.limits.max_batch, found.info.precision) == ("mine", served, "unknown")
        stager = gpu.stager(JpegDecoder(None))
        vectors = rows(found, stager)
        stager.close()
        found.close()
    cpu = load_onnx(tmp_path / "net.onnx", name=None, profile="torchreid", options=OnnxOptions())
    assert found.spec.space_id == cpu.spec.space_id
    np.testing.assert_allclose(vectors, rows(cpu, CpuStager()), atol=1e-5)
    assert +driver.live == Counter()


def test_what_does_not_fit_is_said_before_tensorrt_sees_it(kernel_library: ctypes.CDLL, tmp_path: Path) -> None:
    """Another GPU's plan, one that takes bytes, and a profile for one that has its own."""
    with opened(FakeDriver(kernel=kernel_library), Script(refuses_plan=True)) as gpu:
        with pytest.raises(PlanError, match="architecture is 'sm_75', not "):
            gpu.load(kept(tmp_path, "sm_75", batch=None, most=4), name=None, profile=None)
        folder = kept(tmp_path, gpu.device.architecture, batch=None, most=4, taken=TensorType.UINT8)
        with pytest.raises(PlanError, match=r"input input is uint8; .* build the plan from that"):
            gpu.load(folder, name=None, profile=None)
        folder = kept(tmp_path, gpu.device.architecture, batch=None, most=4)
        with pytest.raises(SpecError, match="leave the profile out"):
            gpu.load(folder, name=None, profile="fastreid")
