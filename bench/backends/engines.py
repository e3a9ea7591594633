"""The backends of a CPU that are compared, and how long each takes.

A backend is an inference library with a precision. Trap: other work on the machine slows one backend and not the next,
so they take turns, batch by batch, and only medians count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from bench.accuracy.data import Bgr
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import InferenceRuntime, OnnxOptions, Precision
from reidstream_engines.protocol import TensorCrop
from reidstream_engines.quantize import find_crops, quantize

from .golden import BATCH, Floats

PROFILE = "torchreid"
ROUNDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A way to run a model. `int8`: from the quantised file instead of the model's own."""

    name: str
    runtime: InferenceRuntime
    precision: Precision = Precision.FP32
    int8: bool = False


BACKENDS = (
    Backend(name="onnxruntime fp32", runtime=InferenceRuntime.ONNXRUNTIME),
    Backend(name="openvino fp32", runtime=InferenceRuntime.OPENVINO),
    Backend(name="openvino bf16", runtime=InferenceRuntime.OPENVINO, precision=Precision.BF16),
    Backend(name="onnxruntime int8", runtime=InferenceRuntime.ONNXRUNTIME, int8=True),
    Backend(name="openvino int8", runtime=InferenceRuntime.OPENVINO, int8=True),
    Backend(name="openvino int8+bf16", runtime=InferenceRuntime.OPENVINO, precision=Precision.BF16, int8=True),
)


def made_int8(model: Path, crops: Sequence[Bgr], folder: Path) -> Path:
    """The model in INT8, calibrated with these crops, as a file in `folder`."""
    pictures = folder / "crops"
    pictures.mkdir()
    for index, crop in enumerate(crops):
        cv2.imwrite(str(pictures / f"{index:04d}.png"), crop)
    target = folder / "int8.onnx"
    quantize(model, target, profile=PROFILE, crops=find_crops(pictures), tick=lambda: None)
    return target


def open_backends(model: Path, int8: Path) -> dict[str, OnnxEngine]:
    """Every backend on one thread, by name."""
    engines = {}
    for backend in BACKENDS:
        options = OnnxOptions(runtime=backend.runtime, precision=backend.precision, max_batch=BATCH, slots=1)
        path, profile = (int8, None) if backend.int8 else (model, PROFILE)
        engines[backend.name] = load_onnx(path, name=None, profile=profile, options=options)
    return engines


def times(engines: dict[str, OnnxEngine], batch: Floats) -> dict[str, list[float]]:
    """Milliseconds for a crop in each round, by backend; in a round, each computes one batch."""
    crops = [TensorCrop(tensor=tensor) for tensor in batch]
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(ROUNDS + 2):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.submit(crops).result()
            if turn >= 2:  # noqa: PLR2004 - the first two warm up
                taken[name].append((time.perf_counter() - start) * 1e3 / len(crops))
    return taken
