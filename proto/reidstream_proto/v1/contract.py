"""Facts of the wire that no field can say: header names, sizes of ids, and the beginning of a shared segment.

Why here: server and client both need them, and neither may import the other. The comments of the .proto files say what
each one means. Trap: what is written here is a part of the contract. Released values never change.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

REASON_HEADER: Final = "reidstream-reason"
"""Trailing metadata beside a status that is not OK: why, as a word for programs (service.proto)."""

RETRY_AFTER_HEADER: Final = "reidstream-retry-after-ms"
"""Trailing metadata beside some statuses: when to come back, a decimal integer (service.proto)."""

TRACEPARENT_HEADER: Final = "traceparent"
"""Leading metadata of a unary call: its place in a trace (frame.proto)."""

TRACESTATE_HEADER: Final = "tracestate"
"""Goes with it."""

MAX_TRACESTATE_BYTES: Final = 512
"""Most bytes of a tracestate; a longer one is ignored."""

SESSION_ID_BYTES: Final = 16
"""Length of `SessionOpen.session_id`."""

MAX_CAMERA_ID_BYTES: Final = 128
"""Most bytes of UTF-8 in `EmbedOptions.camera_id`; at least one."""

MAX_LATENCY_BUDGET_MS: Final = 3_600_000
"""Largest `EmbedOptions.latency_budget_ms`; the smallest is 1."""

MAX_FRAME_AGE_MS: Final = 3_600_000
"""Largest `Frame.age_ns`, in milliseconds; a larger one counts as this, which is over every latency budget."""

MAX_MODEL_NAME_BYTES: Final = 128
"""Most bytes of UTF-8 in `ModelChoice.name` and `GetModelRequest.name`."""

MAX_SPACE_ID_BYTES: Final = 128
"""Most bytes of UTF-8 in `ModelChoice.expected_space_id`."""

MAX_MODEL_CHOICES: Final = 256
"""Most items of `EmbedOptions.models`."""

MAX_CLASS_IDS: Final = 4096
"""Most items of `ModelChoice.class_ids` in all choices of a call together, and of `BoxFilter.class_ids`."""

MAX_TRACK_TIMEOUT_MS: Final = 3_600_000
"""Largest `TrackOptions.timeout_ms`; the smallest is 1."""

MAX_TRACK_REPRESENTATIVES: Final = 3
"""Largest `TrackOptions.representatives`."""

MAX_ENDED_TRACK_IDS: Final = 4096
"""Most items of `EndTracks.track_ids`."""

MAX_STRUCTURE_BYTES: Final = 65_536
"""Most bytes of a message outside its `bytes` fields, if it had no boxes (service.proto)."""

MAX_STRUCTURE_BYTES_PER_BOX: Final = 256
"""How many more there may be for each of `Limits.max_boxes_per_frame`, whatever the frame's own boxes."""

MAX_STRUCTURE_BYTES_PER_TRACK: Final = 640
"""As many for each of `Limits.max_tracks_per_session`, if that is more: no message has both boxes and open tracks."""

SEGMENT_MAGIC: Final = b"reidstream/shm/1"
"""First bytes of a shared segment; the nonce follows (session.proto, SharedMemory)."""

SEGMENT_NONCE_BYTES: Final = 16
"""Length of `SharedMemory.nonce`."""

SEGMENT_HEADER_BYTES: Final = len(SEGMENT_MAGIC) + SEGMENT_NONCE_BYTES
"""Magic and nonce; pixels lie behind them."""

# Linux's numbers (fcntl.h), which Python names on Linux only, and the last one nowhere.
SEGMENT_SEALS: Final = MappingProxyType(
    {"F_SEAL_SEAL": 0x0001, "F_SEAL_SHRINK": 0x0002, "F_SEAL_GROW": 0x0004, "F_SEAL_FUTURE_WRITE": 0x0010}
)
"""Seals that a shared segment must have, by their Linux names."""
