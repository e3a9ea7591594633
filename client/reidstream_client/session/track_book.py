"""What another server must be told to go on with the tracks of a session: which are open, and which were to end.

Why: a server remembers nothing of a session without a stream. So each answer brings what it has changed, and the newest
of that is kept here for each track. A cached box brings no row, but it moves its track's last box on.

Pure: no clock, no sockets. Traps: an answer that comes too late for the caller counts here, because the server has
counted its boxes. Times are kept by this machine's clock, since a server tells ages, and they pass. And an end that was
asked for is confirmed by its TrackEnded, or by the answer to any later frame: sent again behind that, it would end the
next track of the same id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from reidstream_client.errors import ProtocolFault
from reidstream_client.frames.results import block_rows
from reidstream_client.frames.track_ends import one_row
from reidstream_client.frames.tracked_boxes import TrackedBox
from reidstream_client.models import AgreedModel
from reidstream_client.types import TrackEndCause, TrackEnded
from reidstream_proto.v1 import frame_pb2, image_pb2, session_pb2

_WITH_ROW: Final = (frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_CACHED)
_WITHOUT_ROW: Final = (frame_pb2.OUTCOME_FAILED, frame_pb2.OUTCOME_SOURCE_LOST)
_OF_TRACKS: Final = (*_WITH_ROW, *_WITHOUT_ROW, None)
_NOT_DONE: Final = (
    frame_pb2.ERROR_REASON_INVALID_FRAME_ID,
    frame_pb2.ERROR_REASON_ENGINE_LOST,
    frame_pb2.ERROR_REASON_SHUTTING_DOWN,
)
"""A frame with one of these errors was nothing to its tracks: it was none of the session, or the server gave it up."""


@dataclass(slots=True, kw_only=True)
class KeptEnds:
    """Tracks that the caller has ended before the frame `before` (or any later one). `sent`: on the present stream."""

    before: int
    track_ids: dict[int, None]
    sent: bool = False


@dataclass(slots=True, kw_only=True)
class _Track:
    """An open track. `latest_s`, `last_s`: when the frames of its newest row and of its last box were taken."""

    snapshot: frame_pb2.TrackSnapshot
    latest_s: float
    last_s: float


class TrackBook:
    """One event loop. Times are of `time.monotonic()`."""

    def __init__(self) -> None:
        self._open: dict[int, _Track] = {}
        self._ends: list[KeptEnds] = []  # asked for and not confirmed, in order

    def __len__(self) -> int:
        """How many tracks are open, as far as answers have told."""
        return len(self._open)

    def asked(self, before: int, track_ids: Iterable[int]) -> None:
        """The caller ends tracks, before the frame of this id."""
        ids = dict.fromkeys(track_ids)
        if ids:
            self._ends.append(KeptEnds(before=before, track_ids=ids))

    def next_ends(self, frame_id: int | None) -> KeptEnds | None:
        """The ends that the present stream must be told before it is given this frame (None: no frame waits)."""
        ends = next((ends for ends in self._ends if not ends.sent), None)
        return ends if ends is not None and (frame_id is None or ends.before <= frame_id) else None

    def start_over(self) -> None:
        """There is a new stream, which knows of no end."""
        for ends in self._ends:
            ends.sent = False

    def answered(
        self,
        message: frame_pb2.FrameResult,
        tracked: Sequence[TrackedBox],
        captured_s: float,
        models: Sequence[AgreedModel],
    ) -> None:
        """A server's answer, whether the caller still wants it or not. Raises ProtocolFault."""
        if message.error.reason in _NOT_DONE:
            return
        self._ends = [ends for ends in self._ends if ends.before > message.frame_id]
        boxes = _of_tracks(message, tracked)
        for snapshot in message.tracks:
            box = boxes.get(snapshot.track_id)
            if box is None or _outcome(message, box) != frame_pb2.OUTCOME_EMBEDDED:
                raise ProtocolFault(
                    f"the answer to frame {message.frame_id} has a snapshot of track {snapshot.track_id}, and no new "
                    "row of it"
                )
            whole = _with_latest(snapshot, message, box, models)
            self._open[snapshot.track_id] = _Track(snapshot=whole, latest_s=captured_s, last_s=captured_s)
        for track_id, box in boxes.items():
            outcome = _outcome(message, box)
            if outcome in _WITHOUT_ROW and track_id not in self._open:
                bare = frame_pb2.TrackSnapshot(track_id=track_id)
                self._open[track_id] = _Track(snapshot=bare, latest_s=captured_s, last_s=captured_s)
            if (track := self._open.get(track_id)) is not None:
                track.last_s = captured_s
                if box.rect is not None:
                    x1, y1, x2, y2 = box.rect
                    track.snapshot.last_box.CopyFrom(image_pb2.Rect(x1=x1, y1=y1, x2=x2, y2=y2))
                if outcome in _WITH_ROW:
                    track.snapshot.last_frame_id = message.frame_id

    def ended(self, event: TrackEnded) -> None:
        """The server says that a track is over."""
        track = self._open.get(event.track_id)
        if track is not None and track.snapshot.first_frame_id <= event.last_frame_id:
            del self._open[event.track_id]
        if event.cause is not TrackEndCause.CLIENT:
            return
        for ends in self._ends:
            if event.track_id in ends.track_ids:
                del ends.track_ids[event.track_id]
                break
        self._ends = [ends for ends in self._ends if ends.track_ids]

    def drained(self, tracks: Iterable[frame_pb2.TrackSnapshot], now_s: float) -> None:
        """The tracks that a server names when it leaves: those that no answer has told of are new here."""
        for snapshot in tracks:
            if snapshot.track_id not in self._open:
                self._open[snapshot.track_id] = _Track(
                    snapshot=snapshot,
                    latest_s=now_s - snapshot.latest_age_ns / 1e9,
                    last_s=now_s - snapshot.last_age_ns / 1e9,
                )

    def write_to(self, options: session_pb2.TrackOptions, now_s: float) -> None:
        """Put the open tracks into what is asked of another server, as old as they are now."""
        options.ClearField("open_tracks")
        for track in self._open.values():
            snapshot = options.open_tracks.add()
            snapshot.CopyFrom(track.snapshot)
            if snapshot.count:
                snapshot.latest_age_ns = _age_ns(track.latest_s, now_s)
            if snapshot.HasField("last_box"):
                snapshot.last_age_ns = _age_ns(track.last_s, now_s)


def _of_tracks(message: frame_pb2.FrameResult, tracked: Sequence[TrackedBox]) -> dict[int, TrackedBox]:
    """Of each track the box that the server took for it: the first of its id that could be embedded."""
    found: dict[int, TrackedBox] = {}
    for box in tracked:
        if _outcome(message, box) in _OF_TRACKS:
            found.setdefault(box.track_id, box)
    return found


def _outcome(message: frame_pb2.FrameResult, box: TrackedBox) -> int | None:
    """None: the whole frame has an error."""
    return message.boxes[box.index].outcome if box.index < len(message.boxes) else None


def _with_latest(
    snapshot: frame_pb2.TrackSnapshot,
    message: frame_pb2.FrameResult,
    box: TrackedBox,
    models: Sequence[AgreedModel],
) -> frame_pb2.TrackSnapshot:
    """The snapshot of an answer, and the newest row with it: that of the box, which an answer does not say twice."""
    whose = f"the snapshot of track {snapshot.track_id} in the answer to frame {message.frame_id}"
    one_row(snapshot.sum, models, whose)
    said = message.boxes[box.index]
    if said.block >= len(message.blocks) or said.row >= message.blocks[said.block].count:
        raise ProtocolFault(f"{whose} is of a row that is not there")
    row = np.asarray(block_rows(message.blocks[said.block], models, whose)[said.row], np.float32)
    whole = frame_pb2.TrackSnapshot()
    whole.CopyFrom(snapshot)
    whole.latest.CopyFrom(
        frame_pb2.EmbeddingBlock(
            dim=len(row), dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT32, count=1, data=row.astype("<f4").tobytes()
        )
    )
    whole.latest_frame_id = message.frame_id
    whole.latest_quality = said.quality
    return whole


def _age_ns(then_s: float, now_s: float) -> int:
    return round(max(0.0, now_s - then_s) * 1e9)
