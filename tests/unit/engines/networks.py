"""Small networks made here, for whichever runtime is tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from reidstream_engines.image import ColorMatrix, ColorRange, PixelBox, PixelFormat, RawImage
from reidstream_engines.protocol import TensorCrop
from reidstream_engines.spec import ModelSpec, OutputSpec
from tests.support.samples import TORCHREID_INPUT

WIDTH, HEIGHT, DIM = 16, 32, 12


def spec(*, dim: int = DIM, l2_normalize: bool = True) -> ModelSpec:
    return ModelSpec(
        name="toy",
        profile="torchreid",
        artifact_sha256="0" * 64,
        space_id="1:" + "0" * 64,
        input=replace(TORCHREID_INPUT, width=WIDTH, height=HEIGHT, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        output=OutputSpec(name="embedding", dim=dim, l2_normalize=l2_normalize),
    )


def save(path: Path, nodes: list[onnx.NodeProto], batch: int | str, dim: int, **constants: NDArray[np.generic]) -> Path:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, dim])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def convolution(path: Path, batch: int | str = "batch") -> Path:
    """A small real network."""
    weights = np.random.default_rng(0).normal(size=(DIM, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "weights"], ["maps"], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    return save(path, nodes, batch, DIM, weights=weights)


def channel_means(path: Path) -> Path:
    """A vector of three means: what goes in, not-a-number included, comes out."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    return save(path, nodes, "batch", 3)


def only_one(path: Path) -> Path:
    """Works for a batch of one and fails inside onnxruntime for any other."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "shape"], ["embedding"]),
    ]
    return save(path, nodes, "batch", 3, shape=np.array([1, 3], np.int64))


def _kernel() -> NDArray[np.generic]:
    return np.random.default_rng(0).normal(size=(DIM, 3, 8, 8)).astype(np.float32)


def _saved(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[np.generic]]) -> Path:
    """A network of an exporter that lists its weights among the inputs, before the picture, as old ones do."""
    listed = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [*listed, helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


_HEAD = [
    helper.make_node("Conv", ["pixels", "kernel"], ["maps"], strides=[4, 4]),
    helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
]


def quantised(path: Path, *, activations: bool) -> Path:
    """As other tools quantise: quantised nodes in pairs, and no metadata. Without `activations`, only the weights."""
    pairs = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["pixels"]),
    ]
    nodes = [
        *(pairs if activations else [helper.make_node("Identity", ["input"], ["pixels"])]),
        helper.make_node("DequantizeLinear", ["packed", "step", "zero"], ["kernel"]),
        *_HEAD,
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    constants = {
        "packed": np.clip(_kernel() * 40, -127, 127).astype(np.int8),
        "step": np.array(1 / 40, np.float32),
        "scale": np.array(0.05, np.float32),
        "zero": np.array(0, np.int8),
    }
    return _saved(path, nodes, constants)


def half(path: Path) -> Path:
    """As converters write float16 with float32 at both ends."""
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT16),
        *_HEAD,
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["embedding"], to=TensorProto.FLOAT),
    ]
    return _saved(path, nodes, {"kernel": _kernel().astype(np.float16)})


def noise(width: int = 90, height: int = 70) -> RawImage:
    data = np.random.default_rng(1).integers(0, 256, width * height * 3, np.uint8).tobytes()
    return RawImage(
        data=data,
        format=PixelFormat.BGR,
        width=width,
        height=height,
        stride=width * 3,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )


def boxes(count: int) -> list[PixelBox]:
    return [PixelBox(x1=i % 40, y1=i % 20, x2=i % 40 + 30 + i % 17, y2=i % 20 + 41 + i % 5) for i in range(count)]


def tensor(value: float) -> TensorCrop:
    return TensorCrop(tensor=np.full((3, HEIGHT, WIDTH), value, np.float32))
