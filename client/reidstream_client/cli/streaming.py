"""A source through a session: paced, pipelined, every answer with its boxes.

Trap: if a session or its source ends early, the answers must not be lost. Those that have come, and those that a
session will still get, are handed out before the error is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from reidstream_client.errors import FileError, InvalidRequest, ReidError
from reidstream_client.session.sync_session import Session
from reidstream_client.types import FrameEmbeddings, SessionEvent, TrackEnded

from .sources import FrameBoxes, Source, SourceFrame


def stream_source(
    source: Source,
    session: Session[SessionEvent],
    *,
    fps: float | None,
    on_answer: Callable[[str, FrameBoxes, FrameEmbeddings], None],
    on_end: Callable[[TrackEnded], None],
) -> None:
    """Send every frame of the source, and call `on_answer` with each frame's name, boxes and answer, in the session's
    order. `on_end`: is told each track that has ended.

    `fps`: send at a camera's rate, and let each frame age from its time on; None: as fast as possible. Raises as the
    source and the session do.
    """
    waiting: dict[int, tuple[str, FrameBoxes]] = {}

    def hand_out(events: Iterable[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, TrackEnded):
                on_end(event)
            else:
                on_answer(*waiting.pop(event.frame_id), event)

    start = time.monotonic()
    try:
        faults: list[FileError] = []
        for index, frame in enumerate(_until_fault(source, faults)):
            captured = time.monotonic()
            if fps is not None:
                captured = start + index / fps
                time.sleep(max(0.0, captured - time.monotonic()))
            waiting[frame.number] = frame.name, frame.boxes
            try:
                session.send(
                    frame.image,
                    frame.boxes.xyxy,
                    frame_id=frame.number,
                    class_ids=frame.boxes.class_ids,
                    track_ids=frame.boxes.track_ids if session.opened.tracks is not None else None,
                    captured_monotonic=captured,
                )
            except InvalidRequest:
                raise
            except ReidError:
                hand_out(session)  # what was taken is still answered; then it raises why the session ended
                raise
            hand_out(session.take())
        session.finish()
        hand_out(session)
        if faults:
            raise faults[0]
    finally:
        hand_out(session.take())


def _until_fault(source: Source, faults: list[FileError]) -> Iterator[SourceFrame]:
    """The source's frames; what ended it early is put into `faults`."""
    try:
        yield from source
    except FileError as fault:
        faults.append(fault)
