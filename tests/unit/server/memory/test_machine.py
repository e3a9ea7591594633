"""How much memory there is, by pretended machines; and the sentence for a budget that is larger."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidstream_server.memory.machine import MachineMemory, machine_memory, too_large

MIB = 2**20
V1 = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"


def machine(root: Path, mount: str, groups: str, files: dict[str, str], *, installed_kib: int | None) -> Path:
    """A machine below a folder."""
    own = root / "proc/self"
    own.mkdir(parents=True)
    (own / "mountinfo").write_text(mount + "\n")
    (own / "cgroup").write_text(groups + "\n")
    if installed_kib is not None:
        (root / "proc/meminfo").write_text(f"MemTotal:       {installed_kib} kB\nMemFree:        12 kB\n")
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("mount", "groups", "files", "mib"),
    [
        (V2, "0::/", {"sys/fs/cgroup/memory.max": f"{512 * MIB}\n"}, 512),
        (V2, "0::/", {"sys/fs/cgroup/memory.max": "max\n"}, 2048),
        (V2, "0::/a/b", {"sys/fs/cgroup/a/memory.max": f"{300 * MIB}\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 300),
        (V1, "4:memory:/job", {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{256 * MIB}\n"}, 256),
        (V1, "4:memory:/", {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2048),
        (V1, "4:cpu:/", {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{256 * MIB}\n"}, 2048),
    ],
)
def test_the_least_of_all_limits_counts(
    tmp_path: Path, mount: str, groups: str, files: dict[str, str], mib: int
) -> None:
    """The machine's own memory, and both versions of control groups, with groups around ours."""
    found = machine_memory(machine(tmp_path, mount, groups, files, installed_kib=2048 * 1024))
    assert found is not None
    assert found.bytes == mib * MIB
    assert ("container" in found.why) == (mib != 2048)


def test_a_system_that_says_nothing_limits_nothing(tmp_path: Path) -> None:
    """Then no start is warned about."""
    assert machine_memory(tmp_path) is None
    assert too_large(2**60, None) is None


def test_a_budget_that_does_not_fit_says_what_to_lower() -> None:
    """One line, with both numbers."""
    memory = MachineMemory(bytes=1024 * MIB, why="the memory of the machine")
    assert too_large(1024 * MIB, memory) is None
    reason = too_large(1024 * MIB + 1, memory)
    assert reason is not None
    assert "\n" not in reason
    for words in ("1025 MiB", "1024 MiB", "the memory of the machine", "max_queue_bytes", "--dry-run"):
        assert words in reason


def test_this_machine_has_memory() -> None:
    """The real files are read."""
    found = machine_memory()
    assert found is not None
    assert found.bytes > 64 * MIB
