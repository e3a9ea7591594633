"""Swin Transformers for re-identification as ONNX graphs, of their real architecture and with random weights.

`SWIN_BASE` has the shapes of TAO's ReIdentificationNet Transformer (swin_base_patch4_window7_224 with a bnneck, 1024
numbers, 256 x 128): 87 million parameters, a file of 350 MB. `SWIN_SMALL` has the same operations and a few thousand
parameters. Written from the paper (Liu et al., "Swin Transformer", 2021), not exported by TAO, whose files are behind a
login: what is tried with it is that such a network is loaded, run and served, and not what its vectors mean.

Trap: 64 x 32 patches do not divide into windows of 7 x 7. So each block pads its picture to whole windows, and cuts the
rest off again; what was padded has attention too, as in the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.generic]

_HEIGHT, _WIDTH, _PATCH, _WINDOW, _MLP = 256, 128, 4, 7, 4
_SHIFT = _WINDOW // 2
_BLOCKED = -100.0
_EPSILON = 1e-5
_SPREAD = 0.02
_OPSET, _IR = 17, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Swin:
    """`width`: of the first stage; each stage has twice that of the one before. `depths`, `heads`: of each stage."""

    width: int
    depths: Sequence[int]
    heads: Sequence[int]

    @property
    def dim(self) -> int:
        """Of its vectors."""
        return int(self.width * 2 ** (len(self.depths) - 1))


SWIN_BASE = Swin(width=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32))
SWIN_SMALL = Swin(width=8, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8))


def swin_export(path: Path, swin: Swin) -> int:
    """Write it, with the names of a TAO export (`input`, `fc_pred`); returns how many parameters it has."""
    graph = _Graph(np.random.default_rng(0))
    graph.network(swin)
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch_size", 3, _HEIGHT, _WIDTH])
    vector = helper.make_tensor_value_info("fc_pred", TensorProto.FLOAT, ["batch_size", swin.dim])
    found = helper.make_graph(graph.nodes, "swin", [image], [vector], graph.constants)
    model = helper.make_model(found, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.save(model, path)
    return graph.parameters


def operations(swin: Swin) -> set[str]:
    """The kinds of its nodes."""
    graph = _Graph(np.random.default_rng(0))
    graph.network(swin)
    return {node.op_type for node in graph.nodes}


class _Graph:
    """Nodes and constants, as they are added. Every method takes and returns names of tensors."""

    def __init__(self, random: np.random.Generator) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.parameters = 0
        self._random = random
        self._shapes: dict[tuple[int, ...], str] = {}

    def network(self, swin: Swin) -> None:
        """From `input` to `fc_pred`."""
        height, width = _HEIGHT // _PATCH, _WIDTH // _PATCH
        channels = swin.width
        kernel = self.weight(channels, 3, _PATCH, _PATCH)
        x = self.op("Conv", "input", kernel, self.weight(channels), strides=[_PATCH, _PATCH])
        x = self.norm(self.op("Transpose", x, perm=[0, 2, 3, 1]), channels)
        for stage, (depth, heads) in enumerate(zip(swin.depths, swin.heads, strict=True)):
            if stage:
                x = self.merged(x, channels)
                height, width, channels = height // 2, width // 2, 2 * channels
            for number in range(depth):
                x = self.block(x, (height, width, channels), heads, shift=_SHIFT if number % 2 else 0)
        x = self.reshaped(self.norm(x, channels), -1, height * width, channels)
        x = self.op("ReduceMean", x, axes=[1], keepdims=0)
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        statistics = [self.constant(values) for values in (ones, zeros, zeros, ones)]
        self.nodes.append(helper.make_node("BatchNormalization", [x, *statistics], ["fc_pred"], epsilon=_EPSILON))

    def block(self, x: str, shape: tuple[int, int, int], heads: int, shift: int) -> str:
        """Attention in windows, and two layers behind it. A stage that is one window is not shifted."""
        height, width, channels = shape
        shift = shift if min(height, width) > _WINDOW else 0
        inside = self.windowed(self.norm(x, channels), shape, heads, shift)
        x = self.op("Add", x, inside)
        wide = self.linear(self.norm(x, channels), channels, _MLP * channels)
        return self.op("Add", x, self.linear(self.gelu(wide), _MLP * channels, channels))

    def windowed(self, x: str, shape: tuple[int, int, int], heads: int, shift: int) -> str:
        """Pad, roll, cut into windows, attend, and all of it back."""
        height, width, channels = shape
        rows, columns = -(-height // _WINDOW), -(-width // _WINDOW)
        padded = rows * _WINDOW, columns * _WINDOW
        if padded != (height, width):
            pads = np.array([0, 0, 0, 0, 0, padded[0] - height, padded[1] - width, 0], np.int64)
            x = self.op("Pad", x, self.constant(pads))
        x = self.rolled(x, padded, -shift)
        x = self.reshaped(x, -1, rows, _WINDOW, columns, _WINDOW, channels)
        x = self.reshaped(self.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5]), -1, _WINDOW**2, channels)
        x = self.attention(x, channels, heads, _blocked(padded, shift) if shift else None)
        x = self.reshaped(x, -1, rows, columns, _WINDOW, _WINDOW, channels)
        x = self.reshaped(self.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5]), -1, *padded, channels)
        x = self.rolled(x, padded, shift)
        if padded != (height, width):
            x = self.sliced(x, [1, 2], [0, 0], [height, width])
        return x

    def attention(self, x: str, channels: int, heads: int, blocked: Array | None) -> str:
        """Of the patches of each window, with a bias for how they lie to each other."""
        size, each = _WINDOW**2, channels // heads
        parts = self.reshaped(self.linear(x, channels, 3 * channels), -1, size, 3, heads, each)
        parts = self.op("Transpose", parts, perm=[2, 0, 3, 1, 4])
        query, key, value = (self.op("Gather", parts, self.constant(np.array(index)), axis=0) for index in range(3))
        query = self.op("Mul", query, self.constant(np.array(each**-0.5, np.float32)))
        scores = self.op("MatMul", query, self.op("Transpose", key, perm=[0, 1, 3, 2]))
        table = self._random.normal(0, _SPREAD, ((2 * _WINDOW - 1) ** 2, heads)).astype(np.float32)
        self.parameters += table.size
        bias = table[_relative()].transpose(2, 0, 1)[None]  # as exporters fold it
        scores = self.op("Add", scores, self.constant(bias))
        if blocked is not None:
            scores = self.reshaped(scores, -1, len(blocked), heads, size, size)
            scores = self.op("Add", scores, self.constant(blocked[None, :, None]))
            scores = self.reshaped(scores, -1, heads, size, size)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), value)
        mixed = self.reshaped(self.op("Transpose", mixed, perm=[0, 2, 1, 3]), -1, size, channels)
        return self.linear(mixed, channels, channels)

    def merged(self, x: str, channels: int) -> str:
        """Four neighbours become one patch of twice the width."""
        parts = [self.sliced(x, [1, 2], [top, left], [_HEIGHT, _WIDTH], [2, 2]) for left in (0, 1) for top in (0, 1)]
        x = self.norm(self.op("Concat", *parts, axis=3), 4 * channels)
        return self.op("MatMul", x, self.weight(4 * channels, 2 * channels))

    def norm(self, x: str, channels: int) -> str:
        """LayerNorm in the operations of older exporters."""
        off = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        square = self.op("Pow", off, self.constant(np.array(2, np.float32)))
        variance = self.op("Add", self.op("ReduceMean", square, axes=[-1]), self.constant(np.array(1e-5, np.float32)))
        unit = self.op("Div", off, self.op("Sqrt", variance))
        scaled = self.op("Mul", unit, self.constant(np.ones(channels, np.float32)))
        self.parameters += 2 * channels
        return self.op("Add", scaled, self.constant(np.zeros(channels, np.float32)))

    def gelu(self, x: str) -> str:
        """By the error function, as older exporters write it."""
        erf = self.op("Erf", self.op("Div", x, self.constant(np.array(2**0.5, np.float32))))
        twice = self.op("Mul", x, self.op("Add", erf, self.constant(np.array(1, np.float32))))
        return self.op("Mul", twice, self.constant(np.array(0.5, np.float32)))

    def linear(self, x: str, given: int, taken: int) -> str:
        """With a bias."""
        return self.op("Add", self.op("MatMul", x, self.weight(given, taken)), self.weight(taken))

    def rolled(self, x: str, size: tuple[int, int], by: int) -> str:
        """Along both sides, as `torch.roll`."""
        for axis, length in enumerate(size, 1):
            if by:
                at = -by % length
                head, tail = self.sliced(x, [axis], [at], [length]), self.sliced(x, [axis], [0], [at])
                x = self.op("Concat", head, tail, axis=axis)
        return x

    def sliced(
        self, x: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], steps: Sequence[int] = ()
    ) -> str:
        """As Python slices."""
        given = [self.shape(*values) for values in (starts, ends, axes, steps) if values]
        return self.op("Slice", x, *given)

    def reshaped(self, x: str, *shape: int) -> str:
        """-1: whatever is left."""
        return self.op("Reshape", x, self.shape(*shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """Random, and a parameter."""
        values = self._random.standard_normal(shape, np.float32) * np.float32(_SPREAD)
        self.parameters += values.size
        return self.constant(values)

    def shape(self, *values: int) -> str:
        """Whole numbers; the same ones are there once."""
        if values not in self._shapes:
            self._shapes[values] = self.constant(np.array(values, np.int64))
        return self._shapes[values]

    def constant(self, values: Array) -> str:
        """As an initializer."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name


def _relative() -> Array:
    """For each two patches of a window, the row of the table of biases."""
    at = np.stack(np.meshgrid(np.arange(_WINDOW), np.arange(_WINDOW), indexing="ij")).reshape(2, -1)
    between = at[:, :, None] - at[:, None, :] + _WINDOW - 1
    rows: Array = between[0] * (2 * _WINDOW - 1) + between[1]
    return rows


def _blocked(size: tuple[int, int], shift: int) -> Array:
    """For each window of a rolled picture, which patches did not lie beside each other before."""
    regions = np.zeros(size, np.float32)
    cuts = (slice(0, -_WINDOW), slice(-_WINDOW, -shift), slice(-shift, None))
    for number, (rows, columns) in enumerate((rows, columns) for rows in cuts for columns in cuts):
        regions[rows, columns] = number
    high, wide = size[0] // _WINDOW, size[1] // _WINDOW
    windows = regions.reshape(high, _WINDOW, wide, _WINDOW).transpose(0, 2, 1, 3).reshape(-1, _WINDOW**2)
    return np.where(windows[:, :, None] == windows[:, None, :], 0.0, _BLOCKED).astype(np.float32)
