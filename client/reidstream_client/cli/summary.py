"""The summary of a run: rates, latency by stage, and what became of the boxes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from reidstream_client.types import FrameEmbeddings, Timing, TrackEnded

from .writers.protocol import outcome_words

STAGES: Final[Mapping[str, Callable[[Timing], float | None]]] = {
    "decode": lambda timing: timing.decoded_s,
    "queue": lambda timing: timing.queue_s,
    "inference": lambda timing: timing.inference_s,
    "reply": lambda timing: timing.reply_s,
    "network": lambda timing: timing.network_s,
    "round trip": lambda timing: timing.round_trip_s,
}


class Summary:
    """Counts answers; eight bytes a frame and stage."""

    def __init__(self) -> None:
        self.frames = 0
        self.boxes = 0
        self.embedded = 0
        self._outcomes: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._stages = {name: array("d") for name in STAGES}

    def add(self, answer: FrameEmbeddings) -> None:
        """Count an answer."""
        self.frames += 1
        self.boxes += len(answer.outcomes)
        self.embedded += int(answer.valid.sum())
        if answer.error is not None:
            self._errors[answer.error.reason.name.lower() + (" (by the client)" if answer.local else "")] += 1
        else:
            self._outcomes.update(outcome_words(answer))
        for name, stage in STAGES.items():
            seconds = stage(answer.timing)
            if seconds is not None:
                self._stages[name].append(seconds)

    def end(self, track: TrackEnded) -> None:
        """Count an ended track."""
        self._ended[track.cause.name.lower()] += 1

    def text(self, elapsed_s: float) -> str:
        """A few lines for people; `elapsed_s` from the first frame to the last answer."""
        lines = [
            f"{self.frames} frames and {self.boxes} boxes in {elapsed_s:.2f} s",
            f"{self.frames / elapsed_s:.1f} frames/s, {self.boxes / elapsed_s:.1f} boxes/s",
        ]
        if any(self._stages.values()):
            lines.append(f"{'latency':<12}{'p50 ms':>9}{'p95 ms':>9}")
        for name, values in self._stages.items():
            if values:
                p50, p95 = np.percentile(np.asarray(values), [50, 95]) * 1000
                lines.append(f"  {name:<10}{p50:>9.2f}{p95:>9.2f}")
        lines += _counts("boxes", self._outcomes)
        lines += _counts("frames without embeddings", self._errors)
        lines += _counts("tracks ended", self._ended)
        return "\n".join(lines)


def _counts(what: str, counter: Counter[str]) -> list[str]:
    return [f"{what}: " + ", ".join(f"{count} {name}" for name, count in counter.most_common())] if counter else []
