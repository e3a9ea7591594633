"""The kernel on the device against its own source on this machine's CPU, bit for bit.

CI has checked the CPU's build on random work of every kind: letterboxes, padded rows, odd addresses, PIL's filters,
boxes outside any frame. Here the device must write the same bytes for such work. Trap: the bits are equal only because
neither compiler may contract a multiplication and an addition into one operation.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from emulation.cases import hostile_crops, random_cases
from emulation.emulator import OPTIMISED, Job, build
from reidstream_engines.cuda.compile import ENTRY
from reidstream_engines.cuda.driver import DeviceBuffer, Module, PinnedBuffer, Stream
from reidstream_engines.cuda.kernel_params import OutputType, launch_shape, pack_spec
from reidstream_engines.spec import Resize

from .launch import Machine
from .report import Check, Outcome, judged

_SEED = 11
_CASES = 12
_GXX = "g++"


def kernel_is_the_emulated(machine: Machine) -> Iterator[Check]:
    """Every resize in both output types; skipped where there is no compiler."""
    if shutil.which(_GXX) is None:
        yield Check(name="kernel, emulated", outcome=Outcome.SKIPPED, value=f"no {_GXX} to build its source with")
        return
    with TemporaryDirectory() as folder:
        for resize in Resize:
            emulator = build(Path(folder), OPTIMISED, resizes=[resize])
            for output in OutputType:
                jobs = [case.job(output) for case in random_cases(_SEED, [resize], _CASES)]
                jobs.append(hostile_crops(_SEED, resize, output))
                expected = emulator.run(jobs)
                with closing(Module(machine.context, machine.crop_kernel(resize, output), ENTRY)) as module:
                    found = [_run(machine, module, job) for job in jobs]
                pairs = zip(found, expected, strict=True)
                values = sum(batch.size for batch in expected)
                apart = sum(int((_bits(one) != _bits(other)).sum()) for one, other in pairs)
                yield judged(
                    f"kernel, {resize.value}, {output.value}, against its source on the CPU",
                    f"{apart} of {values} values differ",
                    "none differs",
                    passed=apart == 0,
                )


def _bits(batch: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return batch.view(np.dtype(f"u{batch.itemsize}"))


def _run(machine: Machine, module: Module, job: Job) -> npt.NDArray[np.generic]:
    """A job of the emulator's, on the device: each picture at its own address and pitch."""
    with ExitStack() as stack:
        stream = stack.enter_context(closing(Stream(machine.context)))

        def upload(data: bytes, offset: int = 0) -> int:
            there = stack.enter_context(closing(DeviceBuffer(machine.context, offset + len(data))))
            here = stack.enter_context(closing(PinnedBuffer(machine.context, offset + len(data))))
            here.array[:] = np.frombuffer(bytes(offset) + data, np.uint8)
            stream.upload(there.address, here.address, here.size)
            return there.address + offset

        table = np.concatenate([picture.record() for picture in job.pictures])
        for row, picture in zip(table, job.pictures, strict=True):
            row["data"] = upload(picture.data, picture.offset)
            if picture.chroma:
                row["chroma"] = upload(picture.chroma)
        frames, crops = upload(table.tobytes()), upload(job.crops.tobytes())
        size = int(np.prod(job.shape)) * job.output.dtype.itemsize
        out = stack.enter_context(closing(DeviceBuffer(machine.context, size)))
        back = stack.enter_context(closing(PinnedBuffer(machine.context, size)))
        arguments = (
            pack_spec(job.spec, job.output),
            np.array(frames, np.uint64),
            np.array(len(table), np.int32),
            np.array(crops, np.uint64),
            np.array(out.address, np.uint64),
        )
        module.launch(stream, launch_shape(job.spec, len(job.crops)), arguments)
        stream.download(back.address, out.address, size)
        stream.synchronize()
        return back.array.view(job.output.dtype).reshape(job.shape).copy()
