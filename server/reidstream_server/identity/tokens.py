"""The clients' tokens, from a file that may change while the server runs.

    # client    SHA-256 of its token, in hexadecimal
    gate-pc     9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

Why digests: whoever reads the file cannot call the server with it. A plain hash is enough because tokens are long and
random; passwords would need a slow one.

Traps: the file may be read while somebody writes it. One that is broken, empty, unreadable or gone changes nothing: the
last good list stays, and the log says why. What a line holds is never logged, since it may be a token by mistake. And
it is read again on the event loop, so a pipe in its place, which would have to be waited for, is not opened.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from reidstream_server.errors import StartupError
from reidstream_server.logs import get_logger

log = get_logger(__name__)

_LINE = re.compile(r"([A-Za-z0-9_.@-]{1,64})\s+([0-9A-Fa-f]{64})", re.ASCII)

_Version = tuple[int, int, int, int]


class TokenFile:
    """Names of clients by their tokens. Looks at the file's times at every question, which costs a few microseconds.

    Raises StartupError where the file holds no good list to begin with. One thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complaint = ""
        try:
            self._version, self._clients = _read(path)
        except OSError as error:
            raise StartupError(f"tokens_file {path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise StartupError(f"tokens_file {error}") from error

    def client_of(self, token: str) -> str | None:
        """The client whose token this is. How long it takes does not tell how nearly right a token was."""
        self._refresh()
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        found = None
        for known, name in self._clients.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - at every call; a Path's is slower
            if _version(status) == self._version:
                return
            self._version, self._clients = _read_file(self._path, status)
        except (OSError, ValueError) as error:
            if str(error) != self._complaint:
                log.error("tokens_kept", reason=str(error))  # noqa: TRY400 - no fault of the code
            self._complaint = str(error)
        else:
            self._complaint = ""
            log.info("tokens_read", path=str(self._path), tokens=len(self._clients))


def _read_file(path: Path, status: os.stat_result) -> tuple[_Version, Mapping[bytes, str]]:
    """The same, of what does not make anybody wait."""
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: is no regular file any more; the server waits for no other kind")
    return _read(path)


def _read(path: Path) -> tuple[_Version, Mapping[bytes, str]]:
    """The file's version, and the names by digest. Raises OSError, ValueError."""
    with path.open("rb") as file:
        version = _version(os.fstat(file.fileno()))  # before reading: what is written meanwhile is another version
        text = file.read().decode("utf-8-sig", errors="replace")
    clients: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(
                f"{path}: line {number} must be a client's name and the SHA-256 of its token in hexadecimal"
            )
        if clients.setdefault(bytes.fromhex(match[2]), match[1]) != match[1]:
            raise ValueError(f"{path}: line {number} has the same token as another client")
    if not clients:
        raise ValueError(f"{path}: has no tokens")
    return version, clients


def _version(status: os.stat_result) -> _Version:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
