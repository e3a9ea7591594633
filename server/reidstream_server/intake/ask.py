"""One frame, one answer: a session for callers that have no stream.

Why a session: there is one path through the scheduler, and a single call waits, is bounded and is counted like a
frame of a stream. Trap: the call may be cancelled at any await; the session is given back all the same.
"""

from __future__ import annotations

from typing import assert_never

from reidstream_server.core.effects import Answer, End, SendDrain
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import GoingAway
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import JobAnswer
from reidstream_server.tracks.track import TrackEnded

from .frames import FrameOrFault


async def ask(
    runtime: Runtime, agreement: Agreement, frame_id: int, taken: FrameOrFault, *, spent_ns: int = 0
) -> JobAnswer:
    """The answer to a call's only frame. A frame that was accepted is answered while the server drains, too.

    `frame_id` names the answer of a frame with a fault; a frame has its own. Reading it took the event loop `spent_ns`.
    Raises GoingAway where there will be no answer. Event loop only.
    """
    session = runtime.open_session(agreement)
    try:
        if isinstance(taken, FrameFault):
            runtime.frame_refused(session, frame_id, taken, spent_ns=spent_ns)
        else:
            runtime.frame_arrived(session, *taken, spent_ns=spent_ns)
        runtime.half_closed(session)
        while True:
            match item := await session.mail.get():
                case Answer():
                    runtime.answer_written(session, item)
                    runtime.losses.call_answered(agreement.terms.flow, item.fault)
                    return item
                case SendDrain() | TrackEnded():
                    pass  # there is nobody to tell: the call ends with its answer
                case End():
                    raise GoingAway("the server is stopping; send the frames to another server")
                case _:
                    assert_never(item)
    finally:
        runtime.session_lost(session.key)
