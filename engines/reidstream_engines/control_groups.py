"""The control groups of this process: where the kernel says how much of the machine it may use.

Why apart: the cores and the memory are limited in the same way, by different files. Trap: a group's limit holds for all
groups within it, so whoever reads a limit looks at every folder, and the smallest counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
_V1, _V2 = "cgroup", "cgroup2"


def group_folders(controller: str, root: Path = ROOT) -> Iterator[Path]:
    """The folders of this process's control groups with a say on `controller`, and of all groups around them.

    `controller`: the kernel's word for what is limited, such as "cpu" or "memory".
    """
    groups = dict(_groups(controller, root))
    for line in text_of(root / "proc/self/mountinfo").splitlines():
        before, dash, after = line.partition(" - ")
        mounted, source = before.split(" "), after.split(" ")
        if not dash or len(mounted) < 5 or len(source) < 3:  # noqa: PLR2004 - the fields that are read
            continue
        kind, controllers = source[0], source[2].split(",")
        if kind not in groups or (kind == _V1 and controller not in controllers):
            continue
        top = root / _unescaped(mounted[4]).lstrip("/")
        inside = _inside(groups[kind], _unescaped(mounted[3]))
        yield from (top.joinpath(*inside[:length]) for length in range(len(inside) + 1))


def _groups(controller: str, root: Path) -> Iterator[tuple[str, str]]:
    """For each kind of control group, this process's group, as `/proc/self/cgroup` names it."""
    for line in text_of(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield _V2, path
        elif controller in controllers.split(","):
            yield _V1, path


def _inside(group: str, mounted: str) -> tuple[str, ...]:
    """The way from the mount to the group. Empty if the mount is of another part of the tree, as in some containers:
    the mount itself is then the process's own group.
    """
    parts, above = Path(group).parts, Path(mounted).parts
    if parts[: len(above)] != above or ".." in parts:
        return ()
    return parts[len(above) :]


def _unescaped(path: str) -> str:
    """The kernel writes a space in a path as its octal number."""
    return path.replace("\\040", " ")


def text_of(path: Path) -> str:
    """What a file of the kernel says; "" for one that is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
