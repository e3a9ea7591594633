"""From a file to an engine: every way that a file can be wrong has its own error, before any crop is taken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reidstream_engines import default_model
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import ModelError, SpecError, UnsupportedProfile
from reidstream_engines.selftest import self_test

OPTIONS = OnnxOptions(max_batch=4, slots=1)


def test_the_default_model_is_served_by_its_own_metadata() -> None:
    """No profile is needed, and it passes the self-test."""
    engine = load_onnx(default_model.PATH, name=default_model.NAME, profile=None, options=OPTIONS)
    assert engine.spec.name == default_model.NAME
    assert engine.spec.profile == "metadata"
    assert self_test(engine, CpuStager()).max_difference < 1e-5


def test_two_threads_per_call_give_the_same_rows() -> None:
    """Threads change the time, not the vectors."""
    engine = load_onnx(
        default_model.PATH, name=None, profile=None, options=OnnxOptions(max_batch=4, threads_per_call=2, spinning=True)
    )
    assert self_test(engine, CpuStager()).max_difference < 1e-5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no model file at"),
        (b"", "is empty"),
        (b"\x08\x08garbage" * 100, "as an ONNX model"),
    ],
)
def test_files_that_are_no_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    """Missing, empty, garbage: named by path, with nothing on stderr."""
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_onnx(path, name=None, profile="torchreid", options=OPTIONS)
    assert str(path) in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_truncated_model(tmp_path: Path) -> None:
    """A download that broke off."""
    path = tmp_path / "model.onnx"
    path.write_bytes(default_model.PATH.read_bytes()[:-1000])
    with pytest.raises(ModelError):
        load_onnx(path, name=None, profile="torchreid", options=OPTIONS)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    """It is named as one."""
    with pytest.raises(ModelError, match="is a folder"):
        load_onnx(tmp_path, name=None, profile="torchreid", options=OPTIONS)


def test_an_unknown_profile() -> None:
    """Unknown names are answered with the known ones."""
    with pytest.raises(SpecError, match="torchreid"):
        load_onnx(default_model.PATH, name=None, profile="no-such-profile", options=OPTIONS)


def test_a_profile_of_pil_without_pillow_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is loaded, with the remedy; not at the first crop, and not by another resize."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnsupportedProfile, match="pip install"):
        load_onnx(default_model.PATH, name=None, profile="paddleclas", options=OPTIONS)
    load_onnx(default_model.PATH, name=None, profile="torchreid", options=OPTIONS)


def test_the_profile_decides_the_space() -> None:
    """The same weights with another preprocessing must not be compared."""
    spaces = {
        load_onnx(default_model.PATH, name=None, profile=profile, options=OPTIONS).spec.space_id
        for profile in (None, "torchreid", "tao", "paddleclas")
    }
    assert len(spaces) == 4
