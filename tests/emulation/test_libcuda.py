"""The emulated driver tells every mistake that is made on it, and gpu-check passes on it.

gpu-check runs in parts, which take a minute together on two cores: on a slow machine the whole of it would be one test
of many minutes.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.gpu.command import ALL
from bench.gpu.speed import drawn
from tests.emulation.emulated_cuda import EmulatedCuda, read_report
from tests.emulation.mistakes import MISTAKES
from tests.golden.wire import MODELS
from tests.support.built_once import built_once
from tests.support.patience import HANG_S

pytestmark = pytest.mark.needs("g++", "nvrtc")

FOUND: dict[str, str] = {
    "none": "",
    "launches": "",
    "changes_the_source": "its source changed before it was copied",
    "frees_too_early": "cuMemFree: work that was enqueued will use it",
    "forgets_an_event": "cuMemcpyDtoHAsync: two streams use the same bytes",
    "reads_too_early": "read 255",
    "touches_the_device": "SIGSEGV",
    "copies_what_is_not_pinned": "65536 bytes that are not allocated or not pinned",
    "copies_too_much": "65537 bytes that are not allocated",
    "copies_the_other_way": "cuMemcpyHtoDAsync: from or to the wrong kind of memory",
    "waits_while_capturing": "cuStreamSynchronize: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    "allocates_while_capturing": "cuMemAlloc: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    "destroys_a_busy_stream": "cuStreamDestroy: it has work to do",
    "leaks": "live {'device memory': 1, 'events': 1}",
    "uses_another_devices_stream": "cuMemsetD8Async: a handle that is none, or another device's",
    "launches_too_large_a_block": "cuLaunchKernel: CUDA_ERROR_INVALID_VALUE",
    "launches_on_too_small_a_picture": "the kernel: 65536 bytes that are not allocated",
    "launches_into_too_small_a_batch": "cuLaunchKernel: 196608 bytes that are not allocated",
}
"""What must be seen of it; nothing at all of "" ."""


@pytest.fixture(scope="session")
def mistakes(cuda: EmulatedCuda, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, made: see `mistakes.main`."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "tests.emulation.mistakes", str(folder)]
        environment = cuda.environment(folder / "none", devices=2, pace_us=20_000)
        subprocess.run(command, env=environment, timeout=HANG_S, check=True)

    return built_once(tmp_path_factory, "mistakes", make)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(mistakes: Path, mistake: str) -> None:
    """Each by its own fault, error, leak or signal; work that is no mistake by none."""
    status = int((mistakes / f"{mistake}.status").read_text())
    seen = [(mistakes / f"{mistake}.said").read_text()]
    if status < 0:
        seen.append(signal.Signals(-status).name)
    else:
        found = read_report(mistakes / f"{mistake}.report")
        seen += [*found.faults, f"live {dict(found.live)}" if found.live else ""]
    if FOUND[mistake]:
        assert FOUND[mistake] in "\n".join(seen)
    else:
        assert not any(seen)
        assert status == 0


GPU_CHECK = """
import json, sys
from pathlib import Path
from bench.gpu import command, speed

names, networks, kernels = json.loads(sys.argv[1])
compile_cubin = command.crop_cubin
command.crop_cubin = lambda *what, cache, **how: compile_cubin(*what, cache=Path(kernels), **how)
drawn = [network for network in speed.drawn() if network.name in networks]
command._names = lambda options: names
speed.drawn = lambda: drawn
sys.exit(command.gpu_main(sys.argv[2:]))
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of gpu-check's checks, how many of them pass, and what they see: models of the data, drawn networks."""

    names: Sequence[str]
    passed: int
    models: Sequence[str] = ()
    networks: Sequence[str] = ()


PARTS = {
    "kernel": Part(["kernel", "graph replay", "vectors", "device memory"], 24),
    "source": Part(["kernel against its source"], 8),
    "TensorRT": Part(["TensorRT", "adopted plan"], 5, models=MODELS),
    "golden, small": Part(["golden vectors"], 6, models=MODELS[:1]),
    "golden, large": Part(["golden vectors"], 6, models=MODELS[1:]),
    "speed": Part(["kernel bandwidth", "staging", "decoding", "compute-sanitizer"], 0),
    "engine, ResNet-50": Part(["engine"], 0, networks=["ResNet-50"]),
    "engine, OSNet": Part(["engine"], 0, networks=["OSNet"]),
}
SKIPPED = {"compute-sanitizer", "decoding on the GPU"}  # what this machine, or the emulated device, may lack


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("part", PARTS)
def test_gpu_check_passes(cuda: EmulatedCuda, shared_data: Path, tmp_path: Path, part: str) -> None:
    """With a TensorRT whose network is onnxruntime's; nothing is misused, and nothing is left."""
    made = PARTS[part]
    left, report, data = tmp_path / "left.txt", tmp_path / "report.md", tmp_path / "data"
    flags = ["--quick", "--crops", "640", "--report", str(report)]
    if made.models:
        flags += ["--data", str(only(made.models, shared_data, data))]
    command = [sys.executable, "-c", GPU_CHECK, json.dumps([made.names, made.networks, str(cuda.kernels)]), *flags]
    environment = cuda.environment(left, pace_us=300)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_report(left)
    assert not found.faults
    assert not found.live
    checks = json.loads(report.with_suffix(".json").read_text())["checks"]
    assert Counter(check["outcome"] for check in checks)["passed"] == made.passed
    assert {check["name"] for check in checks if check["outcome"] == "skipped"} <= SKIPPED
    assert all(any(name in check["name"] for check in checks) for name in made.networks)


def only(models: Sequence[str], data: Path, folder: Path) -> Path:
    """The data with these models alone."""
    (folder / "models").mkdir(parents=True)
    for model in models:
        (folder / "models" / f"{model}.onnx").symlink_to(data / "models" / f"{model}.onnx")
    for other in ("frames", "crops", "golden"):
        (folder / other).symlink_to(data / other)
    return folder


def test_the_parts_are_all_of_gpu_check() -> None:
    """But the loopback, which `--quick` leaves out."""
    assert {name for part in PARTS.values() for name in part.names} == set(ALL) - {"loopback"}
    assert {name for part in PARTS.values() for name in part.networks} == {network.name for network in drawn()}
    assert sum(part.passed for part in PARTS.values()) == 49
