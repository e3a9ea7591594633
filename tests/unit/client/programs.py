"""Programs in processes of their own: what a fork, a patched interpreter or a second event loop does needs one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from textwrap import dedent

from tests.support.patience import HANG_S

# gRPC's one poller serves every event loop of a process. When the last channel is closed in one loop, another loop may
# just have been told to read from the poller's socket. asyncio then logs this, and nothing is lost. It is rare.
_CLOSED_POLLER = re.compile(
    r"Exception in callback None\(\)\nhandle: <Handle cancelled>\nTraceback \(most recent call last\):\n(?:  .*\n)+"
    r"OSError: \[Errno 9\] Bad file descriptor\n"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and what it wrote. `complaints`: what it wrote to stderr, without gRPC's poller's."""

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
    return Ended(done.returncode, done.stdout.splitlines(), _CLOSED_POLLER.sub("", done.stderr))
