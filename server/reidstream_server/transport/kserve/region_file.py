"""A file in /dev/shm that a client names: opened, read and written so that no client can crash or stall the server.

POSIX shared memory has a name and no seals, so whoever may open it can cut it off at any time. Here is what that, and
the name, could do, and what is done instead:

    a name that leads elsewhere       it is one name in /dev/shm itself, looked up without following a link
    a device, a pipe, a slow file     it is looked at before it is opened: a regular file, on that very tmpfs
    another user's file               the file must be the caller's, whose user the kernel tells (`local_users`)
    cut off while it is read          it is read by `pread`, which finds less. Looking into it would be a SIGBUS
    cut off while it is written       the kernel copies into a mapping of it, and says EFAULT. A store would be a SIGBUS
    a lock on the file, held forever  `pread` and page faults take none. `pwrite` takes one, so it must not be used

Traps: Python must never look into the mapping: it is only handed to the kernel. And a file lives as long as somebody
reads it, though its region is gone: a number that was closed may be another file's by then.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from reidstream_server.errors import InvalidCall, NotPermitted

FOLDER = "/dev/shm"  # noqa: S108 - where POSIX has shared memory, and not for temporary files
MAX_KEY_BYTES = 255

_NOWHERE = (errno.ENOENT, errno.ENOTDIR)


class RegionFile:
    """`size_bytes` of an open file from `offset` on, as a region. Any thread. Closed with the last that holds it."""

    def __init__(self, file: int, name: str, offset: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._name = name
        self._offset = offset
        self._map: mmap.mmap | None = None
        self._file = file

    def read(self, offset: int, length: int) -> bytes:
        """A copy. What was never written reads as zeros, and no memory is allocated for it. Raises InvalidCall."""
        parts: list[bytes] = []
        at, left = self._offset + offset, length
        while left and (part := os.pread(self._file, left, at)):
            parts.append(part)
            at, left = at + len(part), left - len(part)
        if left:
            raise self._cut_off(offset, length)
        return b"".join(parts) if len(parts) > 1 else parts[0] if parts else b""

    def write(self, offset: int, data: bytes) -> None:
        """Raises InvalidCall; what lies there is undefined then."""
        target = self._target(offset, len(data))
        source, at = os.memfd_create("reidstream-rows", os.MFD_CLOEXEC), 0
        try:
            _write_all(source, data)
            while at < len(data):
                at += os.preadv(source, [target[at:]], at)
        except OSError as error:
            if error.errno == errno.EFAULT:
                raise self._cut_off(offset, len(data)) from None
            raise
        finally:
            os.close(source)

    def _target(self, offset: int, length: int) -> memoryview:
        """The bytes in the mapping, to be handed to the kernel. Raises InvalidCall."""
        start = self._offset % mmap.ALLOCATIONGRANULARITY
        if self._map is None:
            try:
                self._map = mmap.mmap(self._file, start + self.size_bytes, offset=self._offset - start)
            except ValueError:  # the file is smaller by now
                raise self._cut_off(offset, length) from None
        return memoryview(self._map)[start + offset : start + offset + length]

    def _cut_off(self, offset: int, length: int) -> InvalidCall:
        return InvalidCall(
            f"region {self._name!r}: its file was cut off, or has no memory left, so {length} bytes at {offset} cannot "
            "be used; register a file that keeps its size"
        )

    def __del__(self) -> None:
        os.close(self._file)


def open_region(name: str, key: str, offset: int, size_bytes: int, user: int) -> RegionFile:
    """Open what the `user` of a program on this machine calls `key`, for its region `name`. Raises InvalidCall,
    NotPermitted.
    """
    file_name = key.lstrip("/")  # as shm_open does
    if file_name in ("", ".", "..") or "/" in file_name or "\0" in file_name or len(os.fsencode(key)) > MAX_KEY_BYTES:
        raise InvalidCall(
            f"region {name!r}: the key {key[:64]!r} is no name of shared memory; it is one name in {FOLDER}, such as "
            "'/crops', without another '/'"
        )
    try:
        with _found(file_name) as found:
            facts = os.fstat(found)
            _check(facts, name, key, user)
            if offset + size_bytes > facts.st_size:
                raise InvalidCall(
                    f"region {name!r}: {size_bytes} bytes at {offset} are asked for, and {key[:64]!r} has "
                    f"{facts.st_size}"
                )
            # What was found, not what has that name by now. Without NONBLOCK a lease on the file would have this wait.
            file = os.open(f"/proc/self/fd/{found}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NOWHERE:
            raise InvalidCall(
                f"region {name!r}: there is no shared memory {key[:64]!r} here; a program in a container of its own "
                f"needs the server's {FOLDER}"
            ) from None
        raise NotPermitted(
            f"region {name!r}: the server may not use the shared memory {key[:64]!r}: {error.strerror}; it must run as "
            "the same user, or as root"
        ) from None
    return RegionFile(file, name, offset, size_bytes)


def _check(facts: os.stat_result, name: str, key: str, user: int) -> None:
    """Raises InvalidCall, NotPermitted."""
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidCall(
            f"region {name!r}: {key[:64]!r} is no shared memory, but a link, a folder, a pipe or a device"
        )
    if facts.st_uid != user:
        raise NotPermitted(
            f"region {name!r}: the shared memory {key[:64]!r} is not yours; the program that made it registers it"
        )


@contextmanager
def _found(file_name: str) -> Iterator[int]:
    """A file in the folder, without opening it, and on the folder's own file system. Raises OSError, InvalidCall."""
    folder = os.open(FOLDER, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.open(file_name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            mount = _mount(found)
            if mount != _mount(folder) or not _is_tmpfs(mount):
                raise InvalidCall(f"{file_name[:64]!r} in {FOLDER} does not lie in memory (tmpfs), as it must")
            yield found
        finally:
            os.close(found)
    finally:
        os.close(folder)


def _mount(file: int) -> str:
    """The id of the mount that a file lies on, by the kernel's own books; the file is not asked."""
    for line in Path(f"/proc/self/fdinfo/{file}").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == "mnt_id":
            return value.strip()
    raise OSError(errno.ENOSYS, "this kernel does not tell the mount of a file")


@cache
def _is_tmpfs(mount: str) -> bool:
    """Whether a mount is memory, and nothing that a client could have made."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split()
        if fields[0] == mount:
            return fields[fields.index("-") + 1] == "tmpfs"
    return False


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
