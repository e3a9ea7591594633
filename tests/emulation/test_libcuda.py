"""The emulated driver tells every mistake that is made on it, and gpu-check passes on it as a whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.emulation.emulated_cuda import EmulatedCuda, read_report
from tests.emulation.mistakes import MISTAKES
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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(cuda: EmulatedCuda, tmp_path: Path, mistake: str) -> None:
    """Each by its own fault, error, leak or signal; work that is no mistake by none."""
    report = tmp_path / "report.txt"
    environment = cuda.environment(report, devices=2, pace_us=20_000)
    command = [sys.executable, "-m", "tests.emulation.mistakes", mistake]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)
    seen = [done.stdout, done.stderr]
    if done.returncode < 0:
        seen.append(signal.Signals(-done.returncode).name)
    else:
        found = read_report(report)
        seen += [*found.faults, f"live {dict(found.live)}" if found.live else ""]
    if FOUND[mistake]:
        assert FOUND[mistake] in "\n".join(seen)
    else:
        assert not any(seen)
        assert done.returncode == 0


@pytest.mark.needs("shared-data")
def test_gpu_check_passes(cuda: EmulatedCuda, shared_data: Path, tmp_path: Path) -> None:
    """Every check but those of the loopback, with a TensorRT whose network is onnxruntime's; nothing is misused."""
    left, report = tmp_path / "left.txt", tmp_path / "report.md"
    flags = ["--quick", "--crops", "640", "--report", str(report), "--data", str(shared_data)]
    command = [sys.executable, "-m", "bench", "gpu", *flags]
    environment = cuda.environment(left, pace_us=300)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_report(left)
    assert not found.faults
    assert not found.live
    checks = json.loads(report.with_suffix(".json").read_text())["checks"]
    assert Counter(check["outcome"] for check in checks)["passed"] == 49
    skipped = [check["name"] for check in checks if check["outcome"] == "skipped"]
    assert skipped in ([], ["compute-sanitizer"], ["decoding on the GPU", "compute-sanitizer"])
