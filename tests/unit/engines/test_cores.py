"""How many cores there are to work with: affinity, the quotas of control groups, and what the operator sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reidstream_engines.cores import Cores, cpu_quota, find_cores, usable_cores
from tests.support.control_groups import limited_group

V2 = "30 23 0:26 {root} {at} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 23 0:27 {root} {at} rw,nosuid - cgroup cgroup rw,{controllers}"


class Machine:
    """A pretended machine below a folder: its control groups, and this process's place in them."""

    def __init__(self, root: Path, *mounts: str, groups: str) -> None:
        self.root = root
        own = root / "proc/self"
        own.mkdir(parents=True)
        (own / "mountinfo").write_text("\n".join(["22 1 8:1 / / rw - ext4 /dev/root rw", *mounts]) + "\n")
        (own / "cgroup").write_text(groups)

    def set(self, file: str, text: str) -> Machine:
        """Write one file of a group."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def limit_v1(self, folder: str, quota: int, period: int = 100_000) -> Machine:
        """A group's quota in the first version's files."""
        return self.set(f"{folder}/cpu.cfs_quota_us", f"{quota}\n").set(f"{folder}/cpu.cfs_period_us", f"{period}\n")


def second_version(root: Path, group: str = "/", mounted: str = "/") -> Machine:
    """Only version 2, as on most machines today."""
    return Machine(root, V2.format(root=mounted, at="/sys/fs/cgroup"), groups=f"0::{group}\n")


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2.0),
        ("150000 100000\n", 1.5),
        ("5000 10000\n", 0.5),
        ("0 100000\n", None),
        ("1000\n", None),
        ("", None),
        ("a few\n", None),
        ("100000 0\n", None),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, text: str, quota: float | None) -> None:
    """A container sees its own group at the mount; what is no number limits nothing."""
    assert cpu_quota(second_version(tmp_path).set("sys/fs/cgroup/cpu.max", text).root) == quota


def test_the_smallest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    """Of the group and of every group around it, but of no other."""
    machine = second_version(tmp_path, "/kube/pod/box")
    machine.set("sys/fs/cgroup/kube/pod/box/cpu.max", "max 100000\n")
    assert cpu_quota(machine.root) is None
    machine.set("sys/fs/cgroup/kube/cpu.max", "400000 100000\n")
    machine.set("sys/fs/cgroup/kube/other/cpu.max", "100000 100000\n")
    assert cpu_quota(machine.root) == 4.0
    machine.set("sys/fs/cgroup/kube/pod/cpu.max", "300000 200000\n")
    assert cpu_quota(machine.root) == 1.5
    machine.set("sys/fs/cgroup/kube/pod/box/cpu.max", "200000 100000\n")
    assert cpu_quota(machine.root) == 1.5


@pytest.mark.parametrize("mounted", ["/docker/a1", "/another", "/../.."])
def test_a_mount_that_shows_only_a_part_of_the_groups(tmp_path: Path, mounted: str) -> None:
    """A container without a name space of its own: its group's long path is not below the mount, or is the mount."""
    machine = second_version(tmp_path, "/docker/a1", mounted=mounted)
    assert cpu_quota(machine.set("sys/fs/cgroup/cpu.max", "300000 100000\n").root) == 3.0


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_the_first_version(tmp_path: Path, controllers: str) -> None:
    """The group of the controller for CPU time counts, wherever it is mounted; -1 is no limit."""
    at = "/sys/fs/cgroup/cpu\\040time"
    mounts = (
        V1.format(root="/", at="/sys/fs/cgroup/cpuset", controllers="cpuset"),
        V1.format(root="/", at=at, controllers=controllers),
    )
    machine = Machine(tmp_path, *mounts, groups=f"5:cpuset:/x\n4:{controllers}:/a/b\n1:name=systemd:/a\n0::/\n")
    machine.limit_v1("sys/fs/cgroup/cpuset/x", 50_000).limit_v1("sys/fs/cgroup/cpu time/a/b", -1)
    assert cpu_quota(machine.root) is None
    assert cpu_quota(machine.limit_v1("sys/fs/cgroup/cpu time/a", 250_000).root) == 2.5


def test_both_versions_at_once(tmp_path: Path) -> None:
    """As on machines that change over: either may have the limit."""
    mounts = (
        V2.format(root="/", at="/sys/fs/cgroup/unified"),
        V1.format(root="/", at="/sys/fs/cgroup/cpu", controllers="cpu"),
    )
    machine = Machine(tmp_path, *mounts, groups="3:cpu:/\n0::/\n")
    assert cpu_quota(machine.set("sys/fs/cgroup/unified/cpu.max", "400000 100000\n").root) == 4.0
    assert cpu_quota(machine.limit_v1("sys/fs/cgroup/cpu", 100_000).root) == 1.0


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    """No such files, or nonsense in them: nothing limits."""
    assert cpu_quota(tmp_path) is None
    assert cpu_quota(Machine(tmp_path, "", "x - y", "- - - -", groups="\nnonsense\n0:\n").root) is None


@pytest.mark.parametrize(
    ("quota", "count"),
    [(10_000, 1), (100_000, 1), (100_001, 2), (150_000, 2), (200_000, 2), (390_000, 4), (800_000, 4), (6_400_000, 4)],
)
def test_a_part_of_a_core_counts_as_a_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: int, count: int
) -> None:
    """The quota rounded up, at least 1, and no more than the process may run on, which is 4 here."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    machine = second_version(tmp_path).set("sys/fs/cgroup/cpu.max", f"{quota} 100000\n")
    assert find_cores(root=machine.root).count == count


def test_what_limits_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quota, the affinity, or the operator, who wins over both."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    machine = second_version(tmp_path)
    assert find_cores(root=machine.root) == Cores(count=4, why="the cores that the process may run on")
    machine.set("sys/fs/cgroup/cpu.max", "150000 100000\n")
    assert find_cores(root=machine.root) == Cores(count=2, why="a quota of CPU time of 1.5 cores")
    assert find_cores(8, root=machine.root) == find_cores(8) == Cores(count=8, why="as set")


def test_where_there_is_no_affinity_the_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems other than Linux."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert find_cores(root=tmp_path).count == 1


def test_this_process() -> None:
    """At least one core, and no more than it may run on, by the files of the real system."""
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


def test_a_process_finds_the_quota_of_its_group(tmp_path: Path) -> None:
    """In a real group with a fifth of a core, where this machine lets us make one; else in a pretended one."""
    program = (
        "import sys, pathlib\n"
        "from reidstream_engines.cores import cpu_quota, find_cores\n"
        "root, group = map(pathlib.Path, sys.argv[1:])\n"
        "(group / 'cgroup.procs').write_text('0')\n"
        "print(cpu_quota(root), find_cores(root=root).count)\n"
    )
    with limited_group(0.2) as made:
        root, group = Path("/"), made
        if group is None:
            root, group = second_version(tmp_path).set("sys/fs/cgroup/cpu.max", "20000 100000").root, tmp_path
        command: list[str | Path] = [sys.executable, "-c", program, root, group]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.2", "1"]
