"""What the server holds, looked at from outside, ten times a second.

Trap: a peak may be shorter than a tenth of a second. The kernel keeps the true peak of the resident memory, and can be
told to begin anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from typing_extensions import Self

LOOK_S: Final = 0.1
_POOL: Final = "event_engine\n"
"""What gRPC calls the threads of its pool."""
_MEMINFO: Final = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """At one moment. `private_bytes`: anonymous memory (RssAnon), without files and what is shared. `pool_threads`: of
    gRPC's pool, which are not among `threads`.
    """

    at: float
    private_bytes: int
    resident_bytes: int
    descriptors: int
    threads: int
    pool_threads: int


def look_at(pid: int) -> Look:
    """Now. Raises OSError if the process has ended."""
    process = Path("/proc") / str(pid)
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    pool = sum(_name_of(thread) == _POOL for thread in (process / "task").iterdir())
    return Look(
        at=time.monotonic(),
        private_bytes=_kib(fields["RssAnon"]),
        resident_bytes=_kib(fields["VmRSS"]),
        descriptors=len(list((process / "fd").iterdir())),
        threads=int(fields["Threads"]) - pool,
        pool_threads=pool,
    )


def _name_of(thread: Path) -> str:
    """A thread's name; "" if it has ended meanwhile."""
    try:
        return (thread / "comm").read_text()
    except OSError:
        return ""


def forget_peak(pid: int) -> None:
    """The peak of the resident memory begins anew."""
    (Path("/proc") / str(pid) / "clear_refs").write_text("5")


def peak_of(pid: int) -> int:
    """The most bytes that were resident since the peak was forgotten. Raises OSError if the process has ended."""
    for line in (Path("/proc") / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return _kib(line.split(":", 1)[1])
    raise OSError(f"process {pid} has ended")


def free_bytes() -> int:
    """What this machine has left."""
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return _kib(line.split(":", 1)[1])
    raise AssertionError("the kernel does not say MemAvailable")


def steady(looks: Sequence[Look], begin: float, end: float) -> Look | None:
    """The middle of what was seen in [begin, end]."""
    within = [one for one in looks if begin <= one.at <= end]
    if not within:
        return None
    return Look(
        at=end,
        private_bytes=int(median(one.private_bytes for one in within)),
        resident_bytes=int(median(one.resident_bytes for one in within)),
        descriptors=int(median(one.descriptors for one in within)),
        threads=int(median(one.threads for one in within)),
        pool_threads=int(median(one.pool_threads for one in within)),
    )


class Sampler:
    """Looks at a process from a thread, in a `with` block. `looks` grows until the process ends."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.looks: list[Look] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with suppress(OSError, KeyError):
            while not self._over.wait(LOOK_S):
                self.looks.append(look_at(self._pid))


def _kib(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024
