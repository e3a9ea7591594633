"""A fake server's memory of tracks: enough of a real one's to test programs with.

Which boxes are embedded follows from the policy, as on a real server. The rest is simplified: each row has the quality
and the weight 1, a track's vector is the mean of its rows, and its first rows represent it. Time does not end a track;
`FakeServer.time_out_tracks` does.

Trap: an answer may be held. What becomes of a box is decided when its frame comes; but the end of a track is sent
behind the answers to its frames, and a client that goes on elsewhere is told what was answered, and no more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from reidstream_client.track_terms import agreed_tracks, track_message
from reidstream_client.types import TrackEndCause
from reidstream_proto.v1 import frame_pb2, session_pb2

from .models import FakeModel
from .records import ReceivedBox, ReceivedFrame
from .risk import RowSource, Seen, needs_row, with_defaults
from .snapshots import FakeTrack, Row, Told, adopted, ended


class FakeTracks:
    """The memory of one stream. Not thread-safe. Raises LookupError for a track of another space."""

    def __init__(self, asked: session_pb2.TrackOptions, models: Sequence[FakeModel]) -> None:
        terms = agreed_tracks(asked)
        self.terms = replace(terms, embed=with_defaults(terms.embed))
        self.agreed = track_message(self.terms)
        self.agreed.snapshots = self.snapshots = asked.snapshots
        now_s = time.monotonic()
        self._open = {one.track_id: adopted(one, models, now_s) for one in asked.open_tracks}
        self._told = {track_id: Told.of(track) for track_id, track in self._open.items()}
        self._ending: list[tuple[FakeTrack, session_pb2.TrackEnded]] = []
        self._number: int | None = None

    def frame(self, frame: ReceivedFrame) -> TrackedFrame:
        """A frame has come, and its boxes are decided one by one."""
        self._number = frame.frame_id if self._number is None else self._number + 1
        return TrackedFrame(self, frame, self._number)

    def sent(self, frame: TrackedFrame) -> Sequence[session_pb2.TrackEnded]:
        """Its answer was sent. Returns the ends that come behind it."""
        for track, told in frame.told:
            track.waiting.discard(frame.frame_id)
            self._told[track.track_id] = told
        return self.due()

    def end(self, track_ids: Iterable[int], cause: TrackEndCause) -> Sequence[session_pb2.TrackEnded]:
        """These tracks are over; those that are not open are ignored. Returns the ends that come at once."""
        for track_id in track_ids:
            if (track := self._open.pop(track_id, None)) is not None:
                self._ending.append((track, ended(track, cause)))
        return self.due()

    def end_all(self, cause: TrackEndCause) -> Sequence[session_pb2.TrackEnded]:
        """Every track is over."""
        return self.end(tuple(self._open), cause)

    def told(self) -> Sequence[frame_pb2.TrackSnapshot]:
        """The open tracks, as of the answers that were sent."""
        return [told.at(time.monotonic()) for told in self._told.values()]

    def track_of(self, track_id: int, model: FakeModel) -> FakeTrack:
        """The track of a box, perhaps a new one."""
        track = self._open.get(track_id)
        if track is not None and track.model not in {None, model}:
            self._ending.append((track, ended(track, TrackEndCause.MODEL_CHANGED)))
            track = None
        if track is None:
            track = FakeTrack(track_id=track_id)
        self._open.pop(track_id, None)
        self._open[track_id] = track  # behind those without a box for longer, as they end
        track.model = model
        return track

    def due(self) -> Sequence[session_pb2.TrackEnded]:
        """The ends that wait for no answer any more."""
        due = [(track, message) for track, message in self._ending if not track.waiting]
        self._ending = [(track, message) for track, message in self._ending if track.waiting]
        for track, _ in due:
            self._told.pop(track.track_id, None)
        return [message for _, message in due]


class TrackedFrame:
    """One frame on its way through the memory. `told`: its tracks, as they are in its answer."""

    def __init__(self, memory: FakeTracks, frame: ReceivedFrame, number: int) -> None:
        self.frame_id = frame.frame_id
        self.told: list[tuple[FakeTrack, Told]] = []
        self._memory = memory
        self._frame = frame
        self._source = RowSource(number=number, taken_s=time.monotonic() - frame.age_s)
        self._tracks: dict[int, FakeTrack] = {}  # by the indices of their boxes

    def known(self, box: ReceivedBox, model: FakeModel) -> tuple[Row, frame_pb2.BoxResult] | None:
        """A box that can be embedded: the row that it has already, and its answer; None: it is embedded."""
        if box.track_id is None or any(track.track_id == box.track_id for track in self._tracks.values()):
            return None
        track = self._memory.track_of(box.track_id, model)
        track.waiting.add(self.frame_id)
        self._tracks[box.index] = track
        last, source = track.last, track.source
        corners = box.xyxy or (0.0, 0.0, float(box.image.width or 1), float(box.image.height or 1))
        track.last, track.last_s = corners, self._source.taken_s
        others = [one.xyxy for one in self._frame.boxes if one is not box and one.xyxy is not None]
        seen = Seen(corners=corners, others=others, number=self._source.number, taken_s=self._source.taken_s)
        if (
            source is None
            or track.latest is None
            or needs_row(self._memory.terms.embed, seen, last=last, source=source)
        ):
            return None
        answer = frame_pb2.BoxResult(
            outcome=frame_pb2.OUTCOME_CACHED,
            quality=1.0,
            source_frame_id=track.latest_frame_id,
            source_age_ns=round(max(0.0, self._source.taken_s - source.taken_s) * 1e9),
        )
        return track.latest, answer

    def embedded(self, box: ReceivedBox, row: Row) -> None:
        """A box has a new row, as it is answered."""
        if (track := self._tracks.get(box.index)) is not None:
            representatives = self._memory.terms.representatives
            track.add(row, self.frame_id, self._source, representatives=representatives)

    def finish(self, answer: frame_pb2.FrameResult) -> None:
        """All boxes have their answers: note what of its tracks they tell, and add it for a client that goes on."""
        for index, track in self._tracks.items():
            outcome = answer.boxes[index].outcome
            if outcome in {frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_CACHED}:
                track.answered(self.frame_id)
            told = Told.of(track)
            self.told.append((track, told))
            if self._memory.snapshots and outcome == frame_pb2.OUTCOME_EMBEDDED:
                answer.tracks.append(told.at(time.monotonic(), newest_row=False))
