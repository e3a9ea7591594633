"""The command that runs seeds: the same results with any number of processes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from . import cli
from .simulator.report import Total

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )


def a_run(seed: int) -> cli._Ran:
    return cli._Ran(seed, Total(seeds=1), f"seed {seed}: it broke" if seed in (3, 5) else None)


def test_processes_change_nothing_but_the_time() -> None:
    """A range of seeds, in one process and in two."""
    alone, together = (command("--seeds", "1:8:3", "--jobs", jobs) for jobs in "12")
    assert (alone.returncode, together.returncode) == (0, 0)
    assert alone.stdout.startswith("3 seeds in ")
    assert alone.stdout.splitlines()[1:] == together.stdout.splitlines()[1:]


def test_a_seed_that_fails_ends_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 1, and nothing of those behind it."""
    monkeypatch.setattr(cli, "_run", a_run)
    assert cli._many(range(8), 1, keep_going=False) == 1
    out, err = capsys.readouterr()
    assert ("seed 3: it broke" in err, "seed 5" in err, out) == (True, False, "")


def test_every_seed_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is asked to keep going; the exit code is the same."""
    monkeypatch.setattr(cli, "_run", a_run)
    assert cli._many(range(8), 1, keep_going=True) == 1
    out, err = capsys.readouterr()
    assert "seed 5: it broke" in err
    assert err.endswith("2 seeds failed: 3, 5\n")
    assert out.startswith("8 seeds in ")


@pytest.mark.parametrize("wrong", ["", "x", "-1", "5:2", "0", "1:2:0", "1:2:3:4"])
def test_seeds_that_are_no_range_are_refused(wrong: str) -> None:
    """With what would do."""
    with pytest.raises(argparse.ArgumentTypeError):
        cli.seeds_of(wrong)
