"""Plans are examined in a real child process, which may die of it, hang, or say anything."""

from __future__ import annotations

import json

import pytest

from reidstream_engines.errors import PlanError
from reidstream_engines.tensorrt.api import Flavour, TensorType
from reidstream_engines.tensorrt.examine import Examined, examine
from tests.unit.engines.tensorrt.conftest import IMAGE, VECTOR, PlanFile


def failure(plan_file: PlanFile, **script: object) -> str:
    path = plan_file(**script)
    with pytest.raises(PlanError) as raised:
        examine(path, Flavour.TENSORRT)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_what_a_plan_says(plan_file: PlanFile) -> None:
    """Whatever TensorRT prints besides."""
    found = examine(plan_file(), Flavour.TENSORRT)
    assert found.tensorrt_version == "11.4.0"
    ((image,), (vector,)) = found.inputs, found.outputs
    assert (image.name, image.dtype, image.shape) == ("input", TensorType.FP32, (-1, 3, 32, 16))
    assert (vector.name, vector.dtype, vector.shape) == ("embedding", TensorType.FP32, (-1, 12))
    assert (found.least_batch, found.most_batch, found.static_batch) == (1, 16, None)
    assert (found.memory_bytes, found.layers) == (4096, ())


@pytest.mark.parametrize(
    ("name", "kind"), [("HALF", TensorType.FP16), ("UINT8", TensorType.UINT8), ("FLOAT", TensorType.FP32)]
)
def test_a_static_batch_and_types(name: str, kind: TensorType, plan_file: PlanFile) -> None:
    """As they are in the plan."""
    found = examine(plan_file(("input", "INPUT", name, [4, 3, 32, 16]), VECTOR), Flavour.TENSORRT)
    assert (found.static_batch, found.least_batch, found.most_batch) == (4, 4, 4)
    assert found.inputs[0].dtype is kind


def test_an_old_name_of_the_memory(plan_file: PlanFile) -> None:
    """Of TensorRT 8."""
    assert examine(plan_file(memory="device_memory_size"), Flavour.TENSORRT).memory_bytes == 4096


def test_layers(plan_file: PlanFile) -> None:
    """Names, or more, as the plan was built; nonsense is none."""
    detailed = {"Name": "conv1", "LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": "Half NCHW"}]}

    def layers(said: str) -> tuple[str, ...]:
        return examine(plan_file(layers=said), Flavour.TENSORRT).layers

    assert layers(json.dumps({"Layers": ["conv1", detailed, {}]})) == ("conv1", "conv1  CaskConvolution  Half NCHW")
    assert layers("no JSON") == layers("[]") == layers("{}") == ()


def test_a_crash_is_named(plan_file: PlanFile) -> None:
    """The child's, not ours."""
    assert "ended with SIGSEGV" in failure(plan_file, do="crash")


def test_an_exit_is_named_with_what_was_said(plan_file: PlanFile) -> None:
    """A library may end its process as well."""
    text = failure(plan_file, do="exit")
    assert "with exit code 3" in text
    assert "a library gave up" in text


def test_a_child_that_hangs_is_ended(plan_file: PlanFile) -> None:
    """After a while."""
    with pytest.raises(PlanError, match="took longer than 3 s"):
        examine(plan_file(do="hang"), Flavour.TENSORRT, patience_s=3)


def test_a_refused_plan_says_why(plan_file: PlanFile) -> None:
    """What TensorRT's logger had."""
    text = failure(plan_file, do="refuse")
    assert "TensorRT 11.4.0 refuses the plan" in text
    assert "version tag does not match" in text


@pytest.mark.parametrize(
    "said", [{}, [], "x", 3, None, {"error": ""}, {"error": 1}, {"error": "", "extra": 1}], ids=repr
)
def test_nonsense_is_not_believed(said: object, plan_file: PlanFile) -> None:
    """A process that is dying may print anything."""
    assert "what was found in" in failure(plan_file, do="lie", lie=said)


def test_what_is_no_json_is_shown(plan_file: PlanFile) -> None:
    """The first of it."""
    assert "is not JSON" in failure(plan_file, do="garbage")
    assert "all is well" in failure(plan_file, do="garbage")


def test_types_that_are_not_served(plan_file: PlanFile) -> None:
    """With the tensor's name."""
    path = plan_file(("input", "INPUT", "INT8", [4, 3, 32, 16]), VECTOR)
    with pytest.raises(PlanError, match="tensor input has type INT8; the supported types are FLOAT, HALF, UINT8"):
        examine(path, Flavour.TENSORRT)


def test_a_file_that_is_not_there(plan_file: PlanFile) -> None:
    """Is the child's to say."""
    with pytest.raises(PlanError, match="No such file"):
        examine(plan_file().with_name("nowhere.engine"), Flavour.TENSORRT)


def test_the_least_of_several_inputs(plan_file: PlanFile) -> None:
    """What fits all."""
    found: Examined = examine(
        plan_file(IMAGE, ("mask", "INPUT", "FLOAT", [-1, 5], 2, 8), ("size", "INPUT", "FLOAT", []), VECTOR),
        Flavour.TENSORRT,
    )
    assert (found.least_batch, found.most_batch) == (2, 1)
