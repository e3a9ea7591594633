"""An emulated `libcuda.so.1`, built once, and processes that find it where a machine with a GPU has its own.

Why processes: `cuda.bindings` looks its library up once, and what dies of a fault shall not be the tests. Trap: the
library knows cubins by their bytes, so they are compiled here as they will be there. Compiling takes a second each, so
those processes may find them in a cache: `kernels`, laid out as the product's own.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulation.emulator import HERE, KERNEL
from reidstream_engines.cuda.compile import crop_cubin
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.spec import Resize
from tests.support.patience import HANG_S

ROOT = HERE.parent
ARCHITECTURE = "sm_90"
KERNELS = "kernels"


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaReport:
    """What a process left behind. `live`: what was made and not given back, without the zeros."""

    live: Mapping[str, int]
    calls: Mapping[str, int]
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class EmulatedCuda:
    """`folder` holds the library and its cubins."""

    folder: Path

    @property
    def kernels(self) -> Path:
        """The cache that `crop_cubin` reads."""
        return self.folder / KERNELS

    def environment(self, report: Path, **settings: object) -> dict[str, str]:
        """Of a process on the device; `settings` as in libcuda.cpp, without EMULATED_CUDA_."""
        own = {f"EMULATED_CUDA_{name.upper()}": str(value) for name, value in settings.items()}
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.folder),
            "PYTHONPATH": f"{ROOT}:{Path(__file__).parent / 'site'}",
            "EMULATED_CUDA_KERNELS": str(self.folder),
            "EMULATED_CUDA_REPORT": str(report),
            **own,
        }


def build_cuda(folder: Path, resizes: Sequence[Resize] = tuple(Resize)) -> EmulatedCuda:
    """With the kernels of these resizes."""
    options = ["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Werror"]
    files = [f"-I{KERNEL}", str(HERE / "libcuda/libcuda.cpp"), "-o", str(folder / "libcuda.so.1")]
    linked = ["-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["g++", *options, *linked, *files], check=True, timeout=HANG_S)
    for resize in resizes:
        for output in OutputType:
            name = f"{list(Resize).index(resize)}-{int(output is OutputType.FP16)}.cubin"
            cubin = crop_cubin(resize, output, architecture=ARCHITECTURE, cache=folder / KERNELS)
            (folder / name).write_bytes(cubin.image)
    return EmulatedCuda(folder)


def read_report(path: Path) -> CudaReport:
    """Of a process that has ended by itself."""
    lines = path.read_text().splitlines()
    counts = [match for line in lines if (match := re.fullmatch(r"(live|called) (.*) (\d+)", line))]
    return CudaReport(
        live={match[2]: int(match[3]) for match in counts if match[1] == "live" and int(match[3])},
        calls={match[2]: int(match[3]) for match in counts if match[1] == "called"},
        faults=[line.removeprefix("fault ") for line in lines if line.startswith("fault ")],
    )
