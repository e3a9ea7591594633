"""The garbage collector looks at what came after the start, and at nothing else."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from reidstream_server.memory.collector import leave_out_what_is_there


class _Ring:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_there_is_not_looked_at_again() -> None:
    """A full collection has next to nothing to look at."""
    assert leave_out_what_is_there() > 1000
    assert len(gc.get_objects()) < 100


def test_garbage_is_collected_first_and_what_comes_later_as_ever() -> None:
    """Nothing that nobody can reach is kept."""
    before = weakref.ref(_Ring())
    leave_out_what_is_there()
    assert before() is None
    later = weakref.ref(_Ring())
    assert later() is not None
    gc.collect()
    assert later() is None


# The first thing that a server does when it serves also says how many objects are left out.
_SERVER = """
import gc, sys
from reidstream_server import cli
import reidstream_server.app as app
tell_budget = app.tell_budget
def tell(budget):
    print("frozen", gc.get_freeze_count(), flush=True)
    tell_budget(budget)
app.tell_budget = tell
sys.exit(cli.main(["--port", "0", "--metrics-port", "0"]))
"""


def test_a_server_does_so_before_it_serves() -> None:
    """The real start, up to its first line about serving."""
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        words = server.stdout.readline().split()
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait() in (0, -signal.SIGTERM)
    assert words[0] == "frozen"
    assert int(words[1]) > 10_000
