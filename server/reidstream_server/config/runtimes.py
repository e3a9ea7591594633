"""The runtimes and precisions that can be asked for, by the names that the engines know them by.

Why here once more: the configuration is read without loading an engine. `loading.py` turns one into the other, and a
test holds both to the same names.
"""

from __future__ import annotations

from enum import Enum


class InferenceRuntime(Enum):
    """The library that computes."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class GpuPrecision(Enum):
    """What a plan for a GPU is built in."""

    FP32 = "fp32"
    FP16 = "fp16"


class Precision(Enum):
    """What the float layers of a network are computed in."""

    FP32 = "fp32"
    BF16 = "bf16"
