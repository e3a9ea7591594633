"""The thread that writes the log: nobody waits for its reader, and what is lost is counted and told."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reidstream_server.log_writer import LineWriter, never_wait_for
from tests.support.patience import HANG_S


def told(lines: int) -> str:
    return f"dropped {lines}"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its ends, reading and writing; tests may close the first."""
    ours, theirs = os.pipe()
    yield ours, theirs
    os.close(theirs)
    with contextlib.suppress(OSError):
        os.close(ours)


def stuck(pipe: tuple[int, int]) -> int:
    """Fill the pipe to its last byte; returns how many are in it. The next writer waits."""
    _, theirs = pipe
    os.set_blocking(theirs, False)
    filled = 0
    for size in (4096, 1):  # a short line may lie in a page of its own, and leave the rest of it free
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(theirs, b"\n" * size)
    os.set_blocking(theirs, True)
    return filled


def read_lines(file: int, count: int) -> list[str]:
    """So many lines that are not empty."""
    found = b""
    while found.count(b"\n") < count:
        found += os.read(file, 65536).lstrip(b"\n")
    return found.decode().splitlines()


def test_a_writer_that_is_closed_has_written_and_its_thread_ends(pipe: tuple[int, int]) -> None:
    """Else every new configuration of the log would leave a thread behind. A later line is written all the same."""
    ours, theirs = pipe
    writer = LineWriter(theirs, told)
    writer.write("first")
    thread = writer._thread
    assert thread is not None
    writer.close()
    thread.join(HANG_S)
    assert not thread.is_alive()
    writer.write("second")
    assert writer.flush()
    assert read_lines(ours, 2) == ["first", "second"]
    writer.close()


def test_lines_come_out_in_order(pipe: tuple[int, int]) -> None:
    """Each on a line of its own; when they are flushed, they are there."""
    ours, theirs = pipe
    writer = LineWriter(theirs, told)
    for number in range(200):
        writer.write(str(number))
    assert writer.flush()
    assert os.read(ours, 65536).decode() == "".join(f"{number}\n" for number in range(200))
    assert writer.dropped == 0


def test_nobody_waits_for_a_reader_that_does_not_read(pipe: tuple[int, int]) -> None:
    """What finds no room is dropped and counted; when the reader reads again, a line says how many, in their place."""
    ours, _ = pipe
    filled = stuck(pipe)
    writer = LineWriter(pipe[1], told, max_lines=10)
    for number in range(25):
        writer.write(str(number))
    assert writer.dropped == 15
    os.read(ours, filled)
    assert read_lines(ours, 11) == [*map(str, range(10)), "dropped 15"]
    writer.write("after")
    assert read_lines(ours, 1) == ["after"]
    assert writer.dropped == 15


def test_drops_are_told_where_they_were(pipe: tuple[int, int]) -> None:
    """Between the lines before and after them, once, and not for every other line."""
    ours, _ = pipe
    filled = stuck(pipe)
    writer = LineWriter(pipe[1], told, max_lines=10)
    for number in range(12):
        writer.write(str(number))
    os.read(ours, filled)
    assert writer.flush()
    for number in range(12, 14):
        writer.write(str(number))
    assert writer.flush()
    assert read_lines(ours, 13) == [*map(str, range(10)), "dropped 2", "12", "13"]


def test_a_queue_that_was_full_takes_nothing_until_half_of_it_is_free(pipe: tuple[int, int]) -> None:
    """Else a slow reader would read of drops more than of anything else."""
    stuck(pipe)
    writer = LineWriter(pipe[1], told, max_lines=10)
    for _ in range(11):
        writer.write("x")
    taken = []
    for free in range(1, 7):
        writer._lines -= 1
        before = writer.dropped
        writer.write("y")
        taken.append(writer.dropped == before)
        if taken[-1]:
            break
        assert writer._lines == 10 - free
    assert taken == [False, False, False, False, False, True]


def test_bytes_are_bounded_too(pipe: tuple[int, int]) -> None:
    """A line that is larger than all of the room is dropped at once, and small ones go on."""
    stuck(pipe)
    writer = LineWriter(pipe[1], told, max_bytes=1000)
    writer.write("x" * 2000)
    assert writer.dropped == 1
    for _ in range(100):
        writer.write("x" * 99)
    assert writer.dropped == 91
    assert writer._bytes <= 1000


def test_a_reader_that_never_reads_does_not_hold_the_end(pipe: tuple[int, int]) -> None:
    """The second one who waits for it does not wait at all."""
    stuck(pipe)
    writer = LineWriter(pipe[1], told, last_words_s=0.01)
    writer.write("x")
    assert not writer.flush()
    assert writer._patience_s == 0.0
    assert not writer.flush()


@pytest.mark.parametrize("why", ["reader gone", "disk full", "closed", "none"])
def test_what_cannot_be_written_is_dropped_and_counted(why: str, pipe: tuple[int, int]) -> None:
    """And nobody hears of it but the count."""
    full = os.open("/dev/full", os.O_WRONLY)
    if why == "reader gone":
        os.close(pipe[0])
    if why == "closed":
        os.close(full)
    writer = LineWriter({"reader gone": pipe[1], "none": None}.get(why, full), told)
    for _ in range(5):
        writer.write("x")
    assert writer.flush()
    assert writer.dropped == 5
    if why != "closed":
        os.close(full)


def test_a_line_that_was_cut_does_not_run_into_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk is full in the middle of a line, and then it has room again."""
    written = b""
    room = [3, 0, 100, 100, 100]

    both = threading.Event()

    def write(_: int, data: memoryview) -> int:
        nonlocal written
        assert both.wait(HANG_S)
        size = room.pop(0)
        if not size:
            raise OSError("no space left")
        written += bytes(data[:size])
        return min(size, len(data))

    monkeypatch.setattr("reidstream_server.log_writer.os.write", write)
    writer = LineWriter(1, told)
    writer.write("first line")
    writer.write("second line")
    both.set()  # else it may tell of the first before the second is there
    assert writer.flush()
    assert written.decode().splitlines() == ["fir", "second line", "dropped 1"]
    assert writer.dropped == 1


def test_a_descriptor_that_does_not_wait_is_waited_for(pipe: tuple[int, int]) -> None:
    """A line that is longer than a pipe comes out whole."""
    ours, theirs = pipe
    os.set_blocking(theirs, False)
    writer = LineWriter(theirs, told)
    writer.write("x" * 300_000)
    found = b""
    while not found.endswith(b"\n"):
        found += os.read(ours, 65536)
    assert found == b"x" * 300_000 + b"\n"


def test_who_logs_in_a_signal_handler_while_it_logs_waits_for_nobody(pipe: tuple[int, int]) -> None:
    """It comes at any step of the thread that it interrupts, and each line comes out whole."""
    ours, theirs = pipe
    writer = LineWriter(theirs, told)
    found = b""
    handler = signal.signal(signal.SIGALRM, lambda *_: writer.write("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        for number in range(3000):
            writer.write(str(number))
            if number % 500 == 0:
                found += os.read(ours, 65536)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one that is on its way would end the process
        signal.signal(signal.SIGALRM, handler)
    writer.write("end")
    while not found.endswith(b"end\n"):
        found += os.read(ours, 65536)
    lines = found.decode().splitlines()
    assert [line for line in lines if line not in ("alarm", "end")] == [*map(str, range(3000))]


def test_a_forked_process_has_a_log() -> None:
    """Its parent's thread is not there; what the parent had queued comes out once."""
    program = """
import os, sys
from reidstream_server.log_writer import LineWriter
writer = LineWriter(2, str)
writer.write("parent")
child = os.fork()
if not child:
    writer.write("child")
    os._exit(0 if writer.flush() else 1)
assert os.waitpid(child, 0)[1] == 0
assert writer.flush()
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]  # Python 3.12 warns of such forks
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert sorted(done.stderr.splitlines()) == ["child", "parent"]


def flags(file: int) -> int:
    return fcntl.fcntl(file, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_pipe_is_opened_anew_and_others_who_have_it_wait_as_before(pipe: tuple[int, int]) -> None:
    """A shell's own writes, say, which it shares with its commands."""
    ours, shells = pipe
    mine = os.dup(shells)
    never_wait_for(mine)
    assert (flags(mine), flags(shells)) == (os.O_NONBLOCK, 0)
    os.write(mine, b"mine\n")
    assert os.read(ours, 100) == b"mine\n"
    os.close(mine)


def test_what_cannot_be_opened_anew_stays_as_it_is(tmp_path: Path) -> None:
    """A socket; and a file, whose place to write at is shared."""
    one, two = socket.socketpair()
    with one, two, (tmp_path / "log").open("wb") as file:
        for number in (one.fileno(), file.fileno()):
            inode = os.fstat(number).st_ino
            never_wait_for(number)
            assert (flags(number), os.fstat(number).st_ino) == (0, inode)


def test_nothing_is_left_open(pipe: tuple[int, int]) -> None:
    """One descriptor as before, whatever it is."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        never_wait_for(pipe[1])
    never_wait_for(1000)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_thread_ends_with_nobody_waiting_for_it(pipe: tuple[int, int]) -> None:
    """It is a daemon, so a process whose reader reads nothing ends."""
    stuck(pipe)
    program = f"""
from reidstream_server.log_writer import LineWriter
writer = LineWriter({pipe[1]}, str)
for _ in range(100):
    writer.write("x" * 4000)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=HANG_S, pass_fds=[pipe[1]])
    assert done.returncode == 0
