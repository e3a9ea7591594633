"""INT8 files: a space of their own, served without a profile, by both runtimes; and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from reidstream_engines.cli import main
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import InferenceRuntime, OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import InvalidImage, ModelError, PackageMissing
from reidstream_engines.quantize import MAX_CROPS, QUANTIZED_FROM_KEY, Quantized, find_crops, quantize
from reidstream_engines.selftest import self_test
from reidstream_engines.space import sha256_file
from reidstream_engines.spec_source import SHA_KEY
from tests.unit.engines.networks import channel_means, save

CROPS = 20
DIM = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of blocks, in two subfolders."""
    rng = np.random.default_rng(0)
    for index in range(CROPS):
        blocks = rng.integers(0, 256, (8, 4, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        path = tmp_path / "crops" / f"camera{index % 2}" / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), blocks)
    return tmp_path / "crops"


def gated(path: Path) -> Path:
    """Two convolutions in a row, a gate as OSNet has, a head; nodes have no names."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "w3"], ["e"]),
        helper.make_node("Sigmoid", ["e"], ["f"]),
        helper.make_node("Mul", ["c", "f"], ["g"]),
        helper.make_node("Conv", ["g", "w4"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["i"]),
        helper.make_node("Flatten", ["i"], ["embedding"]),
    ]
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8, 1, 1), "w4": (DIM, 8, 1, 1)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return save(path, nodes, "batch", DIM, **weights)


def made(source: Path, folder: Path, profile: str | None = "torchreid") -> tuple[Path, Quantized]:
    target = source.with_name("int8.onnx")
    return target, quantize(source, target, profile=profile, crops=find_crops(folder), tick=lambda: None)


def test_it_is_a_space_of_its_own_that_says_where_it_is_from(tmp_path: Path, folder: Path) -> None:
    """And is served without a profile; the self-test passes."""
    source = gated(tmp_path / "m.onnx")
    original = load_onnx(source, name=None, profile="torchreid", options=OnnxOptions()).spec
    target, result = made(source, folder)
    engine = load_onnx(target, name=None, profile=None, options=OnnxOptions())
    assert engine.spec.space_id == result.spec.space_id != original.space_id
    assert (engine.spec.input, engine.spec.output) == (original.input, original.output)
    assert engine.info.precision == "int8"
    metadata = {item.key: item.value for item in onnx.load(target).metadata_props}
    assert metadata[QUANTIZED_FROM_KEY] == sha256_file(source)
    assert engine.spec.artifact_sha256 == sha256_file(target)
    self_test(engine, CpuStager())


def test_another_calibration_is_another_space(tmp_path: Path, folder: Path) -> None:
    """The ranges move the vectors; the same crops give the same file."""
    source = gated(tmp_path / "m.onnx")
    first, again = made(source, folder)[1], made(source, folder)[1]
    for path in sorted(folder.rglob("*.png")):
        cv2.imwrite(str(path), np.full((40, 20, 3), 90, np.uint8))
    other = made(source, folder)[1]
    assert first.spec.space_id == again.spec.space_id != other.spec.space_id


def test_a_derived_file_does_not_hand_its_space_on(tmp_path: Path, folder: Path) -> None:
    """It carries its original's sha256, which is the origin of the INT8 file, and not its identity."""
    source = gated(tmp_path / "m.onnx")
    model = onnx.load(source)
    helper.set_model_props(model, {SHA_KEY: "ab" * 32})
    onnx.save(model, source)
    target, result = made(source, folder)
    metadata = {item.key: item.value for item in onnx.load(target).metadata_props}
    assert SHA_KEY not in metadata
    assert metadata[QUANTIZED_FROM_KEY] == "ab" * 32
    assert result.spec.artifact_sha256 != "ab" * 32


def test_the_first_convolution_the_gate_and_the_head_stay_float(tmp_path: Path, folder: Path) -> None:
    """Two of the four convolutions are quantised, each with a scale per output channel."""
    target, result = made(gated(tmp_path / "m.onnx"), folder)
    assert result.layers == 2
    graph = onnx.load(target).graph
    ranks = {item.name: len(item.dims) for item in graph.initializer}
    scales = [node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert sum(ranks[name] == 1 for name in scales) >= 2
    assert {item.data_type for item in graph.initializer} >= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT8}


def test_vectors_stay_near_and_are_compared_on_crops_that_were_held_out(tmp_path: Path, folder: Path) -> None:
    """A fifth of them. The bound is for this network, whose weights are noise."""
    source = gated(tmp_path / "m.onnx")
    ticks: list[None] = []
    result = quantize(
        source,
        tmp_path / "int8.onnx",
        profile="torchreid",
        crops=find_crops(folder),
        tick=lambda: ticks.append(None),
    )
    assert (result.calibrated_with, len(result.cosines), len(ticks)) == (16, 4, CROPS)
    assert 0.99 < min(result.cosines) <= max(result.cosines) <= 1.0001


@pytest.mark.needs("openvino")
def test_openvino_runs_it_in_int8_too(tmp_path: Path, folder: Path) -> None:
    """Read from the compiled network, and near what onnxruntime answers."""
    target, _ = made(gated(tmp_path / "m.onnx"), folder)
    engines = [
        load_onnx(target, name=None, profile=None, options=OnnxOptions(runtime=runtime, max_batch=4))
        for runtime in (InferenceRuntime.ONNXRUNTIME, InferenceRuntime.OPENVINO)
    ]
    assert [engine.info.precision for engine in engines] == ["int8", "int8"]
    assert len({engine.spec.space_id for engine in engines}) == 1


def test_crops_are_thinned_out_evenly(tmp_path: Path) -> None:
    """Any depth, any case of the suffix; nothing else."""
    for index in range(2 * MAX_CROPS):
        (tmp_path / f"{index:04d}.JPG").touch()
    (tmp_path / "notes.txt").touch()
    found = find_crops(tmp_path)
    assert [path.name for path in found] == [f"{index:04d}.JPG" for index in range(0, 2 * MAX_CROPS, 2)]


def test_too_few_crops_are_refused(tmp_path: Path) -> None:
    """Also a folder that is not there."""
    with pytest.raises(ModelError, match=r"has 0 pictures.*at least 10"):
        find_crops(tmp_path / "nowhere")


def test_a_crop_that_is_no_picture_is_named(tmp_path: Path, folder: Path) -> None:
    """Before anything is written."""
    (folder / "camera0" / "04.png").write_bytes(b"no picture")
    with pytest.raises(InvalidImage, match=r"04\.png: "):
        made(gated(tmp_path / "m.onnx"), folder)
    assert not (tmp_path / "int8.onnx").exists()


def test_networks_with_nothing_to_quantise_are_refused(tmp_path: Path, folder: Path) -> None:
    """No convolution, or INT8 already."""
    with pytest.raises(ModelError, match="no convolution"):
        made(channel_means(tmp_path / "m.onnx"), folder)
    target, _ = made(gated(tmp_path / "m.onnx"), folder)
    with pytest.raises(ModelError, match="quantised already"):
        quantize(target, tmp_path / "again.onnx", profile=None, crops=find_crops(folder), tick=lambda: None)


@pytest.mark.parametrize("package", ["onnx", "tqdm"])
def test_without_the_packages_the_line_that_installs_them_is_said(
    package: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typed error."""
    source = gated(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackageMissing, match=rf"{package}.*pip install 'reidstream-engines\[quantize\]'"):
        made(source, folder)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("", "it is a folder; name a file in it"),
        ("crop/x.onnx", "cannot be written"),
        ("float.onnx", "the float32 file itself"),
    ],
)
def test_an_output_that_cannot_be_written_is_known_before_the_calibration(
    tmp_path: Path, folder: Path, output: str, said: str
) -> None:
    """Which takes minutes; an older file that an interrupted run would replace stays."""
    source = gated(tmp_path / "float.onnx")
    (tmp_path / "crop").write_text("a file")
    ticks: list[int] = []
    with pytest.raises(ModelError, match=said):
        quantize(source, tmp_path / output, profile="torchreid", crops=find_crops(folder), tick=lambda: ticks.append(1))
    assert ticks == []


def test_hidden_files_are_no_crops(folder: Path) -> None:
    """A Mac leaves one beside each picture on a foreign disk."""
    before = find_crops(folder)
    for path in before:
        path.with_name(f"._{path.name}").write_bytes(b"not a picture")
    assert find_crops(folder) == before


def test_the_command(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Writes the file, and says its space and how near it is; failures are exit code 1 with one message."""
    source, target = gated(tmp_path / "m.onnx"), tmp_path / "out.onnx"
    arguments = ["quantize", str(source), "--profile", "torchreid", "-o", str(target), "--calibration"]
    assert main([*arguments, str(folder)]) == 0
    out = capsys.readouterr().out
    assert "2 layers in int8, calibrated with 16 crops" in out
    assert "on 4 other crops: mean " in out
    assert main(["inspect", str(target)]) == 0
    assert "engine       onnxruntime on cpu, int8" in capsys.readouterr().out
    assert main([*arguments, str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.startswith("reidstream-engines: ")
