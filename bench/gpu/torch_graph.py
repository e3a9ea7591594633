"""An ONNX graph computed by torch, operator by operator: the network where a GPU has torch and no TensorRT.

Why: only beside a fast network can one see what the engine's own work costs. Trap: this is a stand-in, not a product:
it knows the operators of the networks that are checked here, and raises for any other. Shapes are computed on the CPU,
so that nothing waits for the device and everything can be captured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

Tensor: TypeAlias = torch.Tensor
_Attributes: TypeAlias = Mapping[str, Any]
_Operator: TypeAlias = Callable[[Sequence[Any], _Attributes], Any]

_TYPES = {1: torch.float32, 7: torch.int64, 10: torch.float16}
"""onnx.TensorProto's numbers."""


class UnknownOperator(Exception):
    """The graph has an operator that is not known here."""


class TorchGraph:
    """The graph on `device`; call it with its input. One thread at a time. Raises UnknownOperator when made."""

    def __init__(self, model: onnx.ModelProto, device: str) -> None:
        graph = model.graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._constants: dict[str, Any] = {}
        for weight in graph.initializer:
            self._constants[weight.name] = _constant(numpy_helper.to_array(weight), device)
        self._steps: list[tuple[_Operator, list[str], list[str], _Attributes]] = []
        for node in graph.node:
            attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
            if node.op_type == "Constant":
                self._constants[node.output[0]] = _constant(numpy_helper.to_array(attributes["value"]), device)
                continue
            if node.op_type not in _OPERATORS:
                raise UnknownOperator(f"{node.op_type} is not among the operators of this stand-in")
            self._steps.append((_OPERATORS[node.op_type], list(node.input), list(node.output), attributes))
        self._last = {name: index for index, (_, names, _, _) in enumerate(self._steps) for name in names}

    def __call__(self, batch: Tensor) -> Tensor:
        """(n, C, H, W) to (n, dim)."""
        values: dict[str, Any] = {**self._constants, "": None, self._input: batch}
        with torch.inference_mode():
            for index, (operator, names, outputs, attributes) in enumerate(self._steps):
                values[outputs[0]] = operator([values[name] for name in names], attributes)
                for name in names:  # nobody reads it again: its memory can be reused
                    if self._last[name] == index and name not in self._constants:
                        values[name] = None
        found: Tensor = values[self._output]
        return found


def _constant(array: np.ndarray[Any, Any], device: str) -> Tensor:
    """Shapes, axes and single numbers stay on the CPU: reading a number from the device would end a capture.

    Weights of convolutions get the layout that tensor cores want.
    """
    tensor = torch.from_numpy(np.array(array))
    if not tensor.is_floating_point() or tensor.dim() == 0:
        return tensor
    tensor = tensor.to(device)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor  # noqa: PLR2004


def _pads(attributes: _Attributes, dims: int) -> tuple[list[int], list[int]]:
    pads = list(attributes.get("pads", [0] * (2 * dims)))
    return pads[:dims], pads[dims:]


def _padded(x: Tensor, attributes: _Attributes, value: float) -> tuple[Tensor, list[int]]:
    """Pad what torch cannot pad itself; returns the padding that is left for torch."""
    before, after = _pads(attributes, 2)
    if before == after:
        return x, before
    return functional.pad(x, [before[1], after[1], before[0], after[0]], value=value), [0, 0]


def _conv(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    x, pads = _padded(inputs[0], attributes, 0.0)
    bias = inputs[2] if len(inputs) > 2 else None  # noqa: PLR2004
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return functional.conv2d(x, inputs[1], bias, strides, pads, dilations, attributes.get("group", 1))


def _max_pool(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    x, pads = _padded(inputs[0], attributes, float("-inf"))
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    return functional.max_pool2d(x, kernel, strides, pads, 1, ceil_mode=bool(attributes.get("ceil_mode", 0)))


def _average_pool(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    counted = bool(attributes.get("count_include_pad", 0))
    before, after = _pads(attributes, 2)
    if before != after:
        raise UnknownOperator("AveragePool with uneven padding is not among the operators of this stand-in")
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    return functional.avg_pool2d(
        inputs[0], kernel, strides, before, ceil_mode=bool(attributes.get("ceil_mode", 0)), count_include_pad=counted
    )


def _batch_norm(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    x, scale, shift, mean, variance = inputs
    return functional.batch_norm(x, mean, variance, scale, shift, training=False, eps=attributes.get("epsilon", 1e-5))


def _gemm(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    a = inputs[0].t() if attributes.get("transA", 0) else inputs[0]
    b = inputs[1].t() if attributes.get("transB", 0) else inputs[1]
    product = (a @ b) * attributes.get("alpha", 1.0)
    return product if len(inputs) < 3 else product + inputs[2] * attributes.get("beta", 1.0)  # noqa: PLR2004


def _axes(inputs: Sequence[Any], attributes: _Attributes) -> list[int] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return [int(axis) for axis in inputs[1]]
    return list(attributes["axes"]) if "axes" in attributes else None


def _reduced(how: Callable[..., Tensor]) -> _Operator:
    def operator(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
        axes = _axes(inputs, attributes) or list(range(inputs[0].dim()))
        return how(inputs[0], dim=axes, keepdim=bool(attributes.get("keepdims", 1)))

    return operator


def _norm(x: Tensor, *, dim: list[int], keepdim: bool) -> Tensor:
    return (x * x).sum(dim=dim, keepdim=keepdim).sqrt()


def _reshape(inputs: Sequence[Any], _: _Attributes) -> Tensor:
    x, wanted = inputs
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(wanted.tolist())])


def _flatten(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    return torch.flatten(inputs[0], attributes.get("axis", 1))


def _squeezed(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    x = inputs[0]
    for axis in sorted(_axes(inputs, attributes) or [], reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueezed(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    x = inputs[0]
    for axis in sorted(_axes(inputs, attributes) or []):
        x = x.unsqueeze(axis)
    return x


def _sliced(inputs: Sequence[Any], _: _Attributes) -> Tensor:
    x, starts, ends = inputs[:3]
    axes = inputs[3].tolist() if len(inputs) > 3 else range(len(starts))  # noqa: PLR2004
    steps = inputs[4].tolist() if len(inputs) > 4 else [1] * len(starts)  # noqa: PLR2004
    parts = [slice(None)] * x.dim()
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps, strict=True):
        parts[axis] = slice(start, end, step)
    return x[tuple(parts)]


def _gathered(inputs: Sequence[Any], attributes: _Attributes) -> Tensor:
    x, where = inputs
    axis = attributes.get("axis", 0)
    found = torch.index_select(x, axis, where.reshape(-1).to(x.device))
    return found.reshape([*x.shape[:axis], *where.shape, *x.shape[axis + 1 :]])


def _clipped(inputs: Sequence[Any], _: _Attributes) -> Tensor:
    least = inputs[1] if len(inputs) > 1 else None
    most = inputs[2] if len(inputs) > 2 else None  # noqa: PLR2004
    return torch.clamp(inputs[0], None if least is None else float(least), None if most is None else float(most))


def _padded_by(inputs: Sequence[Any], _: _Attributes) -> Tensor:
    x, pads = inputs[0], inputs[1].tolist()
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0  # noqa: PLR2004
    half = len(pads) // 2
    flat = [side for axis in reversed(range(half)) for side in (pads[axis], pads[axis + half])]
    return functional.pad(x, flat, value=value)


_OPERATORS: Mapping[str, _Operator] = {
    "Add": lambda i, _: i[0] + i[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": lambda i, a: i[0].to(_TYPES[a["to"]]),
    "Clip": _clipped,
    "Concat": lambda i, a: torch.cat(list(i), dim=a["axis"]),
    "Conv": _conv,
    "Div": lambda i, _: i[0] / i[1],
    "Exp": lambda i, _: torch.exp(i[0]),
    "Flatten": _flatten,
    "Gather": _gathered,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda i, _: i[0].mean(dim=(2, 3), keepdim=True),
    "Identity": lambda i, _: i[0],
    "Log": lambda i, _: torch.log(i[0]),
    "MatMul": lambda i, _: i[0] @ i[1],
    "MaxPool": _max_pool,
    "Mul": lambda i, _: i[0] * i[1],
    "Pad": _padded_by,
    "ReduceL2": _reduced(_norm),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": lambda i, _: torch.relu(i[0]),
    "Reshape": _reshape,
    "Shape": lambda i, _: torch.tensor(list(i[0].shape), dtype=torch.int64),
    "Sigmoid": lambda i, _: torch.sigmoid(i[0]),
    "Slice": _sliced,
    "Sqrt": lambda i, _: torch.sqrt(i[0]),
    "Squeeze": _squeezed,
    "Sub": lambda i, _: i[0] - i[1],
    "Transpose": lambda i, a: i[0].permute(*a["perm"]),
    "Unsqueeze": _unsqueezed,
}
