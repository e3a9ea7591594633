"""Frames from the moment when their decoder comes back, or should have come back.

Why apart from `staging`: that one keeps the account, this one says what follows for the frame, its engines and its
source. Trap: a decoder may come back for a frame that was answered long ago; until then its pixels are held.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, TypeVar

from .effects import Effect, GiveUpStaging, SetAside
from .faults import FrameFault, staging_timeout
from .inference import Inference
from .ledger import Ledger
from .sources import Sources
from .state import FrameState, Phase
from .terms import FrameKey, SchedulerLimits

P = TypeVar("P")


class Decoding(Generic[P]):
    """Not thread-safe."""

    def __init__(
        self, limits: SchedulerLimits, ledger: Ledger[P], inference: Inference[P], sources: Sources[P]
    ) -> None:
        self._limits = limits
        self._ledger = ledger
        self._inference = inference
        self._sources = sources

    def staged(
        self, key: FrameKey, invalid: Collection[int], spent_ns: int, now: int, effects: list[Effect[P]]
    ) -> None:
        """The frame's pixels are there, and its crops wait for batches, except `invalid` ones."""
        frame = self._ledger.end_staging(key)
        if frame is None:
            return
        self._ended(frame, spent_ns, now)
        frame.staged = True
        frame.phase = Phase.READY
        frame.decoded_ns = now
        if not frame.resolved:
            self._inference.queue_crops(frame, invalid, now)
        self._ledger.settle(frame, effects)
        self._place_is_free(frame, now, effects)

    def failed(self, key: FrameKey, fault: FrameFault, spent_ns: int, now: int, effects: list[Effect[P]]) -> None:
        """There are no pixels."""
        frame = self._ledger.end_staging(key)
        if frame is None:
            return
        self._ended(frame, spent_ns, now)
        self._ledger.resolve(frame, fault, effects)
        self._ledger.settle(frame, effects)
        self._place_is_free(frame, now, effects)

    def look(self, now: int, effects: list[Effect[P]]) -> None:
        """Some frames may have been staged for longer than anybody could expect."""
        staging = self._ledger.staging
        for frame in staging.look(now):
            if frame.payload is None:
                continue
            if not frame.given_up:
                frame.set_aside = True
                self._sources.suspect(frame.session.terms.source)
                effects.append(SetAside(frame=frame.key, payload=frame.payload))
                continue
            effects.append(GiveUpStaging(frame=frame.key, payload=frame.payload))
            self._sources.charge(frame.session.terms.source, now - frame.staging_ns, now)
            self._clear(frame)  # after the charge: one that has left is not forgotten in between
            self._ledger.resolve(frame, staging_timeout(self._limits.staging_timeout_ns), effects)
        if staging.broken:
            self._inference.lose_all("too many pictures are decoded without end", effects)

    def _ended(self, frame: FrameState[P], spent_ns: int, now: int) -> None:
        self._sources.staged(frame, spent_ns, now, slow_ns=self._limits.slow_staging_ns)
        self._clear(frame)

    def _clear(self, frame: FrameState[P]) -> None:
        if frame.set_aside:
            frame.set_aside = False
            self._sources.clear(frame.session.terms.source)

    def _place_is_free(self, frame: FrameState[P], now: int, effects: list[Effect[P]]) -> None:
        """Somebody else may be slow, and have waited for a place aside."""
        if frame.aside:
            self.look(now, effects)
