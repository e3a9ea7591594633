"""A hostile program: `python -m tests.support.held_lock FILE` holds the file's inode lock, and says "held".

It writes to the file from a page that never comes: a page of its own whose faults it is told of (userfaultfd), and
which it does not fill. Whoever needs the lock as well waits in the kernel, and no signal wakes him.

Trap: a test that waits there would wait for ever. So the program ends by itself in time, which lets the lock go.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import signal
import struct
import sys
import threading

from tests.support.patience import HANG_S

_USERFAULTFD = 323  # on x86-64
_API, _API_VERSION = 0xC018AA3F, 0xAA
_REGISTER, _MISSING = 0xC020AA00, 1
_EVENT_BYTES = 32

_libc = ctypes.CDLL(None, use_errno=True)


def can_hold() -> bool:
    """Whether this user may have such pages: root may."""
    try:
        os.close(_faults())
    except OSError:
        return False
    return True


def hold(path: str) -> None:
    """Until the process ends."""
    signal.alarm(int(HANG_S) - 1)
    faults = _faults()
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    fcntl.ioctl(faults, _REGISTER, struct.pack("=QQQQ", address, mmap.PAGESIZE, _MISSING, 0))
    file = os.open(path, os.O_RDWR)
    threading.Thread(target=_libc.write, args=(file, ctypes.c_void_p(address), mmap.PAGESIZE), daemon=True).start()
    os.read(faults, _EVENT_BYTES)  # its write waits for the page
    sys.stdout.write("held\n")
    sys.stdout.flush()
    signal.pause()


def _faults() -> int:
    """A descriptor that tells of faults. Raises OSError."""
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, "its number is another one here")
    found = int(_libc.syscall(_USERFAULTFD, os.O_CLOEXEC))
    if found < 0:
        raise OSError(ctypes.get_errno(), "userfaultfd")
    fcntl.ioctl(found, _API, struct.pack("=QQQ", _API_VERSION, 0, 0))
    return found


if __name__ == "__main__":
    hold(sys.argv[1])
