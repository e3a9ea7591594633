"""The crop kernel's own source, built with g++ and run on the CPU.

Why a program and not a library: the address sanitizer must be loaded when a process starts, and a kernel that reads out
of bounds should end its own process, not the tests'. One run takes any number of jobs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reidstream_engines.cuda.kernel_params import (
    CROP,
    FRAME,
    SPEC,
    DeviceFrame,
    OutputType,
    Records,
    launch_shape,
    pack_frames,
    pack_spec,
)
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat, RawImage
from reidstream_engines.spec import InputSpec, Resize

HERE = Path(__file__).parent
KERNEL = HERE.parent / "engines/reidstream_engines/cuda"
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PLAIN = ("-O1",)
OPTIMISED = ("-O2",)

_HANG_S = 360.0  # nothing here takes so long, on the slowest machine
_RESIZES = list(Resize)


class KernelCrashed(Exception):
    """The emulated kernel's process failed; the message is what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Raw pixels as they lie in device memory. `data` ends with the last row's last pixel; `offset` bytes before it
    belong to the allocation. `chroma` is NV12's.
    """

    format: PixelFormat
    width: int
    height: int
    pitch: int
    data: bytes
    offset: int = 0
    chroma: bytes = b""
    chroma_pitch: int = 0
    color_matrix: ColorMatrix = ColorMatrix.BT601
    color_range: ColorRange = ColorRange.LIMITED

    def raw(self) -> RawImage:
        """The same picture for the CPU path."""
        return RawImage(
            data=self.data + self.chroma,
            format=self.format,
            width=self.width,
            height=self.height,
            stride=self.pitch,
            offset=0,
            chroma_stride=self.chroma_pitch,
            chroma_offset=len(self.data),
            color_matrix=self.color_matrix,
            color_range=self.color_range,
        )

    def record(self) -> Records:
        """Shape (1,) of FRAME; the driver fills in the addresses."""
        frame = DeviceFrame(
            data=0,
            format=self.format,
            width=self.width,
            height=self.height,
            pitch=self.pitch,
            chroma_pitch=self.chroma_pitch,
            color_matrix=self.color_matrix,
            color_range=self.color_range,
        )
        return pack_frames([frame])


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One launch."""

    spec: InputSpec
    output: OutputType
    pictures: Sequence[Picture]
    crops: Records

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the batch."""
        return len(self.crops), len(self.spec.mean), self.spec.height, self.spec.width

    def serialised(self) -> bytes:
        """The bytes that driver.cpp reads."""
        launch = launch_shape(self.spec, len(self.crops))
        assert launch.grid[0] == len(self.crops)
        size = int(np.prod(self.shape)) * self.output.dtype.itemsize
        header = [
            _RESIZES.index(self.spec.resize),
            self.output is OutputType.FP16,
            launch.grid[1],
            launch.block[0],
            len(self.pictures),
            len(self.crops),
            size,
        ]
        parts = [np.array(header, np.int32).tobytes(), pack_spec(self.spec, self.output).tobytes()]
        for picture in self.pictures:
            sizes = np.array([len(picture.data), len(picture.chroma), picture.offset], np.int64)
            parts += [picture.record().tobytes(), sizes.tobytes(), picture.data, picture.chroma]
        return b"".join([*parts, self.crops.tobytes()])


@dataclass(frozen=True, slots=True)
class Emulator:
    """A built kernel."""

    program: Path

    def run(self, jobs: Sequence[Job]) -> list[NDArray[np.generic]]:
        """The batch of each job, in its type. Raises KernelCrashed."""
        data = b"".join(job.serialised() for job in jobs)
        done = subprocess.run([self.program], input=data, capture_output=True, check=False, timeout=_HANG_S)
        if done.returncode:
            raise KernelCrashed(done.stderr.decode(errors="replace"))
        batches, start = [], 0
        for job in jobs:
            count = int(np.prod(job.shape))
            batches.append(np.frombuffer(done.stdout, job.output.dtype, count, start).reshape(job.shape))
            start += count * job.output.dtype.itemsize
        assert start == len(done.stdout)
        return batches

    def layout(self) -> str:
        """The structs as the compiler lays them out, a field a line."""
        return subprocess.run(
            [self.program, "layout"], capture_output=True, check=True, text=True, timeout=_HANG_S
        ).stdout


def build(
    folder: Path, flags: Sequence[str], *, kernel: Path = KERNEL, resizes: Sequence[Resize] = _RESIZES
) -> Emulator:
    """Compile the kernel's source in `kernel` for these resizes."""
    program = folder / "crop"
    mask = sum(1 << _RESIZES.index(resize) for resize in resizes)
    command = ["g++", "-std=c++17", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-unknown-pragmas", *flags]
    files = [f"-I{kernel}", str(HERE / "driver.cpp"), "-o", str(program)]
    subprocess.run([*command, f"-DRESIZES={mask}", *files], check=True, timeout=_HANG_S)
    return Emulator(program)


def layout_of_dtypes() -> str:
    """What `Emulator.layout` must say."""
    structs = {"Spec": SPEC, "Frame": FRAME, "Crop": CROP}
    lines = [f"{name} size {dtype.itemsize}" for name, dtype in structs.items()]
    for name, dtype in structs.items():
        assert dtype.fields is not None
        lines += [f"{name} {field} {dtype.fields[field][1]}" for field in dtype.names or ()]
    return "\n".join(lines) + "\n"
