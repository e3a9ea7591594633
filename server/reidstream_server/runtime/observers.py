"""Several observers in the place of one. Trap: each is told on the event loop, for every frame; two are a few."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from reidstream_server.core.effects import EndCause
from reidstream_server.core.terms import ModelIndex
from reidstream_server.tracks.track import TrackEndCause

from .models import ServedModel
from .session import JobAnswer, Observer


class Observers(Observer):
    """Tells each of them, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    @override
    def answered(self, answer: JobAnswer, now_ns: int, trace_id: str | None = None) -> None:
        for one in self._observers:
            one.answered(answer, now_ns, trace_id)

    @override
    def staged(self, busy_ns: int, *, aside: bool) -> None:
        for one in self._observers:
            one.staged(busy_ns, aside=aside)

    @override
    def batch_started(self, model: ModelIndex, size: int) -> None:
        for one in self._observers:
            one.batch_started(model, size)

    @override
    def batch_ended(self, model: ModelIndex, size: int, busy_ns: int) -> None:
        for one in self._observers:
            one.batch_ended(model, size, busy_ns)

    @override
    def batch_failed(self, model: ModelIndex) -> None:
        for one in self._observers:
            one.batch_failed(model)

    @override
    def session_ended(self, cause: EndCause | None) -> None:
        for one in self._observers:
            one.session_ended(cause)

    @override
    def track_ended(self, cause: TrackEndCause) -> None:
        for one in self._observers:
            one.track_ended(cause)

    @override
    def model_added(self, model: ServedModel) -> None:
        for one in self._observers:
            one.model_added(model)

    @override
    def model_retired(self, model: ServedModel) -> None:
        for one in self._observers:
            one.model_retired(model)
