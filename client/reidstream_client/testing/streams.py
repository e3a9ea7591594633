"""An open stream of a fake server: what it has agreed on, what it owes, and what goes out on it.

Trap: what ends a stream decides what becomes of its tracks. A client that has half-closed is told the end of each; one
that the server leaves is told which are open, and goes on elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reidstream_client.types import TrackEndCause
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2

from .connection import FakeCall
from .models import FakeModel
from .records import ReceivedFrame, ReceivedSession
from .tracks import FakeTracks, TrackedFrame


@dataclass(slots=True, kw_only=True)
class Stream:
    """An open session. `unanswered`: frames that were accepted and have no answer yet. `tracks`: None if it has none.

    `leaving`: it accepts no more frames. `finished`: because its client has said so, and was not asked to leave.
    """

    call: FakeCall
    session: ReceivedSession
    models: Sequence[FakeModel]
    tracks: FakeTracks | None
    unanswered: int = 0
    last_frame_id: int | None = None
    leaving: bool = False
    finished: bool = False

    @property
    def done(self) -> bool:
        """It has answered all that it accepted, and accepts no more."""
        return self.leaving and not self.unanswered

    def accept(self, frame: ReceivedFrame) -> TrackedFrame | None:
        """A frame has come. Returns it as its tracks see it."""
        self.unanswered += 1
        self.last_frame_id = frame.frame_id
        return None if self.tracks is None else self.tracks.frame(frame)

    def answer(self, answer: frame_pb2.FrameResult, tracked: TrackedFrame | None) -> None:
        """Send an answer, and the ends of tracks before and behind it."""
        if self.tracks is not None:
            self._tell(self.tracks.due())
        self.call.post(service_pb2.EmbedStreamResponse(frame_result=answer))
        self.unanswered -= 1
        if self.tracks is not None and tracked is not None:
            self._tell(self.tracks.sent(tracked))

    def end_tracks(self, track_ids: Iterable[int], cause: TrackEndCause) -> None:
        """End tracks; none: all of them."""
        if self.tracks is not None:
            ids = tuple(track_ids)
            self._tell(self.tracks.end(ids, cause) if ids else self.tracks.end_all(cause))

    def drain(self) -> None:
        """Ask the client to leave."""
        self.leaving = True
        drain = session_pb2.Drain(
            last_accepted_frame_id=self.last_frame_id,
            deadline_ms=10_000,
            reason=session_pb2.DRAIN_REASON_SHUTDOWN,
            open_tracks=[] if self.tracks is None else self.tracks.told(),
        )
        self.call.post(service_pb2.EmbedStreamResponse(drain=drain))

    def end(self) -> None:
        """End the call with OK."""
        if self.finished:
            self.end_tracks((), TrackEndCause.SESSION)
        self.call.end(None)

    def _tell(self, ends: Iterable[session_pb2.TrackEnded]) -> None:
        for message in ends:
            self.call.post(service_pb2.EmbedStreamResponse(track_ended=message))
