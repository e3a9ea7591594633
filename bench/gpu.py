"""`python -m bench gpu`: what only a device can show, checked and written to docs/gpu-report.md and .json.

    0   every check passed, or was skipped with a reason
    1   one failed
    3   there is no GPU to check; nothing is written

Trap: the report says which commit and versions it holds for; it is no promise about any other.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reidstream_engines.cuda.compile import crop_cubin
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.probe import Probed, probe
from reidstream_engines.errors import DeviceUnavailable
from reidstream_engines.spec import Resize
from reidstream_engines.tensorrt.opening import CropKernel

from .gpu_checks import Check, Outcome, run_checks
from .gpu_launch import Machine

NO_GPU = 3
_FAILED = 1
_REPORT = Path(__file__).parents[1] / "docs" / "gpu-report.md"
_PACKAGES = ("cuda-bindings", "nvidia-cuda-nvrtc", "numpy", "opencv-python-headless", "onnxruntime", "tensorrt")


def gpu_main(
    argv: Sequence[str],
    *,
    look: Callable[[], Probed] = probe,
    crop_kernel: CropKernel | None = None,
) -> int:
    """Run the checks; returns the exit code. `look` and `crop_kernel` are a test's."""
    parser = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", type=int, default=0, help="number of the CUDA device")
    parser.add_argument("--crops", type=int, default=100_000, help="crops to embed while memory is watched")
    parser.add_argument("--report", type=Path, default=_REPORT, help="file to write; a .json is written beside it")
    parser.add_argument("--kernel-only", action="store_true", help="the kernel's checks, and no report")
    options = parser.parse_args(argv)
    try:
        probed = look()
        device = probed.device(options.device)
    except DeviceUnavailable as error:
        sys.stderr.write(f"no GPU: {error}\n")
        return NO_GPU

    def compiled(resize: Resize, output: OutputType) -> bytes:
        return crop_cubin(resize, output, architecture=device.architecture, cache=None).image

    checks: list[Check] = []
    with Context(probed.api, device.index) as context:
        machine = Machine(context=context, device=device, crop_kernel=crop_kernel or compiled, crops=options.crops)
        for check in run_checks(machine, {"kernel", "graph replay"} if options.kernel_only else None):
            sys.stdout.write(f"{check.outcome.value:>8}  {check.name}: {check.value}\n")
            checks.append(check)
    if not options.kernel_only:
        about = {
            "commit": _commit(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "device": f"{device.name} ({device.architecture}, {device.total_memory >> 20} MiB)",
            "driver": f"CUDA {device.driver_version}",
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        }
        options.report.write_text(_markdown(about, checks), encoding="utf-8")
        form = {"about": about, "checks": [{**asdict(check), "outcome": check.outcome.value} for check in checks]}
        options.report.with_suffix(".json").write_text(json.dumps(form, indent=2) + "\n", encoding="utf-8")
    return _FAILED if any(check.outcome is Outcome.FAILED for check in checks) else 0


def _markdown(about: dict[str, str], checks: Sequence[Check]) -> str:
    rows = [f"| {name} | {value} |" for name, value in about.items()]
    found = [f"| {check.name} | {check.outcome.value} | {check.value} | {check.target} |" for check in checks]
    return "\n".join(
        [
            "# On a GPU\n\nWritten by `make gpu-check`; it holds for this commit on this device.\n",
            *("| what | |", "|---|---|", *rows, ""),
            *("| check | outcome | found | wanted |", "|---|---|---|---|", *found, ""),
        ]
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_REPORT.parent)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
