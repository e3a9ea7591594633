"""What the end of a stream means, and how a client ends one itself.

Traps: a server may end a stream with OK although it owes answers. Only the frame ids tell. And a call that is cancelled
looks to the server like a client that is lost, with whatever was written just before it: so the client says that it
leaves, and waits a moment for the server's end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from reidstream_client.connection.protocols import Call
from reidstream_client.connection.within import within
from reidstream_client.errors import ReidError, SessionDrained, SessionEnded
from reidstream_proto.v1 import service_pb2, session_pb2

from .open_frames import Leftover
from .opening import SessionInfo
from .outbox import Outbox

GOODBYE_S: Final = 1.0
"""How long leaving may take, where a server is slow to hear of it."""

_CLOSE: Final = service_pb2.EmbedStreamRequest(close=session_pb2.Close()).SerializeToString()


def end_of_stream(target: str, left: Leftover, *, finished: bool, drain: session_pb2.Drain | None) -> ReidError | None:
    """The error of a stream that the server ended with OK; None: there is none.

    `finished`: the client had half-closed. `drain`: the server had said that it is leaving.
    """
    unanswered, tracks = left.unanswered, left.open_tracks
    if finished and not unanswered and not tracks:
        return None
    if drain is not None:
        last = drain.last_accepted_frame_id if drain.HasField("last_accepted_frame_id") else -1
        if all(frame_id > last for frame_id in unanswered):
            rest = f"send {len(unanswered)} frames elsewhere" if unanswered else "every frame was answered"
            if tracks:
                rest += f"; tracks that have not ended: {tracks} (resuming_stream() goes on with them)"
            return is_leaving(target, drain, rest)
    open_tracks = f", and tracks that have not ended: {tracks}" if tracks else ""
    return SessionEnded(f"{target} ended the stream with {len(unanswered)} frames unanswered{open_tracks}")


def is_leaving(target: str, drain: session_pb2.Drain, advice: str) -> SessionDrained:
    """The error for whoever still has something for that server."""
    names = dict(zip(session_pb2.DrainReason.values(), session_pb2.DrainReason.keys(), strict=True))
    reason = names.get(drain.reason, f"reason {drain.reason}").removeprefix("DRAIN_REASON_").lower()
    return SessionDrained(f"{target} is leaving ({reason}); {advice}")


async def say_goodbye(
    call: Call, opened: SessionInfo, outbox: Outbox, *, reading: asyncio.Task[None], writing: asyncio.Task[None]
) -> None:
    """Tell the server that this client leaves, and wait for its end of the call, for a moment.

    A server that does not know the word is told nothing. After half-closing there is nothing to say either, but the
    server may be about to end the call by itself.
    """

    async def goodbye() -> None:
        await asyncio.wait([writing])
        if not outbox.half_closed and await call.write(_CLOSE):
            await call.done_writing()
        await asyncio.wait([reading])

    if opened.takes_close:
        with contextlib.suppress(asyncio.TimeoutError):
            await within(GOODBYE_S, goodbye())


async def put_away(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they are over. Raises what one has raised."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
