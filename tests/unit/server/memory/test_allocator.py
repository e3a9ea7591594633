"""The allocator keeps what is freed, in few arenas: the second burst of large blocks costs no page faults."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from reidstream_server.memory.allocator import keep_freed_memory
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
    assert faults("assert keep_freed_memory(2)") < 5_000


ARENAS = """
import ctypes, tempfile, threading
from reidstream_server.memory.allocator import keep_freed_memory
{call}
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.fopen.argtypes, libc.malloc_info.argtypes = [ctypes.c_char_p] * 2, [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
together = threading.Barrier(16)
def allocate():
    together.wait()
    libc.malloc(ctypes.c_size_t(1000))
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().decode().count("<heap nr="))
"""


def arenas(call: str) -> int:
    """In how many arenas a process of its own allocates, with sixteen threads."""
    done = subprocess.run([sys.executable, "-c", ARENAS.format(call=call)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_threads_share_an_arena_for_each_core() -> None:
    """Without the switch nearly every thread gets one of its own."""
    assert arenas("") > 3
    assert arenas("assert keep_freed_memory(3)") <= 3
    assert arenas("assert keep_freed_memory(1)") <= 2


GIVEN_BACK = """
import ctypes, threading
from reidstream_server.memory.allocator import give_back_free_memory, keep_freed_memory
from reidstream_server.memory.process import private_bytes
keep_freed_memory(4)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
before = private_bytes()
together = threading.Barrier(9)
def network():
    blocks = []
    for _ in range(2500):
        blocks.append(libc.malloc(16384))
        ctypes.memset(blocks[-1], 1, 16384)
    together.wait(); together.wait()
    for block in blocks:
        libc.free(block)
    together.wait(); together.wait()
threads = [threading.Thread(target=network) for _ in range(8)]
[thread.start() for thread in threads]
together.wait(); together.wait(); together.wait()
freed = private_bytes() - before
given = give_back_free_memory(4)
print(freed >> 20, (private_bytes() - before) >> 20, given)
together.wait()
"""


def test_in_quiet_times_free_memory_of_every_arena_goes_back() -> None:
    """Eight threads have freed 312 MiB of network buffers in four arenas: nearly all is kept, until it is asked for."""
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    kept, left, given = done.stdout.split()
    assert given == "True"
    assert int(kept) > 200
    assert int(left) < 50
