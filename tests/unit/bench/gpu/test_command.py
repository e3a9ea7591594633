"""`make gpu-check`: a sentence without a GPU; with one every check is made, and a wrong kernel is found."""

from __future__ import annotations

import ctypes
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.gpu.checks import sanitizer
from bench.gpu.command import NO_GPU, gpu_main
from bench.gpu.launch import Machine
from bench.gpu.report import Outcome
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.nvimgcodec import NvimgcodecDecoder, open_nvimgcodec
from reidstream_engines.cuda.probe import LIBRARY, Probed, probe
from reidstream_engines.spec import Resize
from tests.unit.engines.cuda.fake_driver import FakeDriver, build_kernel, image


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_kernel(tmp_path_factory.mktemp("kernel"))


def look_at(driver: FakeDriver) -> Probed:
    return probe(load_library=lambda _: None, open_api=lambda: driver)


def test_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On this machine, for real, if it has none."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        assert main(["gpu", "--report", str(tmp_path / "r.md")]) == NO_GPU == 3
        assert capsys.readouterr().err.startswith("no GPU: this machine has no NVIDIA driver")
        assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The same."""
    assert gpu_main(["--device", "7"], look=lambda: look_at(FakeDriver())) == NO_GPU
    assert "no CUDA device 7" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--report", "--data"])
def test_a_folder_that_is_not_there(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before minutes of a GPU are spent."""
    with pytest.raises(SystemExit, match="2"):
        gpu_main([flag, str(tmp_path / "none/r.md")], look=lambda: look_at(FakeDriver()))
    assert f"{flag} {tmp_path}/none/r.md" in capsys.readouterr().err


@pytest.mark.needs("g++")
def test_every_check_is_made(kernel: ctypes.CDLL, tmp_path: Path) -> None:
    """On a fake device all pass; the speeds of one mean nothing, and nothing is left on it."""
    driver = FakeDriver(kernel=kernel)
    report = tmp_path / "report.md"
    flags = ["--quick", "--crops", "640", "--report", str(report)]
    assert gpu_main(flags, look=lambda: look_at(driver), crop_kernel=image) == 0
    found = json.loads(report.with_suffix(".json").read_text())
    outcomes = {check["name"]: check["outcome"] for check in found["checks"]}
    assert len(outcomes) == 41
    assert set(outcomes.values()) <= {"passed", "measured", "met", "missed", "skipped"}
    assert found["about"]["device"] == "Fake 0 (sm_90, 1024 MiB)"
    assert "| graph replay | passed | equal | equal |" in report.read_text()
    assert +driver.live == {}


@pytest.mark.needs("g++")
def test_a_wrong_kernel_is_found(kernel: ctypes.CDLL, capsys: pytest.CaptureFixture[str]) -> None:
    """Another resize than was asked for."""

    def other(resize: Resize, output: OutputType) -> bytes:
        del resize
        return image(Resize.PIL_BILINEAR, output)

    look = FakeDriver(kernel=kernel)
    assert gpu_main(["--kernel-only"], look=lambda: look_at(look), crop_kernel=other) == 1
    assert "failed  kernel, opencv_bilinear, bgr" in capsys.readouterr().out


@pytest.mark.needs("g++")
def test_a_device_that_is_lost_fails_its_checks(kernel: ctypes.CDLL, tmp_path: Path) -> None:
    """Each says what was raised; the report is written."""
    driver = FakeDriver(kernel=kernel)
    driver.fail("cuLaunchKernel", "LAUNCH_FAILED", after=3)
    report = tmp_path / "report.md"
    assert (
        gpu_main(["--quick", "--crops", "64", "--report", str(report)], look=lambda: look_at(driver), crop_kernel=image)
        == 1
    )
    assert "EngineLost" in report.read_text()


def on_host(context: Context) -> NvimgcodecDecoder:
    """The library's CPU decoder: a fake device's memory is this machine's."""
    return open_nvimgcodec(context, on_host=True)


@pytest.mark.needs("g++", "nvimgcodec", "shared-data")
def test_golden_vectors_are_met(kernel: ctypes.CDLL, shared_data: Path, tmp_path: Path) -> None:
    """JPEGs and boxes through everything but a device and its network: every set, both models, both precisions."""
    driver = FakeDriver(kernel=kernel)
    report = tmp_path / "report.md"
    flags = ["--quick", "--crops", "64", "--data", str(shared_data), "--report", str(report)]
    assert gpu_main(flags, look=lambda: look_at(driver), crop_kernel=image, open_decoder=on_host) == 0
    found = json.loads(report.with_suffix(".json").read_text())
    assert +driver.live == {}
    golden = [check for check in found["checks"] if check["name"].startswith("golden, ")]
    assert Counter(check["outcome"] for check in golden) == {"passed": 12, "measured": 6}
    (pixels,) = [check for check in found["checks"] if check["name"].endswith("4 of 4 pictures: pixels")]
    assert pixels["value"].startswith("0.00% of the values differ, by 0 at most")


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("echo found nothing", Outcome.PASSED),
        ("echo one error; exit 9", Outcome.FAILED),
        ("echo '========= Error: Device not supported'; exit 1", Outcome.SKIPPED),
    ],
)
def test_compute_sanitizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, outcome: Outcome) -> None:
    """What it finds is a failure; that it cannot work on a machine is none."""
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    driver = FakeDriver()
    with Context(driver, 0) as context:
        machine = Machine(context=context, device=look_at(driver).device(0), crop_kernel=image)
        (check,) = sanitizer(machine)
    assert check.outcome is outcome
