"""What a process and a core have used so far, from /proc.

It is read from outside, so the server is measured as it is. Trap: the kernel counts CPU time in ticks of 10 ms, so a
measurement shorter than a second says little. Memory is what is resident at that moment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Fields behind the command's name, which may hold spaces, in /proc/PID/stat.
_MINFLT, _UTIME, _STIME, _RSS = 7, 11, 12, 21
_IDLE = slice(3, 5)  # idle and iowait, in a core's line of /proc/stat
_COUNTED = slice(0, 8)  # guest time is in user time already


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Totals of one process since its start. `faults`: page faults that needed no disk."""

    cpu_s: float
    faults: int
    resident_bytes: int


def usage_of(pid: int) -> Usage:
    """Of all threads of a process. Raises OSError if it has ended."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return Usage(
        cpu_s=(int(fields[_UTIME]) + int(fields[_STIME])) * _TICK_S,
        faults=int(fields[_MINFLT]),
        resident_bytes=int(fields[_RSS]) * _PAGE,
    )


def busy_s(cores: list[int]) -> float:
    """Seconds that these cores have worked, for any process."""
    wanted = {f"cpu{core}" for core in cores}
    total = 0.0
    for line in (_PROC / "stat").read_text().splitlines():
        name, *numbers = line.split()
        if name in wanted:
            ticks = [int(number) for number in numbers]
            total += (sum(ticks[_COUNTED]) - sum(ticks[_IDLE])) * _TICK_S
    return total
