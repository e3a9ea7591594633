"""A client's memory, opened and read where it lies, in such a way that no client can crash or stall the server with it.

What is opened is a memfd and nothing else: it lies on the kernel's own mount for such files, which no file system that
a client can make will claim to be, and that is looked up without opening it, since opening a device or a pipe acts.

    F_SEAL_SHRINK         without it the client could cut the file off, and the next look at it would be a SIGBUS
    F_SEAL_FUTURE_WRITE   without it the client could punch holes, and looking into them would allocate memory, and
                          charge it to the server
    F_SEAL_GROW, _SEAL    the size that was checked stays, and so do the seals
    the header            a client can name only memory that it can write; and no other program's, whatever its bytes

Traps: calls that lock the file's inode, such as SEEK_HOLE, must not be made, because a client that writes to it from a
page that never comes holds that lock for ever. And pages that the client has not written yet are no
memory at all: those ranges are read into a copy, which allocates nothing in the file; mincore tells them apart. A copy
takes a millisecond for each MB or two, so it is made where the frame is staged, in a thread, and not on the event loop.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from reidstream_engines.errors import InvalidImage
from reidstream_proto.v1 import contract, image_pb2, session_pb2
from reidstream_server.errors import SharedMemoryRefused
from reidstream_server.runtime.job import Fetch

_NOWHERE = (errno.ENOENT, errno.ESRCH)
_FORBIDDEN = (errno.EACCES, errno.EPERM)

_CLOSED = "raw image: its session is over, and so is the shared memory"

_LOOK_PAGES = 512  # at a time: what is missing ends a look, and costs no more than this

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


class Segment:
    """A session's shared memory. Any thread, one at a time; what it gives is read by any thread.

    Closing lets go of it, also while another thread looks something up; views that were given keep the mapping until
    the last of them is gone. Whoever asks `written` must have a view.
    """

    def __init__(self, file: int, size_bytes: int, *, max_copied_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.max_copied_bytes = max_copied_bytes
        self._map: mmap.mmap | None = mmap.mmap(file, size_bytes, access=mmap.ACCESS_READ)
        self._address: int = np.frombuffer(self._map, np.uint8).__array_interface__["data"][0]
        self._seen = bytearray(-(-size_bytes // mmap.PAGESIZE))  # 1: written; nobody can make it unwritten again
        self._file: _File | None = _File(file)  # last: where this fails, the file is still the caller's

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes where they lie, read-only. The range must lie within the segment. Raises InvalidImage once it is
        closed: the frame's session is over.
        """
        mapped = self._map
        if mapped is None:
            raise InvalidImage(_CLOSED)
        return memoryview(mapped)[offset : offset + length]

    def written(self, offset: int, length: int) -> bool:
        """Whether all of the range has been in memory, so that looking at it allocates nothing. Only pages of which
        that is not known yet are looked for.
        """
        page, end = offset // mmap.PAGESIZE, (offset + length - 1) // mmap.PAGESIZE + 1
        while (page := self._seen.find(0, page, end)) >= 0:
            pages = min(end - page, _LOOK_PAGES)
            found = ctypes.create_string_buffer(pages)
            if _libc.mincore(self._address + page * mmap.PAGESIZE, pages * mmap.PAGESIZE, found):
                return False
            self._seen[page : page + pages] = found.raw
            if not self._seen[page]:
                return False
        return True

    def fetch(self, offset: int, length: int) -> Fetch:
        """How any thread gets a copy of the bytes, also when the segment is closed by then. What was never written
        reads as zeros, and stays unwritten. Raises InvalidImage as `view` does.
        """
        file = self._file
        if file is None:
            raise InvalidImage(_CLOSED)
        return partial(file.read, offset, length)

    def close(self) -> None:
        """Give it back. Closing twice is harmless."""
        self._file = self._map = None


class _File:
    """An open file, closed with the last that holds it: its number must not name another file for a late reader."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def read(self, offset: int, length: int) -> bytes:
        """Raises OSError. Nothing waits for the client."""
        parts: list[bytes] = []
        while length and (part := os.pread(self._number, length, offset)):
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def __del__(self) -> None:
        os.close(self._number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """A range where it lies, and, if it must not be looked at there, how a copy is fetched."""

    view: memoryview
    fetch: Fetch | None


class FrameRanges:
    """The ranges of one frame, which may be no more than the segment: a thousand crops that all name all of it would
    keep the event loop busy.
    """

    def __init__(self, segment: Segment | None) -> None:
        self._segment = segment
        self._left = 0 if segment is None else segment.size_bytes
        self._copies_left = 0 if segment is None else segment.max_copied_bytes

    def pixels(self, message: image_pb2.SharedRange) -> Pixels:
        """Where they lie in the client's memory, and whether they must be copied instead. Raises InvalidImage."""
        segment, offset, length = self._segment, message.offset_bytes, message.length_bytes
        if segment is None:
            raise InvalidImage("raw image: it names a shared range, but this session has no shared memory; send data")
        if not length or offset + length > segment.size_bytes:
            raise InvalidImage(
                f"raw image: a shared range of {length} bytes at {offset} is outside the segment, of which "
                f"{segment.size_bytes} bytes were agreed on"
            )
        if length > self._left:
            raise InvalidImage(f"raw images: the shared ranges of a frame may have {segment.size_bytes} bytes in all")
        self._left -= length
        view = segment.view(offset, length)
        if segment.written(offset, length):
            return Pixels(view=view, fetch=None)
        if length > self._copies_left:
            raise InvalidImage(
                f"raw image: some of the {length} bytes at {offset} of the shared memory were never written; in one "
                f"frame such ranges may have {segment.max_copied_bytes} bytes (max_message_bytes)"
            )
        self._copies_left -= length
        return Pixels(view=view, fetch=segment.fetch(offset, length))


def open_segment(offer: session_pb2.SharedMemory, *, max_bytes: int, max_copied_bytes: int) -> Segment:
    """The memory that a client on this machine offers, at most `max_bytes` of it. Raises SharedMemoryRefused."""
    nonce_bytes, least = contract.SEGMENT_NONCE_BYTES, contract.SEGMENT_HEADER_BYTES
    if len(offer.nonce) != nonce_bytes:
        raise SharedMemoryRefused(f"the nonce has {len(offer.nonce)} bytes; it must have {nonce_bytes}")
    if offer.size_bytes < least:
        raise SharedMemoryRefused(f"size_bytes is {offer.size_bytes}; it must be at least {least}")
    try:
        file = _open_memfd(offer.pid, offer.fd)
        try:
            _check(file, offer)
            return Segment(file, min(offer.size_bytes, max_bytes), max_copied_bytes=max_copied_bytes)
        except BaseException:
            os.close(file)
            raise
    except OSError as error:
        raise SharedMemoryRefused(_why(offer, error)) from error


def _open_memfd(pid: int, number: int) -> int:
    """Open a process's memfd for reading. Raises OSError, SharedMemoryRefused."""
    with _named(Path(f"/proc/{pid}/fd/{number}")) as found:
        if _mount(found) != _memfd_mount():
            raise SharedMemoryRefused(f"file {number} of process {pid} is not a memfd with pages of the usual size")
        # What was found, not what has that number by now. Without NONBLOCK a lease on the file would have this wait.
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _check(file: int, offer: session_pb2.SharedMemory) -> None:
    """Raises SharedMemoryRefused, OSError."""
    seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
    missing = [name for name, bit in contract.SEGMENT_SEALS.items() if not seals & bit]
    if missing:
        raise SharedMemoryRefused(f"the memfd lacks seals: {', '.join(missing)}")
    size = os.lseek(file, 0, os.SEEK_END)
    if size < offer.size_bytes:
        raise SharedMemoryRefused(f"size_bytes is {offer.size_bytes}, but the memfd has {size} bytes")
    if os.pread(file, contract.SEGMENT_HEADER_BYTES, 0) != contract.SEGMENT_MAGIC + offer.nonce:
        raise SharedMemoryRefused(
            "the memfd does not begin with the header and the nonce: it belongs to another program, or the client "
            "counts its processes in another pid namespace"
        )


@contextmanager
def _named(path: Path) -> Iterator[int]:
    """What a path names, without opening it: nothing waits, and no device does anything."""
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield found
    finally:
        os.close(found)


def _mount(file: int) -> str:
    """The mount that a file lies on, by the kernel's own books; the file is not asked."""
    for line in Path(f"/proc/self/fdinfo/{file}").read_text(encoding="ascii").splitlines():
        if line.startswith("mnt_id:"):
            return line
    raise OSError(errno.ENOSYS, "this kernel does not tell the mount of a file")


@cache
def _memfd_mount() -> str:
    """Where the kernel keeps memfds: one mount for all of them, and for nothing that has a name."""
    file = os.memfd_create("reidstream-mount", os.MFD_CLOEXEC)
    try:
        return _mount(file)
    finally:
        os.close(file)


def _why(offer: session_pb2.SharedMemory, error: OSError) -> str:
    what = f"file {offer.fd} of process {offer.pid}"
    if error.errno in _NOWHERE:
        return f"there is no {what} here; a client in another pid namespace (a container of its own) cannot share"
    if error.errno in _FORBIDDEN:
        return f"the server may not open {what}: {error.strerror}; it must run as the same user, or as root"
    return f"{what} cannot be used: {error.strerror}"
