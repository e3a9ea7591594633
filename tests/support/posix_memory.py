"""POSIX shared memory, as programs make it that share tensors with a server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reidstream_server.transport.kserve.region_file import FOLDER


@contextmanager
def posix_memory(size: int, data: bytes = b"") -> Iterator[Path]:
    """By a name of its own, beginning with the data; gone at the end."""
    path = Path(FOLDER) / f"reidstream-test-{uuid.uuid4().hex}"
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            file.truncate(size)
            file.write(data)
        yield path
    finally:
        path.unlink(missing_ok=True)
