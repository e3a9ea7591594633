"""A frame as the caller gives it, made ready to go, within its span: the same for a session of one stream and of many.

Trap: a span is begun before the frame is looked at, so that the frame's message can name it; what is raised until the
frame is handed over ends the span.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reidstream_client.frames.doubts import BoxDoubts
from reidstream_client.frames.framing import PreparedFrame, prepare
from reidstream_client.options import FrameInput

from .opening import SessionInfo
from .spans import FrameSpans


class Preparing:
    """One event loop. `spans`: those of the session's frames."""

    def __init__(self, opened: SessionInfo, spans: FrameSpans) -> None:
        self._spans = spans
        self._doubts = BoxDoubts(upright=opened.apply_exif_orientation)

    @contextmanager
    def frame(self, given: FrameInput, *, next_id: int, captured_s: float) -> Iterator[PreparedFrame]:
        """A `with` block in which a frame is handed over. `next_id`: its id if it has none. Raises InvalidRequest."""
        frame_id = next_id if given.frame_id is None else given.frame_id
        with self._spans.sending() as sending:
            prepared = prepare(
                given, frame_id=frame_id, captured_s=captured_s, doubts=self._doubts, headers=sending.headers
            )
            sending.prepared(prepared.frame_id)
            yield prepared
