"""external_data: weights beside an ONNX file are found wherever the format can hold them, and name the space."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from reidstream_engines import default_model
from reidstream_engines.errors import ModelError
from reidstream_engines.external_data import external_files
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.spec import ModelSpec
from reidstream_engines.spec_source import resolve_spec


def constant(name: str, location: str | None = None) -> TensorProto:
    """A tensor; with a location, of weights that lie there."""
    tensor = numpy_helper.from_array(np.ones(3, np.float32), name)
    if location is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="offset", value="0")
        tensor.external_data.add(key="location", value=location)
    return tensor


def network(nodes: list[onnx.NodeProto], initializers: list[TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "toy", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])])
    graph.initializer.extend(initializers)
    return helper.make_model(graph)


def names(model: onnx.ModelProto, folder: Path) -> list[str]:
    path = folder / "toy.onnx"
    path.write_bytes(model.SerializeToString())
    found = external_files(path)
    assert all(file.parent == folder for file in found)
    return [file.name for file in found]


class TestFinding:
    def test_a_file_with_all_its_weights(self, tmp_path: Path) -> None:
        """The usual case."""
        assert names(network([], [constant("w")]), tmp_path) == []
        assert external_files(default_model.PATH) == ()

    def test_initializers(self, tmp_path: Path) -> None:
        """Each file once, in the order of names, whatever the order of the tensors."""
        weights = [constant("a", "z.bin"), constant("b", "a.bin"), constant("c"), constant("d", "z.bin")]
        assert names(network([], weights), tmp_path) == ["a.bin", "z.bin"]

    def test_constants_in_branches(self, tmp_path: Path) -> None:
        """A tensor as a node's attribute, in a graph that is an attribute of another node."""
        inner = helper.make_graph(
            [helper.make_node("Constant", [], ["c"], value=constant("c", "branch.bin"))],
            "branch",
            [],
            [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])],
            [constant("w", "inner.bin")],
        )
        outer = helper.make_node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner)
        assert names(network([outer], []), tmp_path) == ["branch.bin", "inner.bin"]

    def test_functions_and_lists(self, tmp_path: Path) -> None:
        """In the model's own functions, and in attributes that hold several tensors or graphs."""
        model = network([helper.make_node("Own", [], ["y"], domain="own")], [])
        node = helper.make_node("Constant", [], ["y"], value=constant("c", "function.bin"))
        model.functions.append(helper.make_function("own", "Own", [], ["y"], [node], []))
        listed = helper.make_node("Lists", [], [], tensors=[constant("t", "listed.bin")])
        graphs = [helper.make_graph([], "g", [], [], [constant("w", "graphs.bin")])]
        model.graph.node.extend([listed, helper.make_node("Lists", [], [], graphs=graphs)])
        assert names(model, tmp_path) == ["function.bin", "graphs.bin", "listed.bin"]

    def test_a_functions_default_attributes(self, tmp_path: Path) -> None:
        """A function may say what its nodes get if a caller says nothing."""
        model = network([], [])
        attribute = helper.make_attribute("value", constant("c", "default.bin"))
        model.functions.add(name="Own", domain="own").attribute_proto.append(attribute)
        assert names(model, tmp_path) == ["default.bin"]

    def test_sparse_tensors(self, tmp_path: Path) -> None:
        """Their values and their indices; as initializers, as an attribute, and in a list of them."""
        model = network([], [])
        model.graph.sparse_initializer.add(values=constant("v", "values.bin"), indices=constant("i", "indices.bin"))
        node = model.graph.node.add(op_type="Sparse")
        node.attribute.add(name="one").sparse_tensor.values.CopyFrom(constant("v", "one.bin"))
        node.attribute.add(name="many").sparse_tensors.add(values=constant("v", "many.bin"))
        assert names(model, tmp_path) == ["indices.bin", "many.bin", "one.bin", "values.bin"]

    @pytest.mark.parametrize(
        "unknown", [b"\x89\x06" + bytes(8), b"\x8d\x06" + bytes(4), b"\x88\x06" + b"\xff" * 9 + b"\x01"]
    )
    def test_fields_that_a_newer_format_adds(self, tmp_path: Path, unknown: bytes) -> None:
        """Numbers of eight bytes, of four, and of up to ten are stepped over."""
        path = tmp_path / "toy.onnx"
        path.write_bytes(unknown + network([], [constant("a", "a.bin")]).SerializeToString())
        assert external_files(path) == (tmp_path / "a.bin",)

    def test_other_things_that_are_called_location(self, tmp_path: Path) -> None:
        """Metadata looks the same in the file, and says where a camera hangs."""
        model = network([], [constant("location")])
        helper.set_model_props(model, {"location": "hall"})
        assert names(model, tmp_path) == []

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """OSError; whoever asked knows what the file is."""
        with pytest.raises(FileNotFoundError):
            external_files(tmp_path / "none.onnx")

    def test_truncated_anywhere(self, tmp_path: Path) -> None:
        """Nothing is found before the graph is whole, and nothing goes wrong."""
        model = network([], [constant("a", "a.bin"), constant("b", "b.bin")])
        content, graph = model.SerializeToString(), model.graph.SerializeToString()
        path = tmp_path / "toy.onnx"
        found = []
        for length in range(len(content) + 1):
            path.write_bytes(content[:length])
            found.append(len(external_files(path)))
        graph_ends = content.index(graph) + len(graph)
        assert found == [0] * graph_ends + [2] * (len(found) - graph_ends)

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    @example(b"=")  # a number of four bytes where a graph belongs, and no byte of it
    def test_garbage(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        """It ends, without an exception, and no location is made up."""
        path = tmp_path_factory.getbasetemp() / "garbage.onnx"
        path.write_bytes(content)
        assert external_files(path) == ()


def save_apart(path: Path, weight: float) -> None:
    """A small network whose weights lie beside it."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
        ],
        "toy",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 4])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 512])],
        [numpy_helper.from_array(np.full((3, 512), weight, np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)


def load(path: Path) -> ModelSpec:
    return resolve_spec(path=path, signature=read_signature(path), name=None, profile="torchreid")


class TestSpaces:
    def test_two_trainings_of_one_network(self, tmp_path: Path) -> None:
        """Their ONNX files are the same bytes; their spaces are two, and each can be computed by hand."""
        paths = [tmp_path / name / "toy.onnx" for name in ("monday", "tuesday")]
        for path, weight in zip(paths, (1.0, 2.0), strict=True):
            path.parent.mkdir()
            save_apart(path, weight)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        specs = [load(path) for path in paths]
        assert specs[0].space_id != specs[1].space_id
        for path, spec in zip(paths, specs, strict=True):
            content = path.read_bytes() + path.with_name("toy.onnx.data").read_bytes()
            assert spec.artifact_sha256 == hashlib.sha256(content).hexdigest()

    def test_weights_that_went_away(self, tmp_path: Path) -> None:
        """Between loading and hashing: a ModelError that names the model and the missing file."""
        path = tmp_path / "toy.onnx"
        save_apart(path, 1.0)
        signature = read_signature(path)
        (weights,) = external_files(path)
        weights.unlink()
        with pytest.raises(ModelError, match=r"toy\.onnx: .*toy\.onnx\.data"):
            resolve_spec(path=path, signature=signature, name=None, profile="torchreid")
