"""Real builds, with tensorrt_rtx, which needs no GPU: both precisions, and what is refused."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cuda.probe import probe
from reidstream_engines.errors import DeviceUnavailable, ModelError, PlanError
from reidstream_engines.tensorrt.api import Flavour, TensorType, load_tensorrt
from reidstream_engines.tensorrt.builder import BuildRequest, build_plan
from reidstream_engines.tensorrt.cache import PLAN, Plan, PlanCache
from reidstream_engines.tensorrt.examine import examine
from reidstream_engines.tensorrt.manifest import PlanPrecision
from reidstream_engines.tensorrt.messages import Messages, logger_for
from reidstream_engines.tensorrt.plans import plan_for
from tests.golden.wire import MODELS
from tests.unit.engines.networks import HEIGHT, WIDTH, convolution, save, spec

pytestmark = pytest.mark.needs("tensorrt-rtx")

TARGET = "sm_89"


def built(path: Path, tmp_path: Path, precision: PlanPrecision, **changes: Any) -> Plan:
    return plan_for(
        path,
        changes.get("spec", spec()),
        architecture=TARGET,
        precision=precision,
        max_batch=8,
        cache=PlanCache(root=tmp_path / "plans"),
        flavour=Flavour.RTX,
    )


def refused(model: bytes, tmp_path: Path) -> str:
    request = BuildRequest(
        model=model,
        path=tmp_path / "m.onnx",
        spec=spec(),
        image=TensorType.FP32,
        architecture=TARGET,
        max_batch=4,
    )
    with pytest.raises(ModelError) as raised:
        build_plan(load_tensorrt(Flavour.RTX), Flavour.RTX, request)
    return str(raised.value)


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("precision", [PlanPrecision.FP32, PlanPrecision.FP16])
@pytest.mark.parametrize("model", MODELS)
def test_real_networks(model: str, precision: PlanPrecision, shared_data: Path, tmp_path: Path) -> None:
    """Both files, kept and found again; progress is told; in fp16 the plan is the smaller one."""
    path = shared_data / "models" / f"{model}.onnx"
    wanted = load_onnx(path, name=None, profile="torchreid", options=OnnxOptions()).spec
    seen: list[float] = []

    def plan() -> Plan:
        return plan_for(
            path,
            wanted,
            architecture=TARGET,
            precision=precision,
            max_batch=64,
            cache=PlanCache(root=tmp_path),
            progress=lambda fraction, _: seen.append(fraction),
            flavour=Flavour.RTX,
        )

    made = plan()
    assert seen == sorted(seen)
    assert seen[-1] == 1
    told = len(seen)
    half = precision is PlanPrecision.FP16
    assert made.manifest.input.dtype is (TensorType.FP16 if half else TensorType.FP32)
    assert made.manifest.input.shape == (-1, 3, 256, 128)
    assert (made.manifest.output.dtype, made.manifest.output.shape) == (TensorType.FP32, (-1, 512))
    assert (made.manifest.max_batch, made.manifest.static_batch) == (64, None)
    assert plan() == made
    assert len(seen) == told
    assert len(made.image) > (path.stat().st_size // 2 if half else path.stat().st_size)


def test_a_static_batch(tmp_path: Path) -> None:
    """Is what the file says, whatever was asked for."""
    for precision in (PlanPrecision.FP32, PlanPrecision.FP16):
        manifest = built(convolution(tmp_path / "m.onnx", 3), tmp_path, precision).manifest
        assert (manifest.static_batch, manifest.max_batch, manifest.key.max_batch) == (3, 3, 8)
        assert manifest.input.shape == (3, 3, HEIGHT, WIDTH)


def test_a_norm_and_an_epsilon_build(tmp_path: Path) -> None:
    """Islands of float32 within float16, with casts between them, fit together for TensorRT as well."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("ReduceL2", ["flat"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Max", ["length", "epsilon"], ["safe"]),
        helper.make_node("Div", ["flat", "safe"], ["embedding"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, "batch", 3, epsilon=np.array([1e-12], np.float32))
    assert built(path, tmp_path, PlanPrecision.FP16, spec=spec(dim=3)).manifest.input.dtype is TensorType.FP16


def test_no_garbage_is_collected_while_tensorrt_holds_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It warns of an older builder while it makes another; the end of a forgotten one would wait for ever."""
    trt, said = load_tensorrt(Flavour.RTX), Messages()
    logger = logger_for(trt, said)
    forgotten = trt.Builder(logger)
    collecting: list[bool] = []
    monkeypatch.setattr(Messages, "add", lambda *_: collecting.append(gc.isenabled()))
    refused(b"no ONNX", tmp_path)
    assert not collecting[0]
    assert gc.isenabled()
    del forgotten


def test_garbage_is_refused(tmp_path: Path) -> None:
    """With the file's name."""
    assert "TensorRT cannot run " in refused(b"no ONNX" * 99, tmp_path)
    assert "m.onnx" in refused(b"", tmp_path)
    assert "TensorRT cannot run " in refused(convolution(tmp_path / "m.onnx").read_bytes()[:-500], tmp_path)


def test_an_operator_that_tensorrt_has_not_is_named(tmp_path: Path) -> None:
    """With its node."""
    nodes = [
        helper.make_node("Exotic", ["input"], ["maps"], name="odd", domain="nowhere"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    text = refused(save(tmp_path / "m.onnx", nodes, "batch", 3).read_bytes(), tmp_path)
    assert "node odd (Exotic)" in text


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    """Both are named."""
    model = onnx.load(convolution(tmp_path / "m.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 12]))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Mul", ["before", "mask"], ["embedding"]))
    assert "2 inputs (input, mask)" in refused(model.SerializeToString(), tmp_path)


def test_another_size_is_refused(tmp_path: Path) -> None:
    """Both are said."""
    model = onnx.load(convolution(tmp_path / "m.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2 * HEIGHT
    text = refused(model.SerializeToString(), tmp_path)
    assert f"input [-1, 3, {2 * HEIGHT}, {WIDTH}]; the spec says input [batch, 3, {HEIGHT}, {WIDTH}]" in text


def test_other_outputs_are_left_out(tmp_path: Path) -> None:
    """One that is missing is said."""
    model = onnx.load(convolution(tmp_path / "m.onnx"))
    model.graph.output.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "two.onnx")
    assert built(tmp_path / "two.onnx", tmp_path, PlanPrecision.FP32).manifest.output.name == "embedding"
    del model.graph.output[0]
    assert "no output 'embedding'; it has maps" in refused(model.SerializeToString(), tmp_path)


def test_a_real_runtime_in_a_child(tmp_path: Path) -> None:
    """Without a driver this version refuses, and others end the process: either is an error with its reason."""
    plan = built(convolution(tmp_path / "m.onnx"), tmp_path, PlanPrecision.FP16)
    try:
        probe()
    except DeviceUnavailable:
        with pytest.raises(PlanError, match=r"cudaError 35|ended with SIG"):
            examine(plan.folder / PLAN, Flavour.RTX)
        return
    found = examine(plan.folder / PLAN, Flavour.RTX)
    assert (found.least_batch, found.most_batch) == (1, 8)
    assert found.inputs == (plan.manifest.input,)


@pytest.mark.parametrize("zero", [0, 3])
def test_quantised_files(zero: int, tmp_path: Path) -> None:
    """Symmetric ones build as they are; TensorRT knows no others, and names the node."""
    kernel = np.random.default_rng(0).integers(-100, 100, (12, 3, 8, 8)).astype(np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["small"], name="into"),
        helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["pixels"]),
        helper.make_node("DequantizeLinear", ["kernel", "scale", "none"], ["weights"]),
        helper.make_node("Conv", ["pixels", "weights"], ["maps"], strides=[4, 4]),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    constants: dict[str, Any] = {
        "scale": np.array(0.1, np.float32),
        "zero": np.array(zero, np.int8),
        "none": np.array(0, np.int8),
        "kernel": kernel,
    }
    path = save(tmp_path / "m.onnx", nodes, "batch", 12, **constants)
    if zero:
        assert "node into (QuantizeLinear)" in refused(path.read_bytes(), tmp_path)
    else:
        assert built(path, tmp_path, PlanPrecision.FP32).manifest.input.dtype is TensorType.FP32
