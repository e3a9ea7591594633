"""`reidstream-engines build`, `adopt` and `inspect PLAN`: what they print, and how they fail without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reidstream_engines.cli import main
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.errors import DeviceUnavailable
from reidstream_engines.tensorrt import commands, opened_gpu
from reidstream_engines.tensorrt.opened_gpu import GpuOptions
from tests.unit.engines.networks import convolution
from tests.unit.engines.tensorrt.conftest import PlanFile
from tests.unit.engines.tensorrt.fake_builder import FakeTensorRt, Script

Captured = pytest.CaptureFixture[str]


def no_device() -> None:
    raise DeviceUnavailable("this machine has no NVIDIA driver")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(device=lambda index: SimpleNamespace(architecture="sm_90", index=index))
    monkeypatch.setattr(commands, "probe", lambda: found)


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "probe", no_device)


def build(tmp_path: Path, *more: str) -> int:
    path = convolution(tmp_path / "m.onnx")
    return main(["build", str(path), "--profile", "torchreid", "--cache", str(tmp_path), *more])


def the_plan(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "plans").glob("m-*")
    return path


def test_build_and_inspect(tmp_path: Path, device: None, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """For the GPU that is here; the folder is printed, and inspected by its manifest alone where no GPU is."""
    del device
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt())
    assert build(tmp_path, "--max-batch", "8", "--precision", "fp16") == 0
    out = capsys.readouterr().out
    assert f"plan         {the_plan(tmp_path)}" in out
    assert "made for     sm_90, tensorrt 11.4.0" in out
    assert "precision    fp16" in out
    assert "batch        1 to 8" in out
    assert "input        input float16 [?, 3, 32, 16]" in out
    monkeypatch.setattr(commands, "probe", no_device)
    for path in (the_plan(tmp_path), the_plan(tmp_path) / "plan.engine"):
        assert main(["inspect", str(path)]) == 0
        out = capsys.readouterr().out
        assert "made for     sm_90, tensorrt 11.4.0" in out
        assert "layers       not known: this machine has no NVIDIA driver" in out


@pytest.mark.needs("tensorrt-rtx")
def test_a_real_build_without_a_gpu(tmp_path: Path, nothing: None, capsys: Captured) -> None:
    """The default model, by tensorrt_rtx, for a GPU that is named."""
    del nothing
    arguments = ["build", "default", "--flavour", "tensorrt_rtx", "--cache", str(tmp_path)]
    assert main([*arguments, "--architecture", "sm_89", "--precision", "fp32"]) == 0
    assert "made for     sm_89, tensorrt_rtx" in capsys.readouterr().out
    assert main([*arguments, "--architecture", "sm_90"]) == 1
    assert "cannot build for sm_90" in capsys.readouterr().err
    assert main(arguments) == 1
    assert "this machine has no NVIDIA driver" in capsys.readouterr().err


def test_failures_of_a_build_are_exit_code_1(
    tmp_path: Path, device: None, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """With one message."""
    del device
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRt(Script(fails=frozenset({"build"}))))
    assert build(tmp_path) == 1
    assert "something is wrong" in capsys.readouterr().err
    assert build(tmp_path, "--architecture", "sm_90") == 1
    assert "leave --architecture out" in capsys.readouterr().err
    assert build(tmp_path, "--max-batch", "0") == 1
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert build(tmp_path) == 1
    assert "pip install 'reidstream-engines[gpu]'" in capsys.readouterr().err


def test_adopt_and_inspect(plan_file: PlanFile, tmp_path: Path, device: None, capsys: Captured) -> None:
    """The space is printed, which needs a profile; where there is a GPU, the plan's own word as well."""
    del device
    path = plan_file(layers='{"Layers": ["conv1"]}')
    cache = ["--cache", str(tmp_path)]
    assert main(["adopt", str(path), "--profile", "torchreid", *cache]) == 0
    out = capsys.readouterr().out
    assert f"adopted      {the_plan(tmp_path)}" in out
    assert "space_id     1:" in out
    assert main(["inspect", str(the_plan(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert "origin       adopted" in out
    assert "takes        1 to 16 crops" in out
    assert "memory       4,096 bytes" in out
    assert "layer        conv1" in out
    assert main(["inspect", str(path)]) == 0
    assert "layer        conv1" in capsys.readouterr().out
    assert main(["adopt", str(plan_file(do="crash")), "--profile", "torchreid", *cache]) == 1
    assert "SIGSEGV" in capsys.readouterr().err


def test_without_a_gpu(plan_file: PlanFile, nothing: None, capsys: Captured) -> None:
    """Nothing is adopted, and a plan without a manifest cannot be looked into."""
    del nothing
    assert main(["adopt", str(plan_file()), "--profile", "torchreid"]) == 1
    assert "this machine has no NVIDIA driver" in capsys.readouterr().err
    assert main(["inspect", str(plan_file())]) == 1
    assert (
        "has no manifest beside it, and its content cannot be read: this machine has no NVIDIA driver"
        in capsys.readouterr().err
    )
    assert main(["inspect", str(plan_file().with_name("nowhere.engine"))]) == 1
    assert "no such file" in capsys.readouterr().err


def test_what_is_built_is_what_the_server_looks_for(
    tmp_path: Path, device: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing else is said: the same folder, precision and largest batch; or it would build its own."""
    del device
    trt = FakeTensorRt()
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = convolution(tmp_path / "m.onnx")
    assert main(["build", str(path), "--profile", "torchreid"]) == 0
    assert trt.script.builds == 1
    spec = load_onnx(path, name=None, profile="torchreid", options=OnnxOptions()).spec
    here: Any = SimpleNamespace(architecture="sm_90")
    assert opened_gpu._kept_or_built(path, spec, here, GpuOptions())
    assert trt.script.builds == 1
