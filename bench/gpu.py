"""`python -m bench gpu`: what only a device can show, checked and written to docs/gpu-report.md and .json.

    0   every check passed, or was skipped with a reason
    1   one failed (a speed that misses its target does not)
    3   there is no GPU to check; nothing is written

Traps: the report says which commit and versions it holds for; it is no promise about any other. It is written anew
after every check, since the machine may be gone before the last one.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reidstream_engines.cuda.compile import crop_cubin
from reidstream_engines.cuda.decoders import DeviceDecoder
from reidstream_engines.cuda.driver import Context
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.nvimgcodec import open_nvimgcodec
from reidstream_engines.cuda.probe import Probed, probe
from reidstream_engines.errors import DeviceUnavailable
from reidstream_engines.spec import Resize
from reidstream_engines.tensorrt.opened_plan import CropKernel

from .gpu_checks import CHECKS, sanitizer
from .gpu_emulated import kernel_is_the_emulated
from .gpu_golden import golden
from .gpu_launch import Machine
from .gpu_report import Check, Outcome, as_json, judged, markdown
from .gpu_speed import engine_beside_network, kernel_bandwidth, stage_times
from .gpu_tensorrt import adopted, tensorrt


def _where_installed(module: str, check: str) -> Callable[[Machine], Iterator[Check]]:
    """A check that needs more than the engines' packages; skipped where they are missing."""

    def run(machine: Machine) -> Iterator[Check]:
        try:
            found = import_module(f".{module}", __package__)
        except ImportError as error:
            yield Check(name=check, outcome=Outcome.SKIPPED, value=f"a package is missing: {error}")
            return
        yield from getattr(found, check)(machine)

    return run


ALL: Mapping[str, Callable[[Machine], Iterator[Check]]] = {
    **CHECKS,
    "kernel against its source": kernel_is_the_emulated,
    "TensorRT": tensorrt,
    "adopted plan": adopted,
    "golden vectors": golden,
    "kernel bandwidth": kernel_bandwidth,
    "staging": stage_times,
    "decoding": _where_installed("gpu_decode", "gpu_decode"),
    "engine": engine_beside_network,
    "loopback": _where_installed("gpu_loopback", "loopback"),
    "compute-sanitizer": sanitizer,  # minutes
}

NO_GPU = 3
_FAILED = 1
_REPORT = Path(__file__).parents[1] / "docs" / "gpu-report.md"
_PACKAGES = (
    *("cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-nvimgcodec-cu13", "tensorrt", "torch"),
    *("numpy", "opencv-python-headless", "onnxruntime"),
)


def gpu_main(
    argv: Sequence[str],
    *,
    look: Callable[[], Probed] = probe,
    crop_kernel: CropKernel | None = None,
    open_decoder: Callable[[Context], DeviceDecoder] = open_nvimgcodec,
) -> int:
    """Run the checks; returns the exit code. All but `argv` is a test's."""
    parser = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", type=int, default=0, help="number of the CUDA device")
    parser.add_argument("--crops", type=int, default=100_000, help="crops to embed while memory is watched")
    parser.add_argument("--report", type=Path, default=_REPORT, help="file to write; a .json is written beside it")
    parser.add_argument("--data", type=Path, help="folder with models and golden vectors")
    parser.add_argument("--quick", action="store_true", help="few repeats, small batches, no server: does it run?")
    parser.add_argument("--kernel-only", action="store_true", help="the kernel's checks, and no report")
    options = parser.parse_args(argv)
    if not options.report.parent.is_dir():
        parser.error(f"--report {options.report}: its folder is not there")
    if options.data is not None and not (options.data / "models").is_dir():
        parser.error(f"--data {options.data}: no folder with models/ in it")
    try:
        probed = look()
        device = probed.device(options.device)
    except DeviceUnavailable as error:
        sys.stderr.write(f"no GPU: {error}\n")
        return NO_GPU

    @cache  # it takes a second
    def compiled(resize: Resize, output: OutputType) -> bytes:
        return crop_cubin(resize, output, architecture=device.architecture, cache=None).image

    about = {
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": f"{device.name} ({device.architecture}, {device.total_memory >> 20} MiB)",
        "driver": f"CUDA {device.driver_version}",
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }
    checks: list[Check] = []
    begun = time.monotonic()
    with Context(probed.api, device.index) as context:
        machine = Machine(
            context=context,
            device=device,
            crop_kernel=crop_kernel or compiled,
            crops=options.crops,
            data=options.data,
            open_decoder=open_decoder,
            **({"crowd": 1, "repeats": 2, "batch": 8} if options.quick else {}),
        )
        for check in run_checks(machine, _names(options)):
            seconds = time.monotonic() - begun
            sys.stdout.write(f"{seconds:6.1f} s {check.outcome.value:>8}  {check.name}: {check.value}\n")
            sys.stdout.flush()  # it may be a pipe
            checks.append(check)
            if not options.kernel_only:
                _write(options.report, about, checks)
    return _FAILED if any(check.outcome is Outcome.FAILED for check in checks) else 0


def run_checks(machine: Machine, names: Collection[str]) -> Iterator[Check]:
    """Those of these names, one after the other; one that raises has failed, and the next is made."""
    for name in names:
        try:
            yield from ALL[name](machine)
        except Exception as error:  # noqa: BLE001 - a report of what failed is what this is for
            yield judged(name, f"{type(error).__name__}: {error}", "no error", passed=False)


def _names(options: argparse.Namespace) -> Collection[str]:
    if options.kernel_only:
        return ("kernel", "graph replay")
    return [name for name in ALL if not (options.quick and name == "loopback")]


def _write(report: Path, about: Mapping[str, str], checks: Sequence[Check]) -> None:
    report.write_text(markdown(about, checks), encoding="utf-8")
    form = as_json(about, checks)
    report.with_suffix(".json").write_text(json.dumps(form, indent=2) + "\n", encoding="utf-8")


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
