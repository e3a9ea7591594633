"""The book of a soak: what was sent of every kind, what came back, and everything that was wrong.

The product's client counts too, but it is under test here as well. Trap: vectors are compared with the first ones of
their kind, because nothing else would show that two frames had the same buffer at the same time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reidstream_client import ErrorReason, FrameEmbeddings

from .kinds import Kind

_TOLERANCE = 1e-3  # a batch's size changes the last bits
_MOST_FAULTS = 20
_OVERLOAD = frozenset({ErrorReason.DROPPED, ErrorReason.WINDOW_FULL, ErrorReason.QUEUE_FULL, ErrorReason.OVER_BUDGET})


@dataclass(slots=True)
class Book:
    """Of all sessions. `faults`: the first twenty things that were wrong, in words."""

    sent: Counter[str] = field(default_factory=Counter)
    frames_answered: Counter[str] = field(default_factory=Counter)
    boxes_answered: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _vectors: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def fault(self, text: str) -> None:
        """Something was wrong."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)

    def answered(self, kind: Kind, result: FrameEmbeddings) -> None:
        """A frame of this kind was answered."""
        if result.error is not None:
            self.refused(kind, result.error.reason, local=result.local)
            return
        self.frames_answered["embedded"] += 1
        self.boxes_answered.update(outcome.name.lower() for outcome in result.outcomes)
        if kind.error is not None or result.outcomes != kind.outcomes:
            self.fault(f"{kind.name}: answered {[outcome.name for outcome in result.outcomes]}")
            return
        vectors = result.embeddings
        first = self._vectors.setdefault(kind.name, vectors)
        if not np.allclose(vectors, first, atol=_TOLERANCE):
            self.fault(f"{kind.name}: other vectors than before, by {float(np.abs(vectors - first).max()):.4f}")

    def refused(self, kind: Kind, reason: ErrorReason, *, local: bool = False) -> None:
        """A frame of this kind was answered with an error."""
        self.frames_answered[f"{reason.name.lower()}{', by the client' if local else ''}"] += 1
        if reason is not kind.error and reason not in _OVERLOAD:
            self.fault(f"{kind.name}: answered {reason.name}")


@dataclass(slots=True)
class Budget:
    """Frames that may still be sent in this stretch. A frame counts if the client did not answer it itself."""

    left: int

    def take(self) -> bool:
        """Take one frame; False if none is left."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True

    def give_back(self) -> None:
        """A frame never reached the server."""
        self.left += 1


@dataclass(slots=True)
class SessionBook:
    """One session and its open frames. Every frame must leave exactly once."""

    book: Book
    budget: Budget
    open: dict[int, Kind] = field(default_factory=dict)
    answers: int = 0

    def sent(self, frame_id: int, kind: Kind) -> None:
        """The session has accepted a frame."""
        self.open[frame_id] = kind
        self.book.sent[kind.name] += 1

    def answered(self, result: FrameEmbeddings) -> None:
        """The session has handed out an answer."""
        kind = self.open.pop(result.frame_id, None)
        if kind is None:
            self.book.fault(f"frame {result.frame_id} was answered twice, or never sent")
            return
        self.answers += 1
        self.book.answered(kind, result)
        if result.local:
            self.budget.give_back()

    def over(self, unanswered: tuple[int, ...] | None) -> None:
        """The session ended and says that these frames have no answer; None: it was left early and says nothing."""
        if unanswered is not None and set(unanswered) != set(self.open):
            self.book.fault(f"{len(self.open)} frames open at the end, {len(unanswered)} said to be without an answer")
        self.book.frames_answered["given up with their stream"] += len(self.open)
