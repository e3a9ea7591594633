"""How much memory this process may use: the machine's, or that of its control groups, whichever is smaller.

Why: a container with less memory than the server's budget is killed in the middle of its work, without a word in the
log. So the start says it. Trap: version 1 of the control groups writes "no limit" as a number near 2^63.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reidstream_engines.control_groups import ROOT, group_folders, text_of

_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineMemory:
    """`bytes`: how much there is. `why`: what limits it, in words."""

    bytes: int
    why: str


def machine_memory(root: Path = ROOT) -> MachineMemory | None:
    """The least of all limits; None where the system says none. `root`: where `proc` and the groups are mounted."""
    found = []
    if (installed := _installed(root)) is not None:
        found.append(MachineMemory(bytes=installed, why="the memory of the machine"))
    limits = [limit for folder in group_folders("memory", root) if (limit := _limit(folder)) is not None]
    if limits:
        found.append(MachineMemory(bytes=min(limits), why="the memory limit of the control group (container)"))
    return min(found, key=lambda memory: memory.bytes, default=None)


def too_large(total_bytes: int, memory: MachineMemory | None) -> str | None:
    """What to do if the budget is more than there is; None if it fits, or if nobody knows how much there is."""
    if memory is None or total_bytes <= memory.bytes:
        return None
    return (
        f"the server may hold {-(-total_bytes // _MIB)} MiB, and there are {memory.bytes // _MIB} MiB ({memory.why}): "
        "under attack or overload it may be killed; lower max_queue_bytes, max_staged_bytes, max_parked_bytes, "
        "max_receiving_bytes or max_held_answer_bytes (--dry-run shows every part), or give it more memory"
    )


def _installed(root: Path) -> int | None:
    for line in text_of(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if name == "MemTotal" and number and number[0].isdecimal():
            return int(number[0]) * 1024
    return None


def _limit(folder: Path) -> int | None:
    """The limit of one group, by whichever version's file it has; None for no limit."""
    text = (text_of(folder / "memory.max") or text_of(folder / "memory.limit_in_bytes")).strip()
    return int(text) if text.isdecimal() and int(text) < 2**60 else None
