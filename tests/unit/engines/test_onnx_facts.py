"""What an ONNX file says of its network without being loaded: batch size and precision, whoever wrote the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidstream_engines import default_model
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import InferenceRuntime, OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.onnx_facts import PLAIN_FACTS, OnnxFacts, read_facts
from reidstream_engines.selftest import self_test
from tests.unit.engines.networks import convolution, half, quantised

RUNTIMES = (InferenceRuntime.ONNXRUNTIME, pytest.param(InferenceRuntime.OPENVINO, marks=pytest.mark.needs("openvino")))


@pytest.mark.parametrize(("batch", "fixed"), [("batch", None), (1, 1), (16, 16)])
def test_the_batch_size(tmp_path: Path, batch: int | str, fixed: int | None) -> None:
    """The only one that the network takes, or none in particular."""
    assert read_facts(convolution(tmp_path / "m.onnx", batch)) == OnnxFacts(fixed_batch=fixed)


def test_weights_among_the_inputs_are_no_batch(tmp_path: Path) -> None:
    """The first axis of a convolution's kernel is not the picture's."""
    assert read_facts(half(tmp_path / "m.onnx")).fixed_batch is None


def test_the_embedded_model_and_files_of_other_kinds(tmp_path: Path) -> None:
    """Nothing in particular: whoever loads such a file says what is wrong with it."""
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("no model")
    for path in (default_model.PATH, tmp_path, *(tmp_path / f"{name}.onnx" for name in ("empty", "text", "none"))):
        assert read_facts(path) == PLAIN_FACTS


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("kind", "precision"), [("plain", "fp32"), ("half", "fp16"), ("quantised", "int8"), ("weights", "int8")]
)
def test_a_file_is_called_what_it_is(tmp_path: Path, kind: str, precision: str, runtime: InferenceRuntime) -> None:
    """Whoever made it, whatever runs it; and such files pass the self-test."""
    path = tmp_path / "m.onnx"
    match kind:
        case "plain":
            convolution(path)
        case "half":
            half(path)
        case _:
            quantised(path, activations=kind == "quantised")
    engine = load_onnx(path, name=None, profile="torchreid", options=OnnxOptions(runtime=runtime, slots=1, max_batch=2))
    assert engine.info.precision == precision
    assert read_facts(path).precision() == precision
    self_test(engine, CpuStager())
    engine.close()


@pytest.mark.parametrize(
    ("facts", "computed", "precision"),
    [
        (PLAIN_FACTS, (), "fp32"),
        (PLAIN_FACTS, ("fp32", "bf16"), "bf16"),
        (OnnxFacts(floats="fp16"), ("fp32",), "fp16"),
        (OnnxFacts(quantized=True), ("bf16",), "int8+bf16"),
        (OnnxFacts(quantized=True, floats="fp16"), (), "int8+fp16"),
    ],
)
def test_what_is_less_than_fp32_is_named(facts: OnnxFacts, computed: tuple[str, ...], precision: str) -> None:
    """In the file, and in the computing."""
    assert facts.precision(*computed) == precision
