"""One frame, one answer: a session for callers that have no stream.

Why a session: there is one path through the scheduler, and a single call waits, is bounded and is counted like a
frame of a stream. Its vectors count as held until they are written, as a stream's do: so a door that knows when its
client has taken an answer keeps it until then.

Trap: the call may be cancelled at any await; the session is given back all the same.
"""

from __future__ import annotations

from typing import assert_never

from reidstream_server.core.effects import Answer, End, SendDrain
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import GoingAway
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import JobAnswer, Session
from reidstream_server.tracks.track import TrackEnded

from .frames import FrameOrFault


class HeldAnswer:
    """An answer that is not written. Say once how that ended. Event loop only."""

    def __init__(self, runtime: Runtime, session: Session, answer: JobAnswer) -> None:
        self.answer = answer
        self._runtime = runtime
        self._session = session

    def over(self, *, written: bool) -> None:
        """Its client has it, or nobody will take it."""
        if written:
            self._runtime.answer_written(self._session, self.answer)
        self._runtime.session_lost(self._session.key)


async def ask(
    runtime: Runtime, agreement: Agreement, frame_id: int, taken: FrameOrFault, *, spent_ns: int = 0
) -> JobAnswer:
    """The answer to a call's only frame, for a door that counts by itself what it holds of answers. See `ask_held`."""
    held = await ask_held(runtime, agreement, frame_id, taken, spent_ns=spent_ns)
    held.over(written=True)
    return held.answer


async def ask_held(
    runtime: Runtime, agreement: Agreement, frame_id: int, taken: FrameOrFault, *, spent_ns: int = 0
) -> HeldAnswer:
    """The answer to a call's only frame. A frame that was accepted is answered while the server drains, too.

    `frame_id` names the answer of a frame with a fault; a frame has its own. Reading it took the event loop `spent_ns`.
    Raises GoingAway where there will be no answer. Event loop only.
    """
    session = runtime.open_session(agreement)
    held: HeldAnswer | None = None
    try:
        if isinstance(taken, FrameFault):
            runtime.frame_refused(session, frame_id, taken, spent_ns=spent_ns)
        else:
            runtime.frame_arrived(session, *taken, spent_ns=spent_ns)
        runtime.half_closed(session)
        while held is None:
            match item := await session.mail.get():
                case Answer():
                    runtime.losses.call_answered(agreement.terms.flow, item.fault)
                    held = HeldAnswer(runtime, session, item)
                case SendDrain() | TrackEnded():
                    pass  # there is nobody to tell: the call ends with its answer
                case End():
                    raise GoingAway("the server is stopping; send the frames to another server")
                case _:
                    assert_never(item)
        return held
    finally:
        if held is None:
            runtime.session_lost(session.key)
