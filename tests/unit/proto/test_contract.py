"""The facts that no field can say are those that the .proto files tell people."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from reidstream_proto.v1 import contract

SAID = "".join(path.read_text(encoding="utf-8") for path in Path(contract.__file__).parent.glob("*.proto"))


@pytest.mark.parametrize(
    "fact",
    [
        f"`{contract.REASON_HEADER}`",
        f"`{contract.RETRY_AFTER_HEADER}`",
        f"the headers `{contract.TRACEPARENT_HEADER}` and `{contract.TRACESTATE_HEADER}` count",
        f"More than {contract.MAX_TRACESTATE_BYTES} bytes are ignored",
        f"{contract.SESSION_ID_BYTES} bytes, chosen at random by the client",
        f"1 to {contract.MAX_CAMERA_ID_BYTES} bytes of UTF-8",
        f"({contract.MAX_FRAME_AGE_MS} ms) counts as an hour",
        f'the {len(contract.SEGMENT_MAGIC)} bytes "{contract.SEGMENT_MAGIC.decode()}"',
        f"{contract.SEGMENT_NONCE_BYTES} random bytes",
        *contract.SEGMENT_SEALS,
        f"{contract.MAX_STRUCTURE_BYTES} + {contract.MAX_STRUCTURE_BYTES_PER_BOX} * `Limits.max_boxes_per_frame` bytes",
        f"A name from ListModels, at most {contract.MAX_MODEL_NAME_BYTES} bytes of UTF-8",
        f"be compared with the client's. At most {contract.MAX_SPACE_ID_BYTES} bytes of UTF-8",
        f"At most {contract.MAX_MODEL_CHOICES} choices",
        f"than {contract.MAX_CLASS_IDS} items",
        f"{contract.MAX_STRUCTURE_BYTES_PER_TRACK} * `Limits.max_tracks_per_session` bytes if that is more",
        f"Milliseconds, 1 to {contract.MAX_TRACK_TIMEOUT_MS:,}",
        f"has at most, 0 to {contract.MAX_TRACK_REPRESENTATIVES}",
        f"At most {contract.MAX_ENDED_TRACK_IDS} ids",
    ],
)
def test_the_proto_files_say_the_same(fact: str) -> None:
    """Whoever writes a client in another language reads only those."""
    assert fact in SAID


@pytest.mark.parametrize("name", ["F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW"])
def test_the_seals_are_this_systems(name: str) -> None:
    """As far as Python names them."""
    assert contract.SEGMENT_SEALS[name] == getattr(fcntl, name)
