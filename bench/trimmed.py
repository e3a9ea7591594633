"""The server as people start it, which says what memory it really uses when SIGUSR1 asks: `python -m bench.trimmed`.

Why: the C library keeps freed memory for the next frame, by intent, so that resident memory moves by tens of megabytes
with how many large frames happened to be there together; a megabyte of growth cannot be told from that. So it collects
garbage, gives back what is free, and writes what is allocated into the file that `--memory-file` names.
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

from reidstream_server.cli import main

from .usage import usage_of


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
    """What was written there since it was last taken; None if nothing was."""
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
