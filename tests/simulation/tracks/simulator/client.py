"""A camera that goes on whatever becomes of its stream, and keeps what another server needs of its tracks.

It sends each frame when it is taken. What is not answered when the stream ends is sent again, with the ends of tracks
in their places between the frames, and with the newest snapshot of each track that it takes for open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from reidstream_server.tracks.rows import TrackRow
from reidstream_server.tracks.track import LastBox, Snapshot, TrackEnded

from .books import check
from .plan import ClientPlan, FramePlan
from .server import Clock, ServedSession, Server
from .verdict import Verdict
from .wire import BoxAnswer, DrainMessage, EndOfStream, FrameAnswer, Outcome, Told


class Line(Protocol):
    """Where a client finds a server: after a drain or a cut, another one."""

    def __call__(self) -> Server:
        """The server for the next stream."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class OpenEnd:
    """An end of a track that is not confirmed, behind the frame `after`."""

    track_id: int
    after: int


class Client:
    """`done`: everything is answered, and every track is over."""

    def __init__(self, clock: Clock, plan: ClientPlan, line: Callable[[], Server]) -> None:
        self.plan = plan
        self.verdict = Verdict(plan)
        self.done = False
        self.moves = 0
        self._clock = clock
        self._line = line
        self._by_id = {frame.frame_id: frame for frame in plan.frames}
        self._open: dict[int, FramePlan] = {}
        self._ends: list[OpenEnd] = []
        self._tracks: dict[int, Snapshot] = {}
        self._finishing = False
        self._server: Server | None = None
        self._session: ServedSession | None = None
        self._drained = False

    def begin(self) -> None:
        """Open the first stream, and take frames as they come."""
        self._connect()
        for frame in self.plan.frames:
            self._clock.at(frame.captured_ns, lambda frame=frame: self._take(frame))  # type: ignore[misc]
        for cut in self.plan.cuts:
            self._clock.at(cut.at_ns, lambda cut=cut: self._cut(cut.outage_ns))  # type: ignore[misc]
        for drain in self.plan.drains:
            self._clock.at(drain.at_ns, lambda drain=drain: self._drain(drain.deadline_ns))  # type: ignore[misc]
        self._clock.at(self.plan.frames[-1].captured_ns, self._finish)

    # What it does.

    def _take(self, frame: FramePlan) -> None:
        self._open[frame.frame_id] = frame
        self._ends += [OpenEnd(track_id=track_id, after=frame.frame_id) for track_id in frame.ends]
        if self._session is not None and not self._drained:
            self._send(frame)
            self._send_ends(frame.ends)

    def _finish(self) -> None:
        self._finishing = True
        self._half_close()

    def _cut(self, outage_ns: int) -> None:
        if self._session is None or self.done:
            return
        self.moves += 1
        server, session = self._server, self._session
        self._server = self._session = None
        if server is not None:
            server.cut(session)
        self._clock.at(self._clock.now + outage_ns, self._connect)

    def _drain(self, deadline_ns: int) -> None:
        if self._server is not None and self._session is not None:
            self._server.drain(self._session, deadline_ns)

    def _connect(self) -> None:
        """Open the next stream, and send again what is open."""
        if self._session is not None or self.done:
            return
        self._server, self._drained = self._line(), False
        snapshots = tuple(self._tracks.values())
        self._session = self._server.open(self.plan, snapshots, self._told)
        ends = list(self._ends)
        for end in [one for one in ends if not any(frame <= one.after for frame in self._open)]:
            self._send_ends((end.track_id,))
            ends.remove(end)
        for frame in list(self._open.values()):
            self._send(frame)
            following = min((other for other in self._open if other > frame.frame_id), default=None)
            behind = [
                one for one in ends if one.after >= frame.frame_id and (following is None or one.after < following)
            ]
            self._send_ends(tuple(one.track_id for one in behind))
        self._half_close()

    def _send(self, frame: FramePlan) -> None:
        server, session, sent = self._server, self._session, self._clock.now
        if server is not None and session is not None:
            server.send(session, lambda: server.frame(session, frame, sent))

    def _send_ends(self, track_ids: tuple[int, ...]) -> None:
        server, session = self._server, self._session
        if track_ids and server is not None and session is not None:
            server.send(session, lambda: server.end_tracks(session, track_ids))

    def _half_close(self) -> None:
        server, session = self._server, self._session
        if self._finishing and server is not None and session is not None and not self._drained:
            server.send(session, lambda: server.half_close(session))

    # What it is told.

    def _told(self, told: Told) -> None:
        match told:
            case FrameAnswer():
                self._answered(told)
            case TrackEnded():
                self._track_ended(told)
            case DrainMessage():
                self._check_drain(told)
                self._drained = True
            case EndOfStream():
                self._stream_ended()

    def _answered(self, answer: FrameAnswer) -> None:
        frame = self._open.pop(answer.frame_id)
        self._ends = [end for end in self._ends if end.after >= frame.frame_id]  # those were ignored
        self.verdict.answered(answer)
        changed = {snapshot.track_id: snapshot for snapshot in answer.snapshots}
        for index, box in enumerate(answer.boxes or [None] * len(frame.boxes)):
            plan = frame.boxes[index]
            if plan.track_id is None or (box is not None and not box.tracked):
                continue
            if box is None and index not in answer.tracked_in_vain:
                continue
            last = LastBox(rect=plan.rect, taken_ns=frame.captured_ns)
            if box is not None and box.outcome is Outcome.EMBEDDED and plan.track_id in changed:
                self._keep(_with_latest(changed[plan.track_id], box, last))
            else:
                self._move_on(plan.track_id, last, frame.frame_id, box)

    def _keep(self, snapshot: Snapshot) -> None:
        self._tracks.pop(snapshot.track_id, None)
        self._tracks[snapshot.track_id] = snapshot

    def _move_on(self, track_id: int, last: LastBox, frame_id: int, box: BoxAnswer | None) -> None:
        known = self._tracks.get(track_id, Snapshot(track_id=track_id, rows=None, last=None))
        rows = known.rows
        if rows is not None and box is not None and box.outcome is Outcome.CACHED:
            rows = replace(rows, last_frame_id=frame_id)
        self._keep(Snapshot(track_id=track_id, rows=rows, last=last))

    def _track_ended(self, ended: TrackEnded) -> None:
        self.verdict.ended(ended)
        self._tracks.pop(ended.track.track_id, None)
        for end in list(self._ends):
            if end.track_id == ended.track.track_id and ended.cause.value == "client":
                self._ends.remove(end)
                break

    def _check_drain(self, drain: DrainMessage) -> None:
        """It knows all that the server knows of its tracks, if it has had snapshots all the time."""
        if not self.plan.terms.snapshots:
            return
        said = {one.track_id: one for one in drain.open_tracks}
        check("known tracks", set(said) == set(self._tracks), f"{sorted(said)}, and kept {sorted(self._tracks)}")
        for track_id, one in said.items():
            kept = self._tracks[track_id]
            check("known tracks", (kept.rows is None) is (one.rows is None), track_id)
            if kept.rows is not None and one.rows is not None:
                same = kept.rows.total.tobytes() == one.rows.total.tobytes() and kept.rows.weight == one.rows.weight
                check("known tracks", same and kept.rows.count == one.rows.count, track_id)
                check("known tracks", kept.rows.last_frame_id == one.rows.last_frame_id, track_id)
                latest = (kept.rows.latest.frame_id, kept.rows.latest.vector.tobytes())
                check("known tracks", latest == (one.rows.latest.frame_id, one.rows.latest.vector.tobytes()), track_id)

    def _stream_ended(self) -> None:
        self._server = self._session = None
        if self._finishing and not self._open and not self._tracks:
            self.done = True
            return
        check("end of stream", self._drained, "the stream ended with frames or tracks open")
        self.moves += 1
        self._connect()


def _with_latest(snapshot: Snapshot, box: BoxAnswer, last: LastBox) -> Snapshot:
    """The snapshot of an answer, with the row of its box. Rows are copied, as a wire would."""
    rows = snapshot.rows
    check("snapshot", rows is not None and box.row is not None, "a snapshot without rows")
    if rows is None or box.row is None:
        return snapshot
    row = TrackRow(vector=box.row.copy(), frame_id=rows.latest.frame_id, quality=box.quality, taken_ns=last.taken_ns)
    return Snapshot(track_id=snapshot.track_id, rows=replace(rows, total=rows.total.copy(), latest=row), last=last)
