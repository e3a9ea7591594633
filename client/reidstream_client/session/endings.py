"""What the end of a stream means.

Trap: a server may end a stream with OK although it owes answers. Only the frame ids tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from reidstream_client.errors import ReidError, SessionDrained, SessionEnded
from reidstream_proto.v1 import session_pb2


def end_of_stream(
    target: str, *, finished: bool, drain: session_pb2.Drain | None, unanswered: Sequence[int]
) -> ReidError | None:
    """The error of a stream that the server ended with OK; None: there is none.

    `finished`: the client had half-closed. `drain`: the server had said that it is leaving.
    """
    if finished and not unanswered:
        return None
    if drain is not None:
        last = drain.last_accepted_frame_id if drain.HasField("last_accepted_frame_id") else -1
        if all(frame_id > last for frame_id in unanswered):
            rest = f"send {len(unanswered)} frames elsewhere" if unanswered else "every frame was answered"
            return SessionDrained(f"{target} is leaving ({drain_reason(drain)}); {rest}")
    return SessionEnded(f"{target} ended the stream with {len(unanswered)} frames unanswered")


def drain_reason(drain: session_pb2.Drain) -> str:
    """The server's reason as a word."""
    names = dict(zip(session_pb2.DrainReason.values(), session_pb2.DrainReason.keys(), strict=True))
    return names.get(drain.reason, f"reason {drain.reason}").removeprefix("DRAIN_REASON_").lower()
