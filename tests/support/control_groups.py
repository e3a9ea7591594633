"""A real control group with little CPU time, for tests that put a process of theirs into it.

Trap: only who may write the machine's control groups can make one. It must be empty at the end to be removed, so the
process must be over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reidstream_engines.control_groups import group_folders


@contextmanager
def limited_group(share: float) -> Iterator[Path | None]:
    """The folder of a new group with `share` cores' worth of time, removed at the end; None if none can be made."""
    with ExitStack() as stack:
        yield next((made for folder in group_folders("cpu") if (made := _made(stack, folder, share)) is not None), None)


def _made(stack: ExitStack, folder: Path, share: float) -> Path | None:
    group = folder / f"reidstream-test-{os.getpid()}"
    quota = int(share * 100_000)
    try:
        group.mkdir()
        stack.callback(group.rmdir)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} 100000", encoding="ascii")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(quota), encoding="ascii")
    except OSError:
        return None
    return group
