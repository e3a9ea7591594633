"""What is an engine or a stager by its methods alone, and what a crop is."""

from __future__ import annotations

from typing import assert_never, assert_type

import numpy as np
import numpy.typing as npt

from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.fake import FakeEngine, FakeStager
from reidstream_engines.protocol import BoxCrop, Crop, Engine, Stager, TensorCrop


def those_that_are(onnx: OnnxEngine, fake: FakeEngine, cpu: CpuStager, stager: FakeStager) -> None:
    """Nobody inherits: the methods decide."""
    engines: list[Engine] = [onnx, fake]
    stagers: list[Stager] = [cpu, stager]
    assert_type(engines[0].submit([]).result(), npt.NDArray[np.float32])

    engines.append(cpu)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stagers.append(fake)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def kinds_of_crops(crop: Crop) -> str:
    """Two, and no third."""
    match crop:
        case BoxCrop():
            return "cut from a frame"
        case TensorCrop():
            return "made elsewhere"
        case _:
            assert_never(crop)


def a_tensor_is_float32(tensor: npt.NDArray[np.float64]) -> None:
    """Doubles would be copied, or read as something else."""
    TensorCrop(tensor=tensor)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
