"""`plan_for`: built once, found again while nothing has changed, and what it refuses; and the imports it stands on."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from reidstream_engines.errors import DeviceUnavailable, ModelError, PlanError
from reidstream_engines.space import sha256_file
from reidstream_engines.tensorrt.api import Flavour, TensorType, device_memory_size, load_tensorrt, tensor_type
from reidstream_engines.tensorrt.cache import PLAN, Plan, PlanCache
from reidstream_engines.tensorrt.fp16 import EXPORTER
from reidstream_engines.tensorrt.manifest import Origin, PlanPrecision
from reidstream_engines.tensorrt.plans import plan_for
from tests.unit.engines.networks import HEIGHT, WIDTH, convolution, spec
from tests.unit.engines.tensorrt.fake_builder import PLAN as PREFIX
from tests.unit.engines.tensorrt.fake_builder import TIMING, FakeTensorRt, Script


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    fake = FakeTensorRt()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return fake


def plan(path: Path, tmp_path: Path, **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "architecture": "sm_90",
        "precision": PlanPrecision.FP16,
        "max_batch": 16,
        "cache": PlanCache(root=tmp_path / "plans"),
    }
    return plan_for(path, changes.pop("spec", spec()), **(given | changes))


def test_a_plan_is_built_once(trt: FakeTensorRt, tmp_path: Path) -> None:
    """With a manifest that says all of it."""
    path = convolution(tmp_path / "m.onnx")
    made = plan(path, tmp_path)
    assert plan(path, tmp_path) == made
    assert trt.script.builds == 1
    manifest = made.manifest
    assert (manifest.origin, manifest.model, manifest.artifact_sha256) == (Origin.BUILT, "toy", "0" * 64)
    assert manifest.key.source_sha256 == sha256_file(path)
    assert (manifest.key.precision, manifest.key.exporter) == (PlanPrecision.FP16, EXPORTER)
    assert manifest.key.image_shape == (3, HEIGHT, WIDTH)
    assert (manifest.input.dtype, manifest.output.dtype) == (TensorType.FP16, TensorType.FP32)
    assert (manifest.max_batch, manifest.static_batch) == (16, None)


def test_fp16_is_in_the_graph_and_fp32_is_the_file_itself(trt: FakeTensorRt, tmp_path: Path) -> None:
    """TensorRT is never asked to choose."""
    del trt
    path = convolution(tmp_path / "m.onnx")
    full = plan(path, tmp_path, precision=PlanPrecision.FP32)
    assert full.image == PREFIX + path.read_bytes()
    half = onnx.load_from_string(plan(path, tmp_path).image.removeprefix(PREFIX))
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16


CHANGES: dict[str, dict[str, Any]] = {
    "another GPU": {"architecture": "sm_89"},
    "another precision": {"precision": PlanPrecision.FP32},
    "another batch": {"max_batch": 17},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_plan_makes_another(change: str, trt: FakeTensorRt, tmp_path: Path) -> None:
    """And the first one stays."""
    path = convolution(tmp_path / "m.onnx")
    plan(path, tmp_path)
    plan(path, tmp_path, **CHANGES[change])
    plan(path, tmp_path)
    assert trt.script.builds == 2


def test_another_tensorrt_and_other_weights_make_another(trt: FakeTensorRt, tmp_path: Path) -> None:
    """Also weights that lie beside the file, whose own bytes stay the same."""
    path = convolution(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    plan(path, tmp_path)
    trt.__version__ = "11.4.1"
    plan(path, tmp_path)
    assert trt.script.builds == 2
    data = bytearray((tmp_path / "m.data").read_bytes())
    data[0] ^= 1
    (tmp_path / "m.data").write_bytes(data)
    plan(path, tmp_path)
    assert trt.script.builds == 3


def test_preprocessing_makes_no_other_plan(trt: FakeTensorRt, tmp_path: Path) -> None:
    """It happens before the network."""
    path = convolution(tmp_path / "m.onnx")
    plan(path, tmp_path)
    plan(path, tmp_path, spec=replace(spec(), input=replace(spec().input, scale=1.0)))
    assert trt.script.builds == 1


def test_a_static_batch_is_what_the_file_says(trt: FakeTensorRt, tmp_path: Path) -> None:
    """The key has what was asked for, so it is found again."""
    path = convolution(tmp_path / "m.onnx", 4)
    manifest = plan(path, tmp_path).manifest
    assert (manifest.max_batch, manifest.static_batch, manifest.key.max_batch) == (4, 4, 16)
    plan(path, tmp_path)
    assert trt.script.builds == 1


def test_a_damaged_plan_is_built_again(trt: FakeTensorRt, tmp_path: Path) -> None:
    """Nothing of it reaches TensorRT."""
    path = convolution(tmp_path / "m.onnx")
    made = plan(path, tmp_path)
    (made.folder / PLAN).write_bytes(b"damaged")
    assert plan(path, tmp_path) == made
    assert trt.script.builds == 2


def test_the_second_build_has_the_timings_of_the_first(trt: FakeTensorRt, tmp_path: Path) -> None:
    """Whatever the model."""
    path = convolution(tmp_path / "m.onnx")
    plan(path, tmp_path)
    plan(path, tmp_path, max_batch=17)
    assert trt.script.timing == [b"", TIMING]


def test_who_waited_finds_what_the_other_built(trt: FakeTensorRt, tmp_path: Path) -> None:
    """Two servers that start together build one plan."""
    path = convolution(tmp_path / "m.onnx")
    cache = PlanCache(root=tmp_path / "plans")
    with ThreadPoolExecutor(2) as pool:
        with cache.building():
            both = [pool.submit(plan, path, tmp_path) for _ in range(2)]
            assert trt.script.builds == 0
        assert both[0].result() == both[1].result()
    assert trt.script.builds == 1


def test_progress_is_told_only_of_builds(trt: FakeTensorRt, tmp_path: Path) -> None:
    """One that is found needs none."""
    del trt
    path = convolution(tmp_path / "m.onnx")
    seen: list[float] = []
    plan(path, tmp_path, progress=lambda fraction, _: seen.append(fraction))
    told = len(seen)
    assert seen[-1] == 1
    plan(path, tmp_path, progress=lambda fraction, _: seen.append(fraction))
    assert len(seen) == told


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins anew."""
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt(Script(fails=frozenset({"build"}))))
    with pytest.raises(PlanError, match="something is wrong"):
        plan(convolution(tmp_path / "m.onnx"), tmp_path)
    assert [path.name for path in (tmp_path / "plans").iterdir()] == [".lock"]


def test_what_makes_no_sense_is_refused(trt: FakeTensorRt, tmp_path: Path) -> None:
    """Before anything is read."""
    del trt
    with pytest.raises(PlanError, match="at least 1 crop"):
        plan(tmp_path / "m.onnx", tmp_path, max_batch=0)
    with pytest.raises(PlanError, match="fp32 or fp16"):
        plan(tmp_path / "m.onnx", tmp_path, precision=PlanPrecision.UNKNOWN)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        plan(tmp_path / "m.onnx", tmp_path)


@pytest.mark.parametrize(
    ("flavour", "remedy"),
    [(Flavour.TENSORRT, "NVIDIA's package index (docs/gpu.md"), (Flavour.RTX, "pip install tensorrt-rtx")],
)
def test_a_missing_package_says_how_to_get_it(
    flavour: Flavour, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose libraries do not load, and a folder that only has its name."""
    for broken in (None, SimpleNamespace(__version__="11"), SimpleNamespace(Builder=1)):
        monkeypatch.setitem(sys.modules, flavour.value, broken)
        with pytest.raises(DeviceUnavailable) as raised:
            plan(tmp_path / "m.onnx", tmp_path, flavour=flavour)
        assert remedy in str(raised.value)


def test_libraries_that_do_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are what an import of the bindings alone ends with."""
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.11: cannot open shared object file')", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(DeviceUnavailable, match=r"libnvinfer\.so\.11"):
        load_tensorrt(Flavour.TENSORRT)


def test_names_of_versions() -> None:
    """Memory has two names; types have one, and those that are not served are said."""
    old: Any = SimpleNamespace(device_memory_size=3)
    new: Any = SimpleNamespace(device_memory_size_v2=4, device_memory_size=3)
    assert (device_memory_size(old), device_memory_size(new)) == (3, 4)
    assert tensor_type(SimpleNamespace(name="HALF")) is TensorType.FP16
    with pytest.raises(ModelError, match="a tensor has type INT8; the supported types are FLOAT, HALF, UINT8"):
        tensor_type(SimpleNamespace(name="INT8"))
