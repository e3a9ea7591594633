"""The float16 form of a model, which TensorRT is given, against all golden vectors. onnxruntime computes it here.

Optimisations are off, so that every result is rounded to float16, as nodes say. Without a GPU this is the nearest there
is to a plan: the graph's rounding, not TensorRT's order of summing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bench.backends.golden import Reader
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.tensorrt.fp16 import export_fp16
from tests.golden.wire import MODELS

pytestmark = pytest.mark.needs("shared-data")

MIN_COSINE = 0.999


@pytest.mark.parametrize("model", MODELS)
def test_fp16_stays_near(model: str, shared_data: Path) -> None:
    """All 142 crops; only shapes are computed in anything else."""
    path = shared_data / "models" / f"{model}.onnx"
    spec = load_onnx(path, name=None, profile="torchreid", options=OnnxOptions()).spec
    half = export_fp16(path)
    assert half.kept == ()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(half.data, options, providers=["CPUExecutionProvider"])
    reader = Reader(spec.input)
    cosines = []
    for name in ("mot17mini", "market_style", "edgeboxes"):
        golden = reader.golden(shared_data, name, model)
        tensors = np.asarray(golden.tensors, np.float16)
        for start in range(0, len(tensors), 8):
            (rows,) = session.run([spec.output.name], {spec.input.name: tensors[start : start + 8]})
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            cosines.append((rows * golden.vectors[start : start + 8]).sum(axis=1))
    found = np.concatenate(cosines)
    assert len(found) == 142
    assert found.min() >= MIN_COSINE
