"""The tracks of one session in the runtime: between their memory, the session's frames and its mailbox.

Why apart from `tracks`: that room knows no frames of ours, no mailbox and no clock, so that a simulator can drive it.
Why apart from the runtime: only sessions that asked for tracks have this. Trap: everything here runs on the event loop.
The memory is asked when a frame is taken and when its answer is handed out, and at no other time of a frame's life.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from reidstream_engines.protocol import Embeddings
from reidstream_server.core.effects import Answer
from reidstream_server.core.faults import CropOutcome
from reidstream_server.core.terms import SessionKey
from reidstream_server.tracks.memory import RowKind, TrackMemory
from reidstream_server.tracks.room import TrackRoom
from reidstream_server.tracks.terms import TrackTerms
from reidstream_server.tracks.track import FrameTracks, SightedBox, Snapshot, TrackEnded

from .agreement import Agreement, AnswerDtype
from .job import CachedRow, FrameJob
from .wakeups import Wakeups


class SessionTracks:
    """Event loop only. `told`: takes each end of a track, behind the answers that were handed out before it."""

    def __init__(
        self,
        agreement: Agreement,
        terms: TrackTerms,
        room: TrackRoom,
        key: SessionKey,
        *,
        told: Callable[[TrackEnded], None],
        failed: Callable[[Exception], None],
    ) -> None:
        models = agreement.routes.models
        kinds = {
            index: RowKind(dim=model.spec.output.dim, unit=model.spec.output.l2_normalize)
            for index, model in models.items()
        }
        self.memory = TrackMemory(terms, kinds, room, key)
        self._handed_over: Sequence[Snapshot] = ()
        self._dtype = agreement.dtype
        self._told = told
        self._leaving = False
        self._half_closed = False
        self._wakeups = Wakeups(failed, self._time_out)

    def adopt(self, snapshots: Sequence[Snapshot]) -> None:
        """Go on with tracks that another server had."""
        self.memory.adopt(snapshots, time.monotonic_ns())
        self.tell()

    def decide(self, frame_id: int, boxes: Sequence[SightedBox], age_ns: int) -> FrameTracks | None:
        """What becomes of the boxes of a frame that has just come; None for a frame that will not be processed."""
        if self._leaving or not self.memory.takes(frame_id):
            return None
        now = time.monotonic_ns()
        decided = self.memory.decide(frame_id, boxes, taken_ns=now - age_ns, now=now)
        self.tell()
        return decided

    def refused(self, frame_id: int) -> None:
        """A frame has come that is answered with a fault."""
        if not self._leaving and self.memory.takes(frame_id):
            self.memory.passed(frame_id)

    def handed_out(self, answer: Answer[FrameJob]) -> None:
        """Complete an answer, before anybody looks at it: what was promised to its boxes is there now."""
        job = answer.payload
        frame = None if job is None else job.tracks
        if job is None or frame is None:
            return
        if answer.fault is not None:
            self.memory.failed(frame)
            return
        kept = self.memory.answered(frame, lambda index: self._row(job, answer.outcomes, index))
        fates = list(job.fates)
        for box in frame.boxes:
            row, model = kept.get(box.index), box.track.model
            if row is not None and model is not None:
                fates[box.index] = CachedRow(
                    model=model,
                    vector=row.vector,
                    source_frame_id=row.frame_id,
                    source_age_ns=max(0, frame.taken_ns - row.taken_ns),
                    quality=row.quality,
                )
        job.fates = fates

    def answer_written(self, answer: Answer[FrameJob]) -> None:
        """The door has written it."""
        if answer.payload is not None and answer.payload.tracks is not None:
            self.memory.answer_written(answer.payload.tracks)

    def end(self, track_ids: Sequence[int]) -> None:
        """The client says that these tracks are over. Not after it was asked to leave: it says so to another server."""
        if not self._leaving:
            self.memory.end(track_ids)
            self.tell()

    def tell(self) -> None:
        """Have what has ended told, behind what was handed out; and be woken for the next track that may time out."""
        ended = self.memory.ended
        if ended:
            self.memory.ended = []
            for track in ended:
                self._told(track)
        if not self._leaving:
            self._wakeups.arm(self.memory.due_ns())

    def leave(self) -> None:
        """The session is asked to leave: nothing of it ends here from now on, but what has ended already."""
        self._leaving = True
        self._wakeups.disarm()
        self._handed_over = self.memory.open_tracks()

    def take_over(self) -> Sequence[Snapshot]:
        """The tracks that were open when the session was asked to leave; once, since they are large."""
        taken, self._handed_over = self._handed_over, ()
        return taken

    def half_closed(self) -> None:
        """The client sends no more. If it was asked to leave before, it goes on elsewhere."""
        self._half_closed = not self._leaving

    def over(self) -> None:
        """Every frame is answered, and the session ends."""
        if self._half_closed:
            self.memory.finish()
            self.tell()

    def written(self, ended: TrackEnded) -> None:
        """The door has written the end of a track."""
        self.memory.written(ended)

    def close(self) -> None:
        """The call is over. Harmless to repeat."""
        self._leaving = True
        self._wakeups.disarm()
        self.memory.close()

    def _row(self, job: FrameJob, outcomes: Sequence[CropOutcome], index: int) -> Embeddings | None:
        """The row (dim,) of an embedded box, as it is answered; None if it has none, or none that can be added up."""
        crop_index = job.fates[index]
        if not isinstance(crop_index, int) or outcomes[crop_index] is not CropOutcome.EMBEDDED:
            return None
        crop = job.crops[crop_index]
        row = job.vectors[crop.model][crop.row]
        if self._dtype is AnswerDtype.FLOAT16:
            row = row.astype(np.float16).astype(np.float32)
        return row if np.isfinite(row.sum()) else None

    def _time_out(self) -> None:
        if not self._leaving:
            self.memory.time_out(time.monotonic_ns())
            self.tell()
