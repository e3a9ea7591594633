"""The other backends of a CPU against the golden vectors: bounds just below what was measured, so none may get worse.

The figures themselves are in docs/backends.md. What is asked of fp32 is asked of every runtime.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.backends.golden import Reader, embed
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import InferenceRuntime, OnnxOptions, Precision
from reidstream_engines.errors import ModelError
from reidstream_engines.quantize import find_crops, quantize
from tests.golden.wire import MIN_COSINE, MODELS

pytestmark = [pytest.mark.needs("shared-data"), pytest.mark.needs("openvino")]

# (mean, least) over mot17mini and market_style.
BF16_BOUNDS = {"osnet_x0_25_msmt17": (0.997, 0.985), "osnet_x0_5_msmt17": (0.994, 0.965)}
INT8_BOUNDS = (0.975, 0.93)  # mot17mini, of the smaller model; the larger one takes half a minute


def cosines(engine: OnnxEngine, data: Path, model: str, *names: str) -> NDArray[np.float32]:
    reader = Reader(engine.spec.input)
    found = []
    for name in names:
        golden = reader.golden(data, name, model)
        found.append((embed(engine, golden.tensors) * golden.vectors).sum(axis=1))
    return np.concatenate(found)


def on_openvino(data: Path, model: str, precision: Precision) -> OnnxEngine:
    options = OnnxOptions(runtime=InferenceRuntime.OPENVINO, precision=precision, slots=1)
    return load_onnx(data / "models" / f"{model}.onnx", name=None, profile="torchreid", options=options)


@pytest.mark.parametrize("model", MODELS)
def test_openvino_in_fp32_is_as_good_as_any(model: str, shared_data: Path) -> None:
    """Every golden crop, the edge cases too."""
    engine = on_openvino(shared_data, model, Precision.FP32)
    found = cosines(engine, shared_data, model, "mot17mini", "market_style", "edgeboxes")
    assert len(found) == 142
    assert found.min() >= MIN_COSINE


@pytest.mark.parametrize("model", MODELS)
def test_bf16_stays_where_it_was_measured(model: str, shared_data: Path) -> None:
    """Near, and further away than fp32: it is bf16 that was measured. Refused on a CPU that has it not."""
    try:
        engine = on_openvino(shared_data, model, Precision.BF16)
    except ModelError as error:
        assert "does not compute in bf16" in str(error)  # noqa: PT017 - either way is right, by the machine
        return
    found = cosines(engine, shared_data, model, "mot17mini", "market_style")
    mean, least = BF16_BOUNDS[model]
    assert mean <= found.mean() < MIN_COSINE
    assert found.min() >= least


def test_int8_stays_where_it_was_measured(shared_data: Path, tmp_path: Path) -> None:
    """Calibrated with market_style, compared on mot17mini, on both runtimes; its space is not the original's."""
    model = MODELS[0]
    original, target = shared_data / "models" / f"{model}.onnx", tmp_path / "int8.onnx"
    crops = find_crops(shared_data / "crops" / "market_style")
    quantize(original, target, profile="torchreid", crops=crops, tick=lambda: None)
    spaces = {on_openvino(shared_data, model, Precision.FP32).spec.space_id}
    for runtime in InferenceRuntime:
        engine = load_onnx(target, name=None, profile=None, options=OnnxOptions(runtime=runtime, slots=1))
        found = cosines(engine, shared_data, model, "mot17mini")
        mean, least = INT8_BOUNDS
        assert mean <= found.mean() < MIN_COSINE, runtime
        assert found.min() >= least, runtime
        spaces.add(engine.spec.space_id)
    assert len(spaces) == 2
