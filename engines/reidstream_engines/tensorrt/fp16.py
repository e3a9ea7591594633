"""Converts a float32 ONNX model to float16 for strongly typed TensorRT: the precision is in the graph, node by node.

What stays in float32: the output vectors; norms, and other nodes that square, sum or exponentiate, with the nodes
between them and the division by their result; constants that float16 cannot hold (a mask of -1e9, an epsilon of 1e-12)
with the node that reads them; and everything that computes shapes. The input image is float16; the crop kernel writes
it so.

Why our own converter: the operator's schema says what a node may take in float16. So an operator with a parameter that
must be float32 (the scales of a resize) is converted correctly without being listed. Traps: float16 ends at 65504, and
a sum of 512 squares is soon more; below 6e-5 it loses digits, and below 6e-8 it is 0. `EXPORTER` is part of every
plan's key: raise it with each change that changes a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import ModelError
from reidstream_engines.external_data import external_files
from reidstream_engines.space import sha256_file
from reidstream_engines.spec_source import PRECISION_KEY, SHA_KEY

from .onnx_graph import Model, Node, inferred_model, load_model, need_onnx, prune, serialised, simplify

EXPORTER = 1

_FLOAT, _HALF = 1, 10  # onnx.TensorProto's numbers of float32 and float16
_LARGEST_LOSS = 1e-3
"""A constant may lose this share of its norm; float16's own rounding costs at most 5e-4."""

_RISKY = frozenset(
    (
        *("BatchNormalization", "CumSum", "Exp", "GlobalLpPool", "GroupNormalization", "InstanceNormalization", "LRN"),
        *("LayerNormalization", "Log", "LogSoftmax", "LpNormalization", "LpPool", "MeanVarianceNormalization", "Pow"),
        *("RMSNormalization", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
        *("ReduceSum", "ReduceSumSquare", "Softmax", "Softplus", "Sqrt"),
    )
)
"""Operators whose result or intermediate values may leave float16's range although their input is well within it."""

_LIGHT = frozenset(
    (
        *("Abs", "Add", "AveragePool", "Clip", "Div", "Expand", "Flatten", "GlobalAveragePool", "Identity", "Max"),
        *("Min", "Mul", "Neg", "ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Squeeze", "Sub", "Transpose"),
        *("Unsqueeze", "Where"),
    )
)
"""Operators that may lie between a risky node and the division by its result."""

_REFUSED = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger"))
_BIASED, _BIAS = ("Conv", "ConvTranspose", "Gemm"), 2
_BLIND = ("Shape", "Size")
"""Operators that read a tensor's shape, not its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfModel:
    """`data`: the model, with all its weights. `kept`: the operators of the nodes that stay in float32."""

    data: bytes
    kept: tuple[str, ...]


def export_fp16(path: Path) -> HalfModel:
    """The float32 model at `path` in float16. Its inputs are float16, its outputs float32.

    The result has the original's sha256 in its metadata, so its vectors are in the original's space. Raises ModelError
    (not a model, quantised already, or with control flow) and PackageMissing.
    """
    onnx = need_onnx()
    model = load_model(path)
    metadata = {item.key: item.value for item in model.metadata_props}
    try:
        _refuse(model)
        simplify(model)
        types = _Types(inferred_model(model))
        full = _in_full(types)
        numeric = {index for index, node in enumerate(types.nodes) if any(map(types.is_float, node.output))}
        _Writer(types, full).write(model.graph)
        inferred_model(model)  # the result must have valid types
    except ModelError as error:
        raise ModelError(f"{path} cannot be converted to fp16: {error}") from error
    sha = metadata.get(SHA_KEY) or sha256_file(path, *external_files(path))
    onnx.helper.set_model_props(model, {**metadata, SHA_KEY: sha, PRECISION_KEY: "fp16"})
    kept = tuple(types.nodes[index].op_type for index in sorted(full) if index in numeric)
    return HalfModel(data=serialised(model, path), kept=kept)


def _refuse(model: Model) -> None:
    if len(model.functions):
        raise ModelError("it defines functions; export it with its functions inlined")
    for node in model.graph.node:
        if node.op_type in _REFUSED:
            raise ModelError(f"it is quantised ({node.op_type}); build it in fp32, which keeps its integer layers")
        if any(item.HasField("g") or len(item.graphs) for item in node.attribute):
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) is control flow, which is not converted; build the model in fp32"
            )


class _Types:
    """Which tensors of a graph are float32, which depend on the image, and what each operator takes in float16."""

    def __init__(self, inferred: Model) -> None:
        graph = inferred.graph
        self.nodes: list[Node] = list(graph.node)
        self.constants = {item.name: item for item in graph.initializer}
        self._elements = {
            item.name: item.type.tensor_type.elem_type for item in (*graph.input, *graph.value_info, *graph.output)
        }
        self._elements |= {item.name: item.data_type for item in graph.initializer}
        self._opsets = {item.domain: item.version for item in inferred.opset_import}
        self.image = {item.name for item in graph.input if self.is_float(item.name)}
        if not self.image:
            raise ModelError("it has no float32 input")
        self.seen = set(self.image)
        for node in self.nodes:  # in topological order
            if node.op_type not in _BLIND and any(name in self.seen for name in node.input):
                self.seen.update(node.output)

    def is_float(self, name: str) -> bool:
        return self._elements.get(name) == _FLOAT

    def takes_half(self, node: Node, index: int) -> bool:
        schema = self._schema(node)
        return schema is not None and _may_be_half(schema, schema.inputs, index)

    def gives_half(self, node: Node, index: int) -> bool:
        schema = self._schema(node)
        return schema is not None and _may_be_half(schema, schema.outputs, index)

    def _schema(self, node: Node) -> Any:  # noqa: ANN401 - onnx's OpSchema
        onnx = need_onnx()
        domain = "" if node.domain == "ai.onnx" else node.domain
        try:
            return onnx.defs.get_schema(node.op_type, self._opsets.get(domain, 1), domain)
        except onnx.defs.SchemaError:
            return None


def _may_be_half(schema: Any, parameters: Any, index: int) -> bool:  # noqa: ANN401 - onnx's
    """Whether a parameter may be float16. The last parameter of a schema may repeat."""
    kind = parameters[min(index, len(parameters) - 1)].type_str
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}.get(kind, (kind,))
    return "tensor(float16)" in allowed


def _in_full(types: _Types) -> frozenset[int]:
    """The indices of the nodes that stay in float32."""
    risky = [index for index, node in enumerate(types.nodes) if _is_risky(node)]
    full = set(risky)
    full |= {index for index, node in enumerate(types.nodes) if not _can_be_half(node, types) or _loses(node, types)}
    makers = {name: index for index, node in enumerate(types.nodes) for name in node.output}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(types.nodes):
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(index)
    spreading, reached = list(risky), set(risky)
    while spreading:
        for reader in [found for name in types.nodes[spreading.pop()].output for found in readers.get(name, ())]:
            node = types.nodes[reader]
            if reader in reached or node.op_type not in _LIGHT:
                continue
            sources = {makers.get(name) for name in node.input if types.is_float(name) and name in types.seen}
            joins = not sources <= full  # another value comes in, too: the risky one divides it or is added to it
            full.add(reader)
            reached.add(reader)
            if not joins:
                spreading.append(reader)
    return frozenset(full)


def _is_risky(node: Node) -> bool:
    square = node.op_type == "Mul" and node.input[0] == node.input[1]
    return square or node.op_type in _RISKY


def _can_be_half(node: Node, types: _Types) -> bool:
    """Whether a node computes with numbers that depend on the image, and may take and give all of them in float16."""
    inputs = [index for index, name in enumerate(node.input) if types.is_float(name) and name in types.seen]
    outputs = [index for index, name in enumerate(node.output) if types.is_float(name)]
    typed = any(item.name == "dtype" for item in node.attribute)  # the node itself names its output's type
    return (
        bool(inputs)  # none: a cast of another type to float32
        and not typed
        and all(types.takes_half(node, index) for index in inputs)
        and all(types.gives_half(node, index) for index in outputs)
    )


def _loses(node: Node, types: _Types) -> bool:
    """Whether a node reads a constant that float16 cannot hold: it is too large, or too small to keep enough digits.

    A bias may be small, since it is added to larger numbers.
    """
    for index, name in enumerate(node.input):
        if name not in types.constants or not types.is_float(name) or not types.takes_half(node, index):
            continue
        values = np.asarray(need_onnx().numpy_helper.to_array(types.constants[name]), np.float64)
        finite = values[np.isfinite(values)]
        rounded = _rounded(finite)
        bias = node.op_type in _BIASED and index == _BIAS
        lost = np.linalg.norm(rounded - finite)
        if not np.isfinite(rounded).all() or (not bias and lost > _LARGEST_LOSS * np.linalg.norm(finite)):
            return True
    return False


def _rounded(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float16)


class _Writer:
    """Writes the new graph, with a Cast wherever a node reads a tensor in another type than it was made in."""

    def __init__(self, types: _Types, full: frozenset[int]) -> None:
        self._types = types
        self._full = full
        self._made: list[Node] = []
        self._constants: list[Any] = []
        self._native = dict.fromkeys(types.image, _HALF)
        self._copies: dict[tuple[str, int], str] = {}

    def write(self, graph: Any) -> None:  # noqa: ANN401 - onnx.GraphProto
        outputs = {tensor.name for tensor in graph.output}
        for index, node in enumerate(self._types.nodes):
            self._add(node, outputs, half=index not in self._full)
        del graph.node[:]
        graph.node.extend(self._made)
        graph.initializer.extend(self._constants)
        for tensor in graph.input:
            if tensor.name in self._types.image:
                tensor.type.tensor_type.elem_type = _HALF
        prune(graph)

    def _add(self, node: Node, outputs: set[str], *, half: bool) -> None:
        types = self._types
        for index, name in enumerate(node.input):
            if types.is_float(name):
                node.input[index] = self._as(name, _HALF if half and types.takes_half(node, index) else _FLOAT)
        made_half = [name for index, name in enumerate(node.output) if types.is_float(name) and half]
        if node.op_type == "Cast" and made_half:
            node.attribute[0].i = _HALF
        self._made.append(node)
        for index, name in enumerate(node.output):
            if name not in made_half:
                continue
            if name in outputs:  # keeps its name, in float32
                node.output[index] = self._copies[name, _HALF] = f"{name}.half"
                self._made.append(_cast(f"{name}.half", name, _FLOAT))
            else:
                self._native[name] = _HALF

    def _as(self, name: str, wanted: int) -> str:
        """The name of a tensor in the type `wanted`."""
        if self._native.get(name, _FLOAT) == wanted:
            return name
        known = self._copies.get((name, wanted))
        if known is not None:
            return known
        copy = f"{name}.{'half' if wanted == _HALF else 'float'}"
        if name in self._types.constants:
            onnx = need_onnx()
            values = onnx.numpy_helper.to_array(self._types.constants[name])
            self._constants.append(onnx.numpy_helper.from_array(_rounded(values), copy))
        else:
            self._made.append(_cast(name, copy, wanted))
        self._copies[name, wanted] = copy
        return copy


def _cast(source: str, target: str, kind: int) -> Node:
    return need_onnx().helper.make_node("Cast", [source], [target], name=f"{target}.cast", to=kind)
