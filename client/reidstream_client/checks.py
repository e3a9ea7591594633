"""Refuses values out of their range where the caller gives them.

Why here: protobuf and gRPC would refuse them too, but later, and with words about something else.
"""

from __future__ import annotations

from reidstream_proto.v1.contract import MAX_CAMERA_ID_BYTES

from .errors import InvalidRequest


def check_camera_id(camera_id: str) -> None:
    """Raises InvalidRequest for a name that the contract does not allow."""
    if not 1 <= len(camera_id.encode()) <= MAX_CAMERA_ID_BYTES:
        raise InvalidRequest(f"camera_id must be 1 to {MAX_CAMERA_ID_BYTES} bytes of UTF-8, not {camera_id!r}")


def check_unsigned(name: str, value: int, bits: int) -> None:
    """Raises InvalidRequest for a number that its field of so many bits cannot hold."""
    if not 0 <= value < 1 << bits:
        raise InvalidRequest(f"{name} must lie in 0 to 2**{bits} - 1, not {value}")


def check_above_zero(name: str, value: float) -> None:
    """Raises InvalidRequest for a number that is not above 0, NaN included."""
    if not value > 0:
        raise InvalidRequest(f"{name} must be above 0, not {value}")
