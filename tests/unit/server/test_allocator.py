"""The allocator keeps what is freed: the second burst of large blocks costs no page faults."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from reidstream_server.allocator import keep_freed_memory
{call}
def burst():
    blocks = [bytearray(6 * 2**20) for _ in range(8)]
burst()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    burst()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> int:
    """Page faults of ten bursts of eight 6 MiB blocks, 12,288 pages each, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_memory_is_kept_for_the_next_burst() -> None:
    """Without the switches every burst is mapped anew; with them, none is."""
    assert faults("") > 50_000
    assert faults("assert keep_freed_memory()") < 5_000
