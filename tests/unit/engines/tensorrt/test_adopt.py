"""Plans of trtexec's: kept with a manifest, opened again where they fit, refused with a reason where they do not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.errors import DeviceUnavailable, EnginesError, PlanError, SpecError
from reidstream_engines.space import sha256_file
from reidstream_engines.tensorrt.adopt import AdoptedPlan, adopt_plan, open_adopted
from reidstream_engines.tensorrt.api import TensorType
from reidstream_engines.tensorrt.cache import MANIFEST, PLAN, PlanCache
from reidstream_engines.tensorrt.manifest import Origin, PlanPrecision
from tests.unit.engines.networks import convolution
from tests.unit.engines.tensorrt.conftest import IMAGE, VECTOR, PlanFile
from tests.unit.engines.tensorrt.plan_parts import IMAGE as BUILT
from tests.unit.engines.tensorrt.plan_parts import MANIFEST as BUILT_MANIFEST


def adopted(path: Path, tmp_path: Path, **changes: Any) -> AdoptedPlan:
    given: dict[str, Any] = {
        "profile": "torchreid",
        "architecture": "sm_90",
        "cache": PlanCache(root=tmp_path / "plans"),
    }
    return adopt_plan(path, **(given | changes))


def test_it_is_kept_and_opened_again(plan_file: PlanFile, tmp_path: Path) -> None:
    """The same bytes, spec and space; the original may go."""
    path = plan_file()
    image = path.read_bytes()
    found = adopted(path, tmp_path)
    path.unlink()
    manifest = found.plan.manifest
    assert (manifest.origin, manifest.key.precision, manifest.key.architecture) == (
        Origin.ADOPTED,
        PlanPrecision.UNKNOWN,
        "sm_90",
    )
    assert (manifest.max_batch, manifest.static_batch, manifest.key.tensorrt_version) == (16, None, "11.4.0")
    assert found.spec.artifact_sha256 == manifest.plan_sha256
    again = open_adopted(found.plan.folder, architecture="sm_90")
    assert again.plan.image == image
    assert again.spec.space_id == found.spec.space_id
    assert (again.spec.name, again.spec.input, again.spec.output) == ("m", found.spec.input, found.spec.output)


def test_a_static_batch_is_its_piece(plan_file: PlanFile, tmp_path: Path) -> None:
    """And the input's type is recorded."""
    for name, kind in (("HALF", TensorType.FP16), ("FLOAT", TensorType.FP32)):
        path = plan_file(("input", "INPUT", name, [8, 3, 32, 16]), ("embedding", "OUTPUT", "HALF", [8, 12]))
        manifest = adopted(path, tmp_path).plan.manifest
        assert (manifest.max_batch, manifest.static_batch, manifest.input.dtype) == (8, 8, kind)


def test_with_its_model_it_is_in_the_models_space(plan_file: PlanFile, tmp_path: Path) -> None:
    """Alone it is in one of its own."""
    model = convolution(tmp_path / "net.onnx")
    spec = load_onnx(model, name=None, profile="torchreid", options=OnnxOptions()).spec
    alone, named = adopted(plan_file(), tmp_path), adopted(plan_file(), tmp_path, model=model, name="net")
    assert named.spec.space_id == spec.space_id != alone.spec.space_id
    assert named.spec.artifact_sha256 == sha256_file(model)
    assert open_adopted(named.plan.folder, architecture="sm_90").spec.space_id == spec.space_id


def test_a_model_that_it_was_not_built_from(plan_file: PlanFile, tmp_path: Path) -> None:
    """Other tensors tell."""
    model = convolution(tmp_path / "net.onnx")
    path = plan_file(IMAGE, ("embedding", "OUTPUT", "FLOAT", [-1, 13]))
    with pytest.raises(
        PlanError, match=r"to embedding \[-1, 13\], .* \[batch, 12\]: the plan was not built from this model"
    ):
        adopted(path, tmp_path, model=model)


def test_a_model_whose_space_cannot_be_written_down(plan_file: PlanFile, tmp_path: Path) -> None:
    """Which of several outputs was taken is part of the space, and the plan has only one."""
    model = onnx.load(convolution(tmp_path / "net.onnx"))
    model.graph.output.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text('profile = "torchreid"\noutput = "embedding"\n', "utf-8")
    with pytest.raises(PlanError, match="adopt it without naming its model"):
        adopted(plan_file(), tmp_path, model=tmp_path / "net.onnx", profile=None)


def test_a_toml_beside_the_plan(plan_file: PlanFile, tmp_path: Path) -> None:
    """Says how pictures are prepared; without one, and without a profile, nothing does."""
    path = plan_file()
    with pytest.raises(SpecError, match="--profile NAME"):
        adopted(path, tmp_path, profile=None)
    path.with_suffix(".toml").write_text('profile = "fastreid"\n', "utf-8")
    found = adopted(path, tmp_path, profile=None)
    assert open_adopted(found.plan.folder, architecture="sm_90").spec.space_id == found.spec.space_id


BYTES_IN = "input input is uint8; it must be float32 or float16.*Export the model with a float input"
REFUSED = {
    "two inputs": ([IMAGE, ("mask", "INPUT", "FLOAT", [-1, 4], 1, 16), VECTOR], "has 2 inputs and 1 outputs"),
    "two outputs": ([IMAGE, VECTOR, ("maps", "OUTPUT", "FLOAT", [-1, 3])], "has 1 inputs and 2 outputs"),
    "no image": ([("input", "INPUT", "FLOAT", [-1, 3], 1, 16), VECTOR], "it must be .batch"),
    "open size": ([("input", "INPUT", "FLOAT", [-1, 3, -1, 16], 1, 16), VECTOR], "it must be .batch"),
    "no batch of one": ([("input", "INPUT", "FLOAT", [-1, 3, 32, 16], 2, 16), VECTOR], "--minShapes"),
    "bytes out": ([IMAGE, ("embedding", "OUTPUT", "UINT8", [-1, 12])], "output embedding is uint8"),
    "no vector": ([IMAGE, ("embedding", "OUTPUT", "FLOAT", [-1, 12, 3])], r"float output \[batch, dim\]"),
    "bytes in": ([("input", "INPUT", "UINT8", [-1, 3, 32, 16], 1, 16), VECTOR], BYTES_IN),
    "pixels last": ([("input", "INPUT", "FLOAT", [-1, 32, 16, 3], 1, 16), VECTOR], "has 32 channels"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_served_is_not_kept(kind: str, plan_file: PlanFile, tmp_path: Path) -> None:
    """With the reason."""
    tensors, reason = REFUSED[kind]
    with pytest.raises(EnginesError, match=reason):
        adopted(plan_file(*tensors), tmp_path)
    assert not (tmp_path / "plans").exists()


def test_a_plan_that_kills_its_reader(plan_file: PlanFile, tmp_path: Path) -> None:
    """Is refused, and this process lives."""
    with pytest.raises(PlanError, match="SIGSEGV"):
        adopted(plan_file(do="crash"), tmp_path)
    with pytest.raises(PlanError, match="No such file"):
        adopted(tmp_path / "nowhere.engine", tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4\nsize 9\n", "is a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "is an HTML page"),
    ],
)
def test_what_stands_for_a_plan_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """No process must die to find that out."""
    path = tmp_path / "osnet.engine"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=said):
        adopted(path, tmp_path)


def test_without_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What installs it is said, before any child."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeviceUnavailable, match=r"container.*--extra-index-url URL.*docs/gpu\.md"):
        adopted(tmp_path / "m.engine", tmp_path)


def test_elsewhere_it_does_not_open(plan_file: PlanFile, tmp_path: Path) -> None:
    """The field, what was found and what was expected; no byte of the plan is read."""
    folder = adopted(plan_file(), tmp_path).plan.folder
    (folder / PLAN).unlink()
    with pytest.raises(
        PlanError, match="architecture is 'sm_90', not 'sm_89'; adopt a plan that was built on this machine"
    ):
        open_adopted(folder, architecture="sm_89")
    form = json.loads((folder / MANIFEST).read_text("utf-8"))
    form["key"]["tensorrt_version"] = "10.16.1"
    (folder / MANIFEST).write_text(json.dumps(form), "utf-8")
    with pytest.raises(PlanError, match=r"tensorrt_version is '10\.16\.1', not '11\.4\.0'"):
        open_adopted(folder, architecture="sm_90")


def test_damage_is_noticed(plan_file: PlanFile, tmp_path: Path) -> None:
    """By the digest."""
    folder = adopted(plan_file(), tmp_path).plan.folder
    (folder / PLAN).write_bytes((folder / PLAN).read_bytes()[::-1])
    with pytest.raises(PlanError, match="is damaged: plan_sha256 is "):
        open_adopted(folder, architecture="sm_90")


def test_a_built_plan_is_not_an_adopted_one(tmp_path: Path, scripted: None) -> None:
    """It has no spec."""
    del scripted
    folder = PlanCache(root=tmp_path).keep(BUILT_MANIFEST, BUILT).folder
    with pytest.raises(PlanError, match="origin is 'built'"):
        open_adopted(folder, architecture="sm_90")
