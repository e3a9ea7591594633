"""The Protocol that writers satisfy."""

from __future__ import annotations

from typing import Protocol

from reidstream_client.cli.sources.frames import FrameBoxes
from reidstream_client.models import AgreedModel
from reidstream_client.types import FrameEmbeddings, TrackEnded


class Writer(Protocol):
    """Made before the work, which shows that its file can be written; then takes the answers one by one."""

    def begin(self, model: AgreedModel) -> None:
        """The session is open: what was in the file before may go."""
        ...

    def add(self, name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> None:
        """An answer, and the name and the boxes of its frame."""
        ...

    def end(self, track: TrackEnded) -> None:
        """A track has ended."""
        ...


def outcome_words(answer: FrameEmbeddings) -> list[str]:
    """What became of each box in lower case; for a frame with an error, the error's reason."""
    if answer.error is not None:
        return [answer.error.reason.name.lower()] * len(answer.outcomes)
    return [outcome.name.lower() for outcome in answer.outcomes]
