"""How many processor cores there are to work with: the one place that knows.

Why one: the engines size their calls by it, the server its threads and its scheduling; all must see the same number.

Trap: three limits are in force at once. The machine has cores; the process may run on some of them (affinity, cpusets);
and a container has a quota of CPU time, which none of Python's functions shows. A container with two cores' worth of
time on a machine of 64 would start 64 threads, use up its time at once, and then be stopped again and again.

A quota need not be whole. It is rounded up: a thread too few would leave a part of the time unused for ever, one too
many is stopped for less than one period (0.1 s) at a time, and only while all of them are busy.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from .control_groups import ROOT, group_folders, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """`count`: how many cores to use, at least 1. `why`: what limits them, in words."""

    count: int
    why: str


def usable_cores(asked: int = 0) -> int:
    """`find_cores(asked).count`."""
    return find_cores(asked).count


def find_cores(asked: int = 0, *, root: Path = ROOT) -> Cores:
    """The cores of this process. `asked`: what the operator has set, which wins over everything; 0: nothing.

    `root`: where `proc` and the control groups are mounted. What the system does not say does not limit.
    """
    if asked:
        return Cores(count=asked, why="as set")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    if quota is not None and math.ceil(quota) < allowed:
        return Cores(count=max(1, math.ceil(quota)), why=f"a quota of CPU time of {quota:g} cores")
    return Cores(count=allowed, why="the cores that the process may run on")


def cpu_quota(root: Path = ROOT) -> float | None:
    """How many cores' worth of time this process has by its control groups; None without a limit.

    A group's limit holds for all groups within it, so the smallest on the way up counts.
    """
    limits = [limit for folder in group_folders("cpu", root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _limit(folder: Path) -> float | None:
    """The limit of one group, by whichever version's file it has; None if it has no limit."""
    quota, _, period = text_of(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = text_of(folder / "cpu.cfs_quota_us"), text_of(folder / "cpu.cfs_period_us")
    try:
        microseconds, of = int(quota), int(period)
    except ValueError:  # "max", or no such file
        return None
    return microseconds / of if microseconds > 0 and of > 0 else None
