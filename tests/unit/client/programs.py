"""Programs in processes of their own: what a fork, a patched interpreter or a second event loop does needs one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from textwrap import dedent

from tests.support.patience import HANG_S


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and what it wrote."""

    status: int
    lines: list[str]
    complaints: str


def run(program: str, *arguments: str, **environment: str) -> Ended:
    """Run it to its end, with more environment than ours. Fails if it hangs."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", dedent(program), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        env={**os.environ, **environment},
    )
    return Ended(done.returncode, done.stdout.splitlines(), done.stderr)
