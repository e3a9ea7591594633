"""What an error becomes: one line, and an exit status.

Trap: every failure is one line on stderr and an exit status from the table in `--help`. A traceback is a bug. And no
line may have a password in it, whoever wrote the line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from reidstream_client.errors import CallTimeout, FileError, InvalidRequest, MissingExtra, ReidError, ServerUnavailable
from reidstream_client.redaction import without_secrets

from .status import Status

_STATUS: Final[Mapping[type[ReidError], Status]] = MappingProxyType(
    {
        FileError: Status.USAGE,
        MissingExtra: Status.USAGE,
        InvalidRequest: Status.USAGE,
        ServerUnavailable: Status.NO_SERVER,
        CallTimeout: Status.NO_SERVER,
        ReidError: Status.REFUSED,
    }
)


def status_of(error: ReidError) -> Status:
    """The exit status that an error means."""
    return next(status for kind, status in _STATUS.items() if isinstance(error, kind))


def complain(error: ReidError | OSError) -> None:
    """Write an error's one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ReidError) and error.unanswered:
        first, last = error.unanswered[0], error.unanswered[-1]
        text += f" ({len(error.unanswered)} frames have no answer, {first} to {last})"
    if isinstance(error, ReidError) and error.status is not None and error.status.name == "UNAUTHENTICATED":
        text += " (--token-file FILE, or the variable REIDSTREAM_TOKEN_FILE)"
    print(f"reidstream-client: {without_secrets(text)}", file=sys.stderr)
