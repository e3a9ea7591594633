"""`python -m bench gpu`: checks what only a real GPU can show, and writes docs/gpu-report.md and .json.

    0   every check passed, or was skipped with a reason
    1   a check failed (missing a speed target is not a failure)
    3   there is no GPU; nothing is written

Traps: the report is valid only for the commit and versions that it names. It is written again after every check,
because the machine may be gone before the last one.
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
from reidstream_engines.parser import Parser
from reidstream_engines.spec import Resize
from reidstream_engines.tensorrt.opened_plan import CropKernel

from .checks import CHECKS, sanitizer
from .emulated import kernel_is_the_emulated
from .golden import golden
from .launch import Machine
from .report import Check, Outcome, as_json, judged, markdown
from .speed import engine_beside_network, kernel_bandwidth, stage_times
from .tensorrt import adopted, tensorrt


def _where_installed(module: str, check: str) -> Callable[[Machine], Iterator[Check]]:
    """A check that needs more packages than the engines do; skipped where one is missing."""

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
    "decoding": _where_installed("decode", "gpu_decode"),
    "engine": engine_beside_network,
    "loopback": _where_installed("loopback", "loopback"),
    "compute-sanitizer": sanitizer,  # minutes
}

NO_GPU = 3
_FAILED = 1
_REPORT = Path(__file__).parents[2] / "docs" / "gpu-report.md"
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
    """Run the checks; returns the exit code. All arguments except `argv` are for tests."""
    parser = Parser(prog="python -m bench gpu", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", type=int, default=0, help="number of the CUDA device (default 0)")
    parser.add_argument(
        "--crops", type=int, default=100_000, help="crops to embed while memory is watched (default 100000)"
    )
    parser.add_argument(
        "--report", type=Path, default=_REPORT, help="file to write, and a .json beside it (default docs/gpu-report.md)"
    )
    parser.add_argument("--data", type=Path, help="folder with models/ and golden/")
    parser.add_argument(
        "--quick", action="store_true", help="few repeats, small batches, no server: only whether it runs"
    )
    parser.add_argument("--kernel-only", action="store_true", help="only the kernel's checks; no report")
    options = parser.parse_args(argv)
    if not options.report.parent.is_dir():
        parser.error(f"--report {options.report}: its folder does not exist")
    if options.data is not None and not (options.data / "models").is_dir():
        parser.error(f"--data {options.data}: there is no folder models/ in it")
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
            **({"crowd": 1, "repeats": 1, "batch": 2, "golden_batch": 8} if options.quick else {}),
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
    """Run the checks of these names in order. A check that raises has failed; the next one runs all the same."""
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
