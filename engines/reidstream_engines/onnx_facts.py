"""What an ONNX file says of its network without being loaded: its batch size, and the precision of its numbers.

Why: a network that takes one batch size only must be measured with that size, before it is loaded; and a file with
int8 or float16 numbers must not be called fp32. onnxruntime says nothing about either precision: it computes whatever
is in the file.

Trap: a name in the file's metadata proves nothing; other tools quantise too, and write no such name. So the nodes and
weights are looked at. A file in onnxruntime's own format shows nothing here; it counts as fp32 and any batch size.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path

from .onnx_fields import Field, fields, messages, numbers

# Numbers of fields in onnx.proto.
_OPERATOR = 4
_DIMS, _TYPE, _TENSOR_NAME = 1, 2, 8
_INPUT, _INPUT_NAME = 11, 1
_TO_FIRST_AXIS = (2, 1, 2, 1)  # type, tensor type, shape, and the first of its axes
_AXIS_SIZE = 1

_FLOATS = {1: "fp32", 10: "fp16", 16: "bf16", 17: "fp8", 18: "fp8", 19: "fp8", 20: "fp8"}
_INTEGER_OPERATORS = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits"),
    *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFacts:
    """`fixed_batch`: the only batch size that the network takes; None if it takes any. `quantized`: it has layers or
    weights in int8. `floats`: the type of most of its other weights.
    """

    fixed_batch: int | None = None
    quantized: bool = False
    floats: str = "fp32"

    def precision(self, *computed: str) -> str:
        """What to call the precision of vectors from this file: everything on their way that is less than fp32.

        `computed`: in which precisions its float layers are computed, if not in the file's.
        """
        narrow = {*computed, self.floats, "int8" if self.quantized else "fp32"} - {"fp32"}
        return "+".join(sorted(narrow, reverse=True)) or "fp32"


PLAIN_FACTS = OnnxFacts()
"""Of a network like any other: float32, for any batch size."""


def read_facts(path: Path) -> OnnxFacts:
    """The facts of the ONNX file at `path`; for a file that is none, or cannot be read, those of any network: whoever
    loads it says what is wrong. Takes milliseconds.
    """
    try:
        if path.stat().st_size == 0:
            return PLAIN_FACTS  # nothing to map
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return _facts(data)
    except OSError:
        return PLAIN_FACTS


def _facts(data: mmap) -> OnnxFacts:
    operators: set[str] = set()
    weights: Counter[str] = Counter()
    names: set[bytes] = set()
    inputs: list[Field] = []
    for kind, found in messages(data):
        if kind == "node":
            operators.update(data[f.start : f.end].decode(errors="replace") for f in found if f.number == _OPERATOR)
        elif kind == "tensor":
            floats = next((_FLOATS.get(field.value, "") for field in found if field.number == _TYPE), "")
            weights[floats] += prod(size for f in found if f.number == _DIMS for size in numbers(data, f))
            names.update(data[field.start : field.end] for field in found if field.number == _TENSOR_NAME)
        elif kind == "graph" and not inputs:  # the outermost comes first
            inputs = [field for field in found if field.number == _INPUT]
    del weights[""]  # not floats: shapes, indices, and what is quantised
    return OnnxFacts(
        fixed_batch=next((_first_axis(data, field) for field in inputs if _name(data, field) not in names), None),
        quantized=not operators.isdisjoint(_INTEGER_OPERATORS),
        floats=max(weights, key=weights.__getitem__, default="fp32"),
    )


def _name(data: mmap, field: Field) -> bytes:
    return next((data[f.start : f.end] for f in fields(data, field.start, field.end) if f.number == _INPUT_NAME), b"")


def _first_axis(data: mmap, field: Field) -> int | None:
    """The size of an input's first axis; None if it is open."""
    for number in _TO_FIRST_AXIS:
        inner = next((f for f in fields(data, field.start, field.end) if f.number == number), None)
        if inner is None:
            return None
        field = inner
    sizes = [f.value for f in fields(data, field.start, field.end) if f.number == _AXIS_SIZE]
    return sizes[0] if sizes and sizes[0] > 0 else None
