"""The engine on OpenVINO: the same rows as on onnxruntime, the precision that was asked for, and its own faults."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from reidstream_engines import default_model
from reidstream_engines.cores import usable_cores
from reidstream_engines.cpu import openvino_network
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.onnxruntime_network import OnnxRuntimeNetwork, open_onnxruntime
from reidstream_engines.cpu.openvino_network import open_openvino
from reidstream_engines.cpu.options import InferenceRuntime, OnnxOptions, Precision
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import EngineFault, ModelError, PackageMissing
from reidstream_engines.protocol import BoxCrop, Crop, Engine, Health
from reidstream_engines.selftest import self_test
from reidstream_engines.spec import ModelSpec
from tests.unit.engines.networks import (
    DIM,
    HEIGHT,
    WIDTH,
    boxes,
    channel_means,
    convolution,
    noise,
    save,
    spec,
    tensor,
)

openvino = pytest.mark.needs("openvino")


def options(precision: Precision = Precision.FP32, slots: int = 2) -> OnnxOptions:
    return OnnxOptions(runtime=InferenceRuntime.OPENVINO, precision=precision, max_batch=8, slots=slots)


def engine_of(path: Path, model: ModelSpec | None = None, precision: Precision = Precision.FP32) -> OnnxEngine:
    model = spec() if model is None else model
    return OnnxEngine(open_openvino(path, model, options(precision)), model, options(precision))


def on_onnxruntime(path: Path) -> OnnxEngine:
    chosen = OnnxOptions(max_batch=8, slots=2)
    return OnnxEngine(OnnxRuntimeNetwork(open_onnxruntime(path, chosen), spec(), chosen.providers), spec(), chosen)


def computes_bf16() -> bool:
    return "BF16" in openvino_network._openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def crops() -> list[Crop]:
    frame = CpuStager().stage(noise(), boxes(8))
    return [BoxCrop(frame=frame, box=box) for box in boxes(8)]


@openvino
def test_it_is_an_engine_that_says_what_it_is(tmp_path: Path) -> None:
    """fp32 unless asked otherwise, also where bf16 would be faster."""
    engine: Engine = engine_of(convolution(tmp_path / "m.onnx"))
    info = engine.info
    assert (info.engine, info.device, info.precision, info.fallback_reason) == ("openvino", "cpu", "fp32", "")
    assert engine.health() is Health.SERVING
    engine.close()
    assert engine.health() is Health.LOST


@openvino
@pytest.mark.parametrize("batch", ["batch", 1, 3, 16])
def test_the_same_rows_as_onnxruntime(tmp_path: Path, crops: list[Crop], batch: int | str) -> None:
    """For every count, whether the file fixes its batch size or not, big batches first."""
    expected = on_onnxruntime(convolution(tmp_path / "free.onnx")).submit(crops).result()
    engine = engine_of(convolution(tmp_path / "m.onnx", batch=batch))
    for count in range(8, 0, -1):
        rows = engine.submit(crops[:count]).result()
        assert rows.shape == (count, DIM)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, expected[:count], rtol=0, atol=1e-5)


@openvino
def test_rows_are_the_callers_to_keep(tmp_path: Path, crops: list[Crop]) -> None:
    """A request's answer is overwritten by its next call; what was handed out is not."""
    engine = engine_of(convolution(tmp_path / "m.onnx"))
    first = engine.submit(crops[:1]).result()
    kept = first.copy()
    second = engine.submit(crops[1:2]).result()
    np.testing.assert_array_equal(first, kept)
    assert not np.allclose(first, second)


@openvino
def test_many_threads_with_many_open_tickets(tmp_path: Path, crops: list[Crop]) -> None:
    """More threads than streams; no two share a request or a buffer."""
    engine = engine_of(convolution(tmp_path / "m.onnx"))
    alone = np.concatenate([engine.submit([crop]).result() for crop in crops])

    def work(shift: int) -> float:
        worst = 0.0
        for turn in range(20):
            order = np.roll(np.arange(8), shift + turn)
            tickets = [engine.submit([crops[i] for i in part]) for part in (order[:3], order[3:])]
            rows = np.concatenate([ticket.result() for ticket in tickets])
            worst = max(worst, float(np.abs(rows - alone[order]).max()))
        return worst

    with ThreadPoolExecutor(4) as threads:
        assert max(threads.map(work, range(4))) < 1e-5


@openvino
def test_bf16_is_computed_and_reported_or_refused(tmp_path: Path, crops: list[Crop]) -> None:
    """Near fp32 but not equal to it, which proves that it was used; the self-test passes with its wider tolerance."""
    path = convolution(tmp_path / "m.onnx")
    if not computes_bf16():
        with pytest.raises(ModelError, match="bf16"):
            engine_of(path, precision=Precision.BF16)
        return
    engine = engine_of(path, precision=Precision.BF16)
    assert (engine.info.precision, engine.info.fallback_reason) == ("bf16", "")
    exact = engine_of(path).submit(crops).result()
    difference = np.abs(engine.submit(crops).result() - exact).max()
    assert 1e-5 < difference < 1e-2
    self_test(engine, CpuStager())


@openvino
def test_bf16_that_no_layer_is_computed_in_is_a_fallback(tmp_path: Path) -> None:
    """Nothing but a pooling: whatever was asked for, the engine says what it is."""
    path = channel_means(tmp_path / "m.onnx")
    if not computes_bf16():
        with pytest.raises(ModelError, match="bf16"):
            engine_of(path, spec(dim=3), Precision.BF16)
        return
    info = engine_of(path, spec(dim=3), Precision.BF16).info
    assert info.precision == "fp32"
    assert "bf16 was asked for" in info.fallback_reason


def test_bf16_on_a_cpu_without_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO itself would compute in fp32 and say nothing."""

    class OldCpu:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino_network, "_openvino", lambda: SimpleNamespace(Core=OldCpu))
    with pytest.raises(ModelError, match=r"does not compute in bf16, only in FP32, INT8"):
        open_openvino(convolution(tmp_path / "m.onnx"), spec(), options(Precision.BF16))


def test_without_the_package_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error, and no other runtime in its place."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(PackageMissing, match=r"pip install 'reidstream-engines\[openvino\]'"):
        load_onnx(default_model.PATH, name=None, profile=None, options=options())


@openvino
def test_nothing_is_reported_over_the_network(tmp_path: Path) -> None:
    """In a fresh process. OpenVINO keeps the identity that it reports under in ~/intel."""
    code = (
        "import socket, sys, threading\n"
        "socket.getaddrinfo = lambda *a, **k: sys.exit('asked for ' + str(a[0]))\n"
        "from reidstream_engines.cli import main\n"
        "main(['inspect', 'default', '--runtime', 'openvino'])\n"
        "assert [thread.name for thread in threading.enumerate()] == ['MainThread']\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "openvino on cpu" in done.stdout
    assert not (tmp_path / "intel").exists()


@openvino
def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """By onnxruntime, which reads the signature, and by OpenVINO alone."""
    path = tmp_path / "m.onnx"
    path.write_bytes(default_model.PATH.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"m\.onnx"):
        load_onnx(path, name=None, profile=None, options=options())
    with pytest.raises(ModelError, match=r"OpenVINO cannot run .*m\.onnx"):
        open_openvino(path, spec(), options())


@openvino
def test_a_network_that_only_onnxruntime_can_run_is_refused(tmp_path: Path) -> None:
    """An operator that OpenVINO has not."""
    path = tmp_path / "m.onnx"
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Scaler", ["flat"], ["embedding"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    load_onnx(path, name=None, profile="torchreid", options=OnnxOptions()).close()
    with pytest.raises(ModelError, match="Scaler"):
        load_onnx(path, name=None, profile="torchreid", options=options())


def as_many_rows_as_the_brightest_pixel_says(path: Path) -> Path:
    """Fails inside the runtime, and by its input alone."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("ReduceMax", ["input"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["count"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["count", "one"], ["counts"]),
        helper.make_node("Concat", ["counts", "three"], ["shape"], axis=0),
        helper.make_node("Reshape", ["pooled", "shape"], ["embedding"]),
    ]
    return save(path, nodes, "batch", 3, one=np.array([1], np.int64), three=np.array([3], np.int64))


@openvino
def test_a_fault_inside_openvino_has_its_cause(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An EngineFault; the engine goes on, and nothing is printed. On a single core OpenVINO raises nothing itself: it
    answers with nothing, which is a fault, too.
    """
    engine = engine_of(as_many_rows_as_the_brightest_pixel_says(tmp_path / "m.onnx"), spec(dim=3))
    raises = usable_cores() > 1
    said = "openvino failed on a batch of 1" if raises else r"answered float32 \(0, 0\) to a batch of 1"
    with pytest.raises(EngineFault, match=said) as caught:
        engine.submit([tensor(2.0)]).result()
    assert (caught.value.__cause__ is not None) == raises
    assert engine.submit([tensor(1.0)]).result().shape == (1, 3)
    assert capfd.readouterr().err == ""


@openvino
def test_answers_of_another_shape_or_not_finite_are_faults(tmp_path: Path) -> None:
    """As with any runtime."""
    path = channel_means(tmp_path / "m.onnx")
    with pytest.raises(EngineFault, match=r"\(1, 3\).*\(1, 4\)"):
        engine_of(path, spec(dim=4)).submit([tensor(1.0)]).result()
    engine = engine_of(path, spec(dim=3))
    with pytest.raises(EngineFault, match=r"not finite in rows \[1\]"):
        engine.submit([tensor(1.0), tensor(np.nan)]).result()
    assert np.isfinite(engine.submit([tensor(1.0)]).result()).all()


@openvino
def test_runtime_and_float_precision_do_not_change_the_space() -> None:
    """Galleries made on one runtime stay good on the other."""
    chosen: list[OnnxOptions] = [OnnxOptions(), options()]
    if computes_bf16():
        chosen.append(options(Precision.BF16))
    engines = [load_onnx(default_model.PATH, name=None, profile=None, options=item) for item in chosen]
    assert len({engine.spec.space_id for engine in engines}) == 1
    assert len({(engine.info.engine, engine.info.precision) for engine in engines}) == len(chosen)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": Precision.BF16}, "bf16 needs runtime openvino"),
        (
            {"runtime": InferenceRuntime.OPENVINO, "spinning": True},
            "providers and spinning are options",
        ),
        ({"runtime": InferenceRuntime.OPENVINO, "providers": ("OtherExecutionProvider",)}, "providers and spinning"),
    ],
)
def test_options_that_do_not_fit_the_runtime_are_refused(wrong: dict[str, Any], message: str) -> None:
    """Never ignored."""
    with pytest.raises(ModelError, match=message):
        OnnxOptions(**wrong)
