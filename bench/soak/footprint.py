"""What a process holds at a moment, from /proc: memory, descriptors, shared memory, threads.

Trap: a memfd is in no file system, so a forgotten one cannot be found in a folder. It shows only as a descriptor or as
a mapping of the process that holds it; both are counted here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine.usage import usage_of

_MEMFD = "/memfd:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """`segments`: descriptors and mappings of memfds, added."""

    resident_bytes: int
    descriptors: int
    segments: int
    threads: int


def footprint_of(pid: int) -> Footprint:
    """Of a running process of the same user. Raises OSError if it has ended."""
    process = Path("/proc") / str(pid)
    targets = []
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(descriptor.readlink()))
    mapped = sum(_MEMFD in line for line in (process / "maps").read_text().splitlines())
    return Footprint(
        resident_bytes=usage_of(pid).resident_bytes,
        descriptors=len(targets),
        segments=sum(target.startswith(_MEMFD) for target in targets) + mapped,
        threads=len(list((process / "task").iterdir())),
    )
