"""Files in /dev/shm that clients name: read and written with care, and refused where care would not help.

Trap: a mistake here is a signal that ends the process of these tests.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from reidstream_server.errors import InvalidCall, NotPermitted
from reidstream_server.transport.kserve import region_file
from reidstream_server.transport.kserve.region_file import open_region
from tests.support.posix_memory import posix_memory

PAGE = os.sysconf("SC_PAGE_SIZE")
ME = os.getuid()


def memory(size: int = 4 * PAGE) -> AbstractContextManager[Path]:
    return posix_memory(size)


@pytest.mark.parametrize("offset", [0, 100, PAGE, PAGE + 100])
def test_a_region_is_read_and_written_where_it_lies(offset: int) -> None:
    """Anywhere in its file; also when the file has no name any more."""
    with memory() as path:
        region = open_region("r", f"/{path.name}", offset, 2 * PAGE, ME)
        path.write_bytes(b"".ljust(offset + 7, b"-") + b"crops".ljust(4 * PAGE, b"."))
        assert region.read(7, 5) == b"crops"
        region.write(PAGE - 2, b"rows")  # across a page
        assert path.read_bytes()[offset + PAGE - 3 : offset + PAGE + 3] == b".rows."
        path.unlink()
        region.write(0, b"more")
        assert region.read(0, 4) == b"more"


def test_what_was_never_written_is_zeros_and_takes_no_memory() -> None:
    """Reading it must not charge the server for the client's memory."""
    with memory(64 * PAGE) as path:
        region = open_region("r", path.name, 0, 64 * PAGE, ME)
        assert region.read(0, 64 * PAGE) == bytes(64 * PAGE)
        assert path.stat().st_blocks == 0


def test_a_file_that_is_cut_off_is_an_error_and_no_signal() -> None:
    """Before it is read, before it is written, and after a first write has mapped it."""
    with memory() as path:
        region = open_region("crops", path.name, 0, 4 * PAGE, ME)
        late = open_region("late", path.name, 0, 4 * PAGE, ME)
        region.write(0, b"rows")
        os.truncate(path, PAGE)
        assert region.read(0, 4) == b"rows"
        for use in (
            lambda: region.read(0, PAGE + 1),
            lambda: region.read(2 * PAGE, 1),
            lambda: region.write(PAGE - 2, b"rows"),
            lambda: region.write(2 * PAGE, b"rows"),
            lambda: late.write(0, b"rows"),
        ):
            with pytest.raises(InvalidCall, match="was cut off"):
                use()
        assert path.stat().st_size == PAGE  # nothing has made it longer again


@pytest.mark.needs("held-lock")
def test_nobody_waits_for_a_lock_that_a_client_holds_on_its_file() -> None:
    """With a write of its own that never ends. `pwrite` would wait in the kernel, where no signal wakes it."""
    with memory() as path:
        command = [sys.executable, "-m", "tests.support.held_lock", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            region = open_region("r", path.name, 0, 4 * PAGE, ME)
            assert region.read(0, 4) == bytes(4)
            region.write(2 * PAGE, b"rows")
            assert region.read(2 * PAGE, 4) == b"rows"
            assert holder.poll() is None  # it held the lock all the time
            holder.kill()


def test_a_file_is_closed_with_the_last_that_holds_it() -> None:
    """A thread that reads it late must not find another file under its number."""
    with memory() as path:
        region = open_region("r", path.name, 0, PAGE, ME)
        region.write(0, b"rows")
        assert str(path) in open_files()
        del region
        gc.collect()
        assert str(path) not in open_files()


def open_files() -> set[str]:
    """Of this process."""
    links = Path("/proc/self/fd").iterdir()
    return {str(link.readlink()) for link in links if os.path.lexists(link)}


@pytest.mark.parametrize("key", ["", "/", ".", "..", "/..", "../etc/passwd", "/a/b", "a/../b", "a\0b", "x" * 300])
def test_a_key_is_one_name(key: str) -> None:
    """It leads nowhere else."""
    with pytest.raises(InvalidCall, match="is no name of shared memory"):
        open_region("r", key, 0, 1, ME)


def test_what_is_not_there_is_said() -> None:
    """A container has its own."""
    with pytest.raises(InvalidCall, match="there is no shared memory '/reidstream-test-nobody' here"):
        open_region("r", "/reidstream-test-nobody", 0, 1, ME)


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_only_a_regular_file_is_taken(kind: str, tmp_path: Path) -> None:
    """It is looked at without opening it: opening a pipe would wait for its other end."""
    with memory() as other, memory() as path:
        path.unlink()
        match kind:
            case "link":
                path.symlink_to(other)
            case "dangling link":
                path.symlink_to(tmp_path / "nobody")
            case "folder":
                path.mkdir()
            case _:
                os.mkfifo(path)
        try:
            with pytest.raises(InvalidCall, match="a link, a folder, a pipe or a device"):
                open_region("r", path.name, 0, 1, ME)
        finally:
            if kind == "folder":
                path.rmdir()


def test_a_file_must_be_its_callers() -> None:
    """A name is no secret: who could name another user's memory could read it, and write into it."""
    with memory() as path, pytest.raises(NotPermitted, match="is not yours"):
        open_region("r", path.name, 0, 1, ME + 1)


@pytest.mark.parametrize(("offset", "size"), [(0, 4 * PAGE + 1), (4 * PAGE, 1), (PAGE, 2**64), (2**64, 1)])
def test_a_region_lies_within_its_file(offset: int, size: int) -> None:
    """By the size that it has when it is registered."""
    with memory() as path, pytest.raises(InvalidCall, match=f"has {4 * PAGE}"):
        open_region("r", path.name, offset, size, ME)


def test_only_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another kind of file system may answer when its owner likes."""
    monkeypatch.setattr(region_file, "FOLDER", "/proc/self")
    with pytest.raises(InvalidCall, match="does not lie in memory"):
        open_region("r", "status", 0, 1, ME)
