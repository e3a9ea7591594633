"""Headers that are no text: gRPC's Python side logs each of them as an error, with a traceback and all its bytes.

Why not let it: anybody may send them, 15,000 a second on one connection, before a token is looked at. They would fill
the log and keep the event loop busy. Nothing is lost: what the guard makes of such a header is in the answer.
"""

from __future__ import annotations

import logging
from typing import Final

_LOGGER: Final = "grpc._cython.cygrpc"
_COMPLAINT: Final = "Invalid encoding on "


def keep_headers_out_of_the_log() -> None:
    """For this process, whatever is served. Calling it again changes nothing."""
    logging.getLogger(_LOGGER).addFilter(_is_no_complaint)


def _is_no_complaint(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_COMPLAINT)
