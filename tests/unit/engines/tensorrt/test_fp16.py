"""Float32 models in float16: near the original in numbers, as TensorRT is promised in types, and what stays."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from reidstream_engines.errors import ModelError, PackageMissing
from reidstream_engines.space import sha256_file
from reidstream_engines.spec_source import PRECISION_KEY, SHA_KEY
from reidstream_engines.tensorrt.fp16 import export_fp16
from reidstream_engines.tensorrt.onnx_graph import model_bytes
from tests.unit.engines.networks import DIM, HEIGHT, WIDTH, convolution, save

node = helper.make_node
POOL = [node("GlobalAveragePool", ["maps"], ["pooled"]), node("Flatten", ["pooled"], ["flat"])]
KERNEL = np.random.default_rng(0).normal(size=(DIM, 3, 3, 3)).astype(np.float32)


def images(scale: float = 1.0) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(scale=scale, size=(4, 3, HEIGHT, WIDTH)).astype(np.float32)


def run(model: bytes, batch: NDArray[np.generic]) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # every rounding is done
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["embedding"], {"input": batch})[0])


def near(path: Path, *, scale: float = 1.0, tolerance: float = 4e-3) -> Counter[str]:
    """Compare both models on images of a scale; the operators that stayed in float32."""
    batch = images(scale)
    half = export_fp16(path)
    graph = onnx.load_from_string(half.data).graph
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    assert {item.type.tensor_type.elem_type for item in graph.output} == {TensorProto.FLOAT}
    rounded = batch.astype(np.float16)
    wanted, found = run(model_bytes(path), rounded.astype(np.float32)), run(half.data, rounded)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()
    return Counter(half.kept)


def test_weights_are_half_and_nothing_stays(tmp_path: Path) -> None:
    """One cast, before the output."""
    path = convolution(tmp_path / "m.onnx")
    assert near(path) == Counter()
    graph = onnx.load_from_string(export_fp16(path).data).graph
    assert {item.data_type for item in graph.initializer} == {TensorProto.FLOAT16}
    assert [item.op_type for item in graph.node] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Cast"]


def test_it_says_what_it_is_made_from(tmp_path: Path) -> None:
    """The original's sha256, or what the original says itself; other metadata stays."""
    path = convolution(tmp_path / "m.onnx")
    for known, expected in (({"a": "b"}, None), ({SHA_KEY: "ab" * 32}, "ab" * 32)):
        model = onnx.load(path)
        helper.set_model_props(model, known)
        onnx.save(model, path)
        made = onnx.load_from_string(export_fp16(path).data)
        metadata = {item.key: item.value for item in made.metadata_props}
        assert metadata == {**known, SHA_KEY: expected or sha256_file(path), PRECISION_KEY: "fp16"}


NORMS = {
    "ReduceL2": [node("ReduceL2", ["flat"], ["length"], axes=[1], keepdims=1)],
    "ReduceSumSquare": [node("ReduceSumSquare", ["flat"], ["sum"], axes=[1]), node("Sqrt", ["sum"], ["length"])],
    "Pow": [
        node("Pow", ["flat", "two"], ["squares"]),
        node("ReduceSum", ["squares", "one"], ["sum"]),
        node("Sqrt", ["sum"], ["length"]),
    ],
    "Mul": [
        node("Mul", ["flat", "flat"], ["squares"]),
        node("ReduceSum", ["squares", "one"], ["sum"]),
        node("Sqrt", ["sum"], ["length"]),
    ],
}
CONSTANTS: dict[str, NDArray[Any]] = {
    "kernel": KERNEL,
    "two": np.array([2], np.float32),
    "one": np.array([1], np.int64),
    "tiny": np.array([1e-12], np.float32),
}


@pytest.mark.parametrize("norm", NORMS)
def test_norms_survive_values_whose_squares_leave_the_range(norm: str, tmp_path: Path) -> None:
    """And so does the epsilon in the middle; the division is in float32, too."""
    nodes = [
        node("Conv", ["input", "kernel"], ["maps"]),
        node("Relu", ["maps"], ["active"]),
        *[node("GlobalAveragePool", ["active"], ["pooled"]), node("Flatten", ["pooled"], ["flat"])],
        *NORMS[norm],
        node("Max", ["length", "tiny"], ["safe"]),
        node("Div", ["flat", "safe"], ["embedding"]),
    ]
    kept = near(save(tmp_path / "m.onnx", nodes, "batch", DIM, **CONSTANTS), scale=1000)
    assert kept == Counter([item.op_type for item in NORMS[norm]] + ["Max", "Div"])


def test_a_norm_in_one_operator(tmp_path: Path) -> None:
    """Vectors of length 1."""
    nodes = [
        node("Conv", ["input", "kernel"], ["maps"]),
        *POOL,
        node("LpNormalization", ["flat"], ["embedding"], axis=1, p=2),
    ]
    assert near(save(tmp_path / "m.onnx", nodes, "batch", DIM, kernel=KERNEL), scale=1000) == {"LpNormalization": 1}


def test_generalised_mean_pooling(tmp_path: Path) -> None:
    """Cubes of ordinary activations leave the range; the mean between them must not be taken in float16."""
    nodes = [
        node("Conv", ["input", "kernel"], ["raw"]),
        node("Clip", ["raw", "tiny"], ["maps"]),
        node("Pow", ["maps", "three"], ["cubes"]),
        node("GlobalAveragePool", ["cubes"], ["mean"]),
        node("Pow", ["mean", "third"], ["root"]),
        node("Flatten", ["root"], ["embedding"]),
    ]
    constants = {"three": np.array([3], np.float32), "third": np.array([1 / 3], np.float32)}
    tiny = np.array(1e-6, np.float32)
    kept = near(save(tmp_path / "m.onnx", nodes, "batch", DIM, kernel=KERNEL, tiny=tiny, **constants), scale=20)
    assert kept == {"Pow": 2, "GlobalAveragePool": 1, "Clip": 1, "Flatten": 1}


def test_a_layer_norm_ends_with_its_division(tmp_path: Path) -> None:
    """What comes after it is float16 again."""
    nodes = [
        node("Conv", ["input", "kernel"], ["maps"]),
        *POOL,
        node("ReduceMean", ["flat"], ["mean"], axes=[1]),
        node("Sub", ["flat", "mean"], ["centred"]),
        node("Pow", ["centred", "two"], ["squares"]),
        node("ReduceMean", ["squares"], ["variance"], axes=[1]),
        node("Add", ["variance", "tiny"], ["safe"]),
        node("Sqrt", ["safe"], ["deviation"]),
        node("Div", ["centred", "deviation"], ["normal"]),
        node("Mul", ["normal", "two"], ["scaled"]),
        node("MatMul", ["scaled", "weights"], ["embedding"]),
    ]
    weights = np.random.default_rng(2).normal(size=(DIM, DIM)).astype(np.float32)
    kept = near(save(tmp_path / "m.onnx", nodes, "batch", DIM, weights=weights, **CONSTANTS), scale=1000)
    assert kept == {"Pow": 1, "ReduceMean": 1, "Add": 1, "Sqrt": 1, "Div": 1}


def test_a_mask_that_overflows_stays(tmp_path: Path) -> None:
    """With the node that reads it, and the softmax after it."""
    nodes = [
        node("Conv", ["input", "kernel"], ["maps"]),
        *POOL,
        node("Add", ["flat", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["embedding"], axis=1),
    ]
    mask = np.where(np.arange(DIM) % 2, 0, -1e9).astype(np.float32)
    kept = near(save(tmp_path / "m.onnx", nodes, "batch", DIM, kernel=KERNEL, mask=mask))
    assert kept == {"Add": 1, "Softmax": 1}


def test_infinities_are_no_overflow(tmp_path: Path) -> None:
    """Float16 has them."""
    nodes = [node("Conv", ["input", "kernel"], ["maps"]), *POOL, node("Clip", ["flat", "low", "high"], ["embedding"])]
    limits = {"low": np.array(0, np.float32), "high": np.array(np.inf, np.float32)}
    assert near(save(tmp_path / "m.onnx", nodes, "batch", DIM, kernel=KERNEL, **limits)) == Counter()


def test_a_constant_may_be_wanted_in_both(tmp_path: Path) -> None:
    """Then it is there twice."""
    nodes = [
        node("Conv", ["input", "kernel"], ["maps"]),
        *POOL,
        node("Mul", ["flat", "two"], ["doubled"]),
        node("Pow", ["doubled", "two"], ["embedding"]),
    ]
    two = np.array([2], np.float32)
    path = save(tmp_path / "m.onnx", nodes, "batch", DIM, kernel=KERNEL, two=two)
    assert near(path, tolerance=8e-3) == {"Pow": 1}
    graph = onnx.load_from_string(export_fp16(path).data).graph
    assert Counter(item.data_type for item in graph.initializer) == {TensorProto.FLOAT16: 2, TensorProto.FLOAT: 1}


def test_a_resize_keeps_its_scales(tmp_path: Path) -> None:
    """By its schema; they are computed from the shape here, which stays as it is."""
    nodes = [
        node("Resize", ["input", "", "scales"], ["large"], mode="linear"),
        node("Shape", ["input"], ["shape"]),
        node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        node("Div", ["sizes", "sizes"], ["ones"]),
        node("Resize", ["large", "", "ones"], ["again"], mode="linear"),
        node("Conv", ["again", "kernel"], ["maps"]),
        *POOL,
        node("Identity", ["flat"], ["embedding"]),
    ]
    scales = np.array([1, 1, 1.5, 1.5], np.float32)
    path = save(tmp_path / "m.onnx", nodes, "batch", DIM, kernel=KERNEL, scales=scales)
    assert near(path) == {"Cast": 1, "Div": 1}
    graph = onnx.load_from_string(export_fp16(path).data).graph
    assert {item.name: item.data_type for item in graph.initializer}["scales"] == TensorProto.FLOAT


def normalisation(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """A variance that float16 has no digits for."""
    given = {
        "gamma": rng.uniform(0.5, 2, DIM),
        "beta": rng.normal(size=DIM),
        "mean": rng.normal(size=DIM),
        "variance": rng.uniform(1e-6, 2, DIM),
    }
    return {name: value.astype(np.float32) for name, value in given.items()}


BATCH_NORM = ["gamma", "beta", "mean", "variance"]
HEADS: dict[str, tuple[list[onnx.NodeProto], int]] = {
    "after a convolution": (
        [
            node("Conv", ["input", "kernel", "bias"], ["raw"]),
            node("BatchNormalization", ["raw", *BATCH_NORM], ["maps"], epsilon=1e-6),
            *POOL,
            node("Identity", ["flat"], ["embedding"]),
        ],
        0,
    ),
    "after a product": (
        [
            node("Conv", ["input", "kernel"], ["maps"]),
            *POOL,
            node("Gemm", ["flat", "weights", "bias"], ["raw"], transB=1),
            node("BatchNormalization", ["raw", *BATCH_NORM], ["embedding"], epsilon=1e-6),
        ],
        0,
    ),
    "after a product whose bias is one number": (
        [
            node("Conv", ["input", "kernel"], ["maps"]),
            *POOL,
            node("Gemm", ["flat", "weights", "one"], ["raw"]),
            node("BatchNormalization", ["raw", *BATCH_NORM], ["embedding"], epsilon=1e-6),
        ],
        1,
    ),
    "after something else": (
        [
            node("Conv", ["input", "kernel"], ["raw"]),
            node("Relu", ["raw"], ["active"]),
            node("BatchNormalization", ["active", *BATCH_NORM], ["maps"], epsilon=1e-6),
            *POOL,
            node("Identity", ["flat"], ["embedding"]),
        ],
        1,
    ),
    "after a convolution that others read": (
        [
            node("Conv", ["input", "kernel"], ["raw"]),
            node("BatchNormalization", ["raw", *BATCH_NORM], ["normal"], epsilon=1e-6),
            node("Add", ["raw", "normal"], ["maps"]),
            *POOL,
            node("Identity", ["flat"], ["embedding"]),
        ],
        1,
    ),
}


@pytest.mark.parametrize("head", HEADS)
def test_batch_normalisations_go_into_weights(head: str, tmp_path: Path) -> None:
    """Or become a multiplication and an addition; never float16 of a variance."""
    nodes, written_out = HEADS[head]
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(DIM, DIM)).astype(np.float32)
    given = {"weights": weights, "bias": rng.normal(size=DIM).astype(np.float32), "one": np.ones(1, np.float32)}
    path = save(tmp_path / "m.onnx", nodes, "batch", DIM, kernel=KERNEL, **given, **normalisation(rng))
    assert near(path) == Counter()
    operators = Counter(item.op_type for item in onnx.load_from_string(export_fp16(path).data).graph.node)
    assert operators["BatchNormalization"] == 0
    assert operators["Mul"] == written_out


def test_an_output_that_others_read_keeps_its_name(tmp_path: Path) -> None:
    """In float32; the others read the float16."""
    path = convolution(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, None))
    onnx.save(model, path)
    near(path)


def test_weights_beside_the_file_come_in(tmp_path: Path) -> None:
    """And count for the sha256."""
    path = convolution(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    near(path)
    made = onnx.load_from_string(export_fp16(path).data)
    sha = {item.key: item.value for item in made.metadata_props}[SHA_KEY]
    assert sha == sha256_file(path, tmp_path / "m.data")


def test_constant_nodes_and_listed_weights_are_weights(tmp_path: Path) -> None:
    """Old exporters list weights as inputs."""
    path = save(
        tmp_path / "m.onnx",
        [
            node("Constant", [], ["kernel"], value=numpy_helper.from_array(KERNEL)),
            node("Constant", [], ["factor"], value_float=2.0),
            node("Conv", ["input", "kernel"], ["maps"]),
            *POOL,
            node("Mul", ["flat", "factor"], ["scaled"]),
            node("Add", ["scaled", "bias"], ["embedding"]),
        ],
        "batch",
        DIM,
        bias=np.ones(DIM, np.float32),
    )
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, [DIM]))
    onnx.save(model, path)
    near(path)
    graph = onnx.load_from_string(export_fp16(path).data).graph
    assert [item.name for item in graph.input] == ["input"]
    assert {item.data_type for item in graph.initializer} == {TensorProto.FLOAT16}


def quantised(path: Path) -> Path:
    nodes = [
        node("QuantizeLinear", ["input", "scale"], ["small"]),
        node("DequantizeLinear", ["small", "scale"], ["maps"]),
        *POOL,
        node("Identity", ["flat"], ["embedding"]),
    ]
    return save(path, nodes, "batch", 3, scale=np.array(0.1, np.float32))


def branching(path: Path) -> Path:
    body = helper.make_graph(
        [node("Identity", ["input"], ["same"])],
        "b",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)],
    )
    nodes = [
        node("If", ["yes"], ["maps"], then_branch=body, else_branch=body),
        *POOL,
        node("Identity", ["flat"], ["embedding"]),
    ]
    return save(path, nodes, "batch", 3, yes=np.array(True))


def training(path: Path) -> Path:
    nodes = [
        node("BatchNormalization", ["input", *["three"] * 4], ["maps", "m", "v"], training_mode=1),
        *POOL,
        node("Identity", ["flat"], ["embedding"]),
    ]
    return save(path, nodes, "batch", 3, three=np.ones(3, np.float32))


def bytes_in(path: Path) -> Path:
    model = onnx.load(convolution(path))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.node.insert(0, node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "pixels"
    onnx.save(model, path)
    return path


def garbage(path: Path) -> Path:
    path.write_bytes(b"no model")
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def inconsistent(path: Path) -> Path:
    model = onnx.load(convolution(path))
    weights = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (quantised, "it is quantised"),
        (branching, "control flow"),
        (training, "export the model for inference"),
        (bytes_in, "no float32 input"),
        (garbage, "is not an ONNX model"),
        (empty, "is not an ONNX model"),
        (inconsistent, "do not fit together"),
        (lambda path: path, "is not an ONNX model"),
    ],
)
def test_what_is_refused(make: Any, reason: str, tmp_path: Path) -> None:
    """With the file's name and the reason."""
    with pytest.raises(ModelError, match=reason) as raised:
        export_fp16(make(tmp_path / "m.onnx"))
    assert "m.onnx" in str(raised.value)


def test_without_onnx_the_line_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in one piece needs no package in float32."""
    path = convolution(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert model_bytes(path) == path.read_bytes()
    with pytest.raises(PackageMissing, match=r"pip install 'reidstream-engines\[gpu\]'"):
        export_fp16(path)
