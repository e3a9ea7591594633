"""Networks of real shapes with random weights, as ONNX files: ResNet-50 and OSNet for pictures of 256 x 128.

Why random weights: speed does not depend on them, and trained ones are not ours to give away. The shapes are those of
the papers: He et al., "Deep residual learning for image recognition" (2015), and Zhou et al., "Omni-scale feature
learning for person re-identification" (2019). Trap: the vectors mean nothing. Weights are scaled so that values neither
vanish nor overflow in float16. Normalisations are left out, as if folded into the convolutions before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH = 256, 128
_OPSET, _IR = 17, 8
_RESNET_BLOCKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
_OSNET_WIDTHS = (64, 256, 384, 512)
_EXPANSION, _OSNET_DIM = 4, 512


class _Drawing:
    """A graph that is being drawn; each step returns the name of what it made."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - onnx's own
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(self, values: npt.NDArray[np.float32]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, taken: int, given: int, kernel: int, *, stride: int = 1, group: int = 1) -> str:
        """With padding that keeps the size, and weights that keep the scale."""
        shape = (given, taken // group, kernel, kernel)
        spread = np.sqrt(1.0 / (shape[1] * kernel * kernel))
        values = (self._random.standard_normal(shape) * spread).astype(np.float32)
        bias = np.zeros(given, np.float32)
        pads = [kernel // 2] * 4
        return self.node(
            "Conv", x, self.weight(values), self.weight(bias), strides=[stride, stride], pads=pads, group=group
        )

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def max_pool(self, x: str) -> str:
        return self.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def saved(self, x: str, dim: int, path: Path) -> Path:
        """`x` (n, C, 1, 1) as the output (n, dim), in a file."""
        flat = self.node("Flatten", x, axis=1)
        self.nodes.append(helper.make_node("Identity", [flat], ["embedding"]))
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        return path


def resnet50(folder: Path) -> Path:
    """ResNet-50: 2.7 thousand million multiplications for a crop, vectors of 2048 numbers."""
    draw = _Drawing(50)
    x = draw.max_pool(draw.relu(draw.conv("input", 3, 64, 7, stride=2)))
    channels = 64
    for width, blocks, first_stride in _RESNET_BLOCKS:
        for block in range(blocks):
            stride, wide = (first_stride if block == 0 else 1), width * _EXPANSION
            y = draw.relu(draw.conv(x, channels, width, 1))
            y = draw.relu(draw.conv(y, width, width, 3, stride=stride))
            y = draw.conv(y, width, wide, 1)
            short = x if (channels, stride) == (wide, 1) else draw.conv(x, channels, wide, 1, stride=stride)
            x = draw.relu(draw.node("Add", y, short))
            channels = wide
    return draw.saved(draw.node("GlobalAveragePool", x), channels, folder / "resnet50.onnx")


def osnet(folder: Path, scale: float = 1.0) -> Path:
    """OSNet with `scale` times the channels; with 1.0 a thousand million multiplications for a crop. 512 numbers."""
    draw = _Drawing(10)
    widths = [int(width * scale) for width in _OSNET_WIDTHS]
    x = draw.max_pool(draw.relu(draw.conv("input", 3, widths[0], 7, stride=2)))
    channels = widths[0]
    for stage, width in enumerate(widths[1:]):
        for _ in range(2):
            x = _omni_scale(draw, x, channels, width)
            channels = width
        if stage < 2:  # noqa: PLR2004 - of three
            x = draw.relu(draw.conv(x, channels, channels, 1))
            x = draw.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = draw.relu(draw.conv(x, channels, channels, 1))
    x = draw.node("GlobalAveragePool", x)
    return draw.saved(draw.relu(draw.conv(x, channels, _OSNET_DIM, 1)), _OSNET_DIM, folder / f"osnet_x{scale:g}.onnx")


def _omni_scale(draw: _Drawing, x: str, taken: int, given: int) -> str:
    """A block: four depths of light 3 x 3 convolutions, gated and added."""
    middle = given // _EXPANSION
    y = draw.relu(draw.conv(x, taken, middle, 1))
    gated = [_gated(draw, _light(draw, y, middle, depth), middle) for depth in (1, 2, 3, 4)]
    z = _sum(draw, gated)
    z = draw.conv(z, middle, given, 1)
    return draw.relu(draw.node("Add", z, x if taken == given else draw.conv(x, taken, given, 1)))


def _light(draw: _Drawing, x: str, channels: int, depth: int) -> str:
    for _ in range(depth):
        x = draw.relu(draw.conv(draw.conv(x, channels, channels, 1), channels, channels, 3, group=channels))
    return x


def _gated(draw: _Drawing, x: str, channels: int) -> str:
    fewer = max(1, channels // 16)
    gate = draw.relu(draw.conv(draw.node("GlobalAveragePool", x), channels, fewer, 1))
    return draw.node("Mul", x, draw.node("Sigmoid", draw.conv(gate, fewer, channels, 1)))


def _sum(draw: _Drawing, parts: Sequence[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = draw.node("Add", total, part)
    return total
