"""Prepares an ONNX model for TensorRT: all weights are in it, and constant parts are computed already.

Why: TensorRT parses bytes, which have no folder, so weights in other files are included. A batch normalisation after a
convolution is folded into the convolution's weights; any other becomes a multiplication and an addition. In fp16 its
variance and epsilon would become 0, but the folded weights are ordinary numbers. Trap: this is computed in double
precision; in float32 a small variance would lose digits that the fp16 model needs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import ModelError, PackageMissing
from reidstream_engines.external_data import external_files

Model: TypeAlias = Any
"""onnx.ModelProto; onnx is optional."""
Node: TypeAlias = Any
"""onnx.NodeProto."""

_Doubles: TypeAlias = npt.NDArray[np.float64]
_EPSILON = 1e-5  # ONNX's default
_WITH_BIAS = 3


def model_bytes(path: Path) -> bytes:
    """The model at `path`, with all its weights. Raises ModelError, and PackageMissing if its weights are in other
    files and the package onnx is not installed.
    """
    try:
        if not external_files(path):
            return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error}") from error
    return serialised(load_model(path), path)


def load_model(path: Path) -> Model:
    """Read a model with its weights. Raises ModelError and PackageMissing."""
    onnx = need_onnx()
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's, onnx's and the file system's have no common base
        raise ModelError(f"{path} is not an ONNX model: {error}") from error
    if not model.graph.node:
        raise ModelError(f"{path} is not an ONNX model: its graph is empty")
    return model


def serialised(model: Model, path: Path) -> bytes:
    """The model as bytes. Raises ModelError for a model of more than 2 GiB, protobuf's limit."""
    try:
        data: bytes = model.SerializeToString()
    except ValueError as error:
        raise ModelError(f"{path} has more than 2 GiB, the limit of one protobuf message: {error}") from error
    return data


def need_onnx() -> Any:  # noqa: ANN401 - a module without types
    """The package onnx. Raises PackageMissing."""
    try:
        import onnx  # noqa: PLC0415 - optional
        import onnx.shape_inference  # noqa: PLC0415 - optional
    except ImportError:
        raise PackageMissing(
            "preparing a model for TensorRT needs the package onnx, which is not installed; install it: "
            "pip install 'reidstream-engines[gpu]'"
        ) from None
    return onnx


def simplify(model: Model) -> None:
    """Turn constant nodes into initialisers, and fold or replace batch normalisations. In place."""
    graph = model.graph
    if len(graph.sparse_initializer):
        raise ModelError("it has sparse weights, which are not supported; export it with dense weights")
    _lift_constants(graph)
    facts = _Facts(model)
    kept: list[Node] = []
    for node in graph.node:
        made = _without_normalisation(node, facts) if _normalises(node) else [node]
        kept += made
    del graph.node[:]
    graph.node.extend(kept)
    prune(graph)


def inferred_model(model: Model) -> Model:
    """The model with the type of every tensor, and the shapes that are known. Raises ModelError."""
    onnx = need_onnx()
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # InferenceError, and what checks raise
        raise ModelError(f"the types in the graph do not fit together: {error}") from error


def prune(graph: Any) -> None:  # noqa: ANN401 - onnx.GraphProto
    """Remove initialisers that no node reads, and inputs that are initialisers, as old exporters list them."""
    used = {name for node in graph.node for name in node.input} | {tensor.name for tensor in graph.output}
    constant = {item.name for item in graph.initializer}
    _keep(graph.initializer, lambda item: item.name in used)
    _keep(graph.input, lambda item: item.name not in constant)
    del graph.value_info[:]


def _keep(items: Any, wanted: Any) -> None:  # noqa: ANN401 - a repeated field, a predicate
    left = [item for item in items if wanted(item)]
    del items[:]
    items.extend(left)


def _lift_constants(graph: Any) -> None:  # noqa: ANN401 - onnx.GraphProto
    onnx = need_onnx()
    left = []
    for node in graph.node:
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            left.append(node)
            continue
        attribute = node.attribute[0]
        value = onnx.helper.get_attribute_value(attribute)
        match attribute.name:
            case "value":
                array = onnx.numpy_helper.to_array(value)
            case "value_float" | "value_floats":
                array = np.asarray(value, np.float32)
            case "value_int" | "value_ints":
                array = np.asarray(value, np.int64)
            case other:
                raise ModelError(f"it has a constant of kind {other}, which is not supported")
        graph.initializer.append(onnx.numpy_helper.from_array(array, node.output[0]))
    del graph.node[:]
    graph.node.extend(left)


class _Facts:
    """Which node makes each tensor and how many read it, its rank if known, and the weights by name. New weights get
    new names, since several nodes may share the old ones.
    """

    def __init__(self, model: Model) -> None:
        graph = model.graph
        self._graph = graph
        self._weights = {item.name: item for item in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(tensor.name for tensor in graph.output)
        inferred = inferred_model(model).graph
        self.ranks = {
            item.name: len(item.type.tensor_type.shape.dim)
            for item in (*inferred.input, *inferred.value_info, *inferred.output)
            if item.type.tensor_type.HasField("shape")
        }

    def get(self, name: str) -> _Doubles | None:
        item = self._weights.get(name)
        return None if item is None else np.asarray(need_onnx().numpy_helper.to_array(item), np.float64)

    def add(self, name: str, values: _Doubles) -> str:
        self._graph.initializer.append(need_onnx().numpy_helper.from_array(values.astype(np.float32), name))
        return name


def _normalises(node: Node) -> bool:
    return bool(node.op_type == "BatchNormalization" and node.domain in ("", "ai.onnx"))


def _without_normalisation(node: Node, facts: _Facts) -> list[Node]:
    """The nodes that replace a batch normalisation: none (folded into the node before), two, or itself."""
    attributes = {item.name: item for item in node.attribute}
    if ("training_mode" in attributes and attributes["training_mode"].i) or len(node.output) != 1:
        raise ModelError(f"batch normalisation {node.name!r} is in training mode; export the model for inference")
    found = [facts.get(name) for name in node.input[1:]]
    if any(item is None for item in found):
        return [node]  # computed parameters: nothing to fold
    gamma, beta, mean, variance = (item for item in found if item is not None)
    epsilon = attributes["epsilon"].f if "epsilon" in attributes else _EPSILON
    scale = gamma / np.sqrt(variance + epsilon)
    shift = beta - mean * scale
    if _folded(node, scale, shift, facts):
        return []
    return _written_out(node, scale, shift, facts)


def _folded(node: Node, scale: _Doubles, shift: _Doubles, facts: _Facts) -> bool:
    """Fold it into the convolution or matrix product before it, which then gets its output's name; False if not
    possible.
    """
    before = facts.producers.get(node.input[0])
    if before is None or facts.uses[node.input[0]] != 1:
        return False
    axis = _channel_axis(before)
    weight = None if axis is None else facts.get(before.input[1])
    bias = facts.get(before.input[2]) if len(before.input) == _WITH_BIAS and before.input[2] else np.zeros_like(scale)
    if axis is None or weight is None or bias is None or bias.shape != scale.shape:
        return False
    name = node.output[0]
    along = [1] * weight.ndim
    along[axis] = -1
    folded = facts.add(f"{name}.folded_weight", weight * scale.reshape(along))
    inputs = [before.input[0], folded, facts.add(f"{name}.folded_bias", bias * scale + shift)]
    del before.input[:]
    before.input.extend(inputs)
    before.output[0] = name
    facts.producers[name] = before
    return True


def _channel_axis(node: Node) -> int | None:
    """The axis of a node's weights that has the output channels; None if nothing can be folded into the node."""
    attributes = {item.name: item for item in node.attribute}
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm" and ("beta" not in attributes or attributes["beta"].f == 1):
        return 0 if "transB" in attributes and attributes["transB"].i else 1
    return None


def _written_out(node: Node, scale: _Doubles, shift: _Doubles, facts: _Facts) -> list[Node]:
    rank = facts.ranks.get(node.input[0])
    if rank is None:
        return [node]
    make = need_onnx().helper.make_node
    name = node.output[0]
    shape = (-1, *[1] * (rank - 2))
    factor = facts.add(f"{name}.factor", scale.reshape(shape))
    addend = facts.add(f"{name}.addend", shift.reshape(shape))
    return [
        make("Mul", [node.input[0], factor], [f"{name}.scaled"], name=f"{node.name}.factor"),
        make("Add", [f"{name}.scaled", addend], [name], name=f"{node.name}.addend"),
    ]
