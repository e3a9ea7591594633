"""The inference runtimes and precisions that can be set, with the same names as in the engines.

Why here again: the configuration is read without importing an engine. `loading.py` converts one into the other, and a
test compares the names.
"""

from __future__ import annotations

from enum import Enum


class InferenceRuntime(Enum):
    """The library that runs networks on the CPU."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class GpuPrecision(Enum):
    """The precision in which a GPU computes."""

    FP32 = "fp32"
    FP16 = "fp16"


class Precision(Enum):
    """The precision of a network's float layers on the CPU."""

    FP32 = "fp32"
    BF16 = "bf16"
