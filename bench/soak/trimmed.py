"""The server as people start it, which also reports its memory: `python -m bench.soak.trimmed --memory-file FILE ...`.

On SIGUSR1 it collects garbage, gives free memory back to the system, and writes what is left into FILE. Why: the C
library keeps freed memory for the next frame, on purpose. Resident memory therefore changes by tens of megabytes with
the number of large frames that were there at the same time, which hides a growth of one megabyte.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bench.machine.usage import usage_of
from reidstream_server.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """`allocated_bytes`: of the C library's heap. `blocks`: of Python's own allocator.

    `resident_bytes`: right after giving back what was free.
    """

    allocated_bytes: int
    blocks: int
    resident_bytes: int


class _Heap(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "kept",
        )
    ]


def take_memory(file: Path) -> Memory | None:
    """Read and remove the report; None if there is none."""
    if not file.exists():
        return None
    allocated, blocks, resident = map(int, file.read_text().split())
    file.unlink()
    return Memory(allocated_bytes=allocated, blocks=blocks, resident_bytes=resident)


def _write_memory(file: Path) -> None:
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    libc.mallinfo2.restype = _Heap
    heap = libc.mallinfo2()
    resident = usage_of(os.getpid()).resident_bytes
    part = file.with_suffix(".part")
    part.write_text(f"{heap.uordblks + heap.hblkhd} {sys.getallocatedblocks()} {resident}")
    part.replace(file)


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--memory-file", type=Path, required=True)
    own, flags = parser.parse_known_args(arguments)

    def asked(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal handlers are given
        _write_memory(own.memory_file)

    signal.signal(signal.SIGUSR1, asked)
    return main(flags)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
