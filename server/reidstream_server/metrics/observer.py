"""Turns the events of the runtime into series.

Trap: `answered` runs once per frame on the event loop. So the labelled children are looked up once, when a model comes,
and boxes with the same outcome are counted together, not one by one. An exemplar is made only for a frame with a trace.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Histogram
from typing_extensions import override

from reidstream_server.core.effects import EndCause, FrameTimes
from reidstream_server.core.faults import CropOutcome
from reidstream_server.core.terms import ModelIndex
from reidstream_server.errors import Refusal
from reidstream_server.runtime.job import BoxRefusal, CachedRow, FrameJob
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.session import JobAnswer, Observer
from reidstream_server.tracks.track import TrackEndCause

from .series import BOX_OUTCOMES, CACHED, END_CAUSES, FRAME_OUTCOMES, LatencyStage, Series, Work

_STAGES = (
    LatencyStage.QUEUE,
    LatencyStage.DECODE,
    LatencyStage.BATCH_WAIT,
    LatencyStage.INFERENCE,
    LatencyStage.ANSWER,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfModel:
    """The children of one model, found once."""

    model: ServedModel
    embeddings: Counter
    batch_size: Histogram
    batch_faults: Counter
    busy_seconds: Counter


class MetricsObserver(Observer):
    """Observes the runtime and the calls. Event loop only. `refusals`: calls that were refused, so far."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._models: dict[ModelIndex, _OfModel] = {}
        self._frames = {outcome: series.frames.labels(outcome) for outcome in FRAME_OUTCOMES}
        self._boxes = {outcome: series.boxes.labels(outcome) for outcome in BOX_OUTCOMES}
        self._outcomes = [(outcome, self._boxes[outcome.value]) for outcome in CropOutcome]
        stages = {stage: series.stage_seconds.labels(stage.value) for stage in LatencyStage}
        self._total = stages[LatencyStage.TOTAL]
        self._stages = [stages[stage] for stage in _STAGES]
        self._ended = {cause: series.sessions_ended.labels(cause) for cause in END_CAUSES}
        self._tracks = {cause: series.tracks_ended.labels(cause.value) for cause in TrackEndCause}
        self._refused = {refusal: series.calls_refused.labels(refusal.value) for refusal in Refusal}
        self.refusals: Tally[Refusal] = Tally()
        self._frame_age = series.frame_age_seconds
        self._staging, self._aside, self._inference = (series.core_busy_seconds.labels(work.value) for work in Work)

    @override
    def answered(self, answer: JobAnswer, now_ns: int, trace_id: str | None = None) -> None:
        """An answer was handed to its session."""
        times, exemplar = answer.times, None if trace_id is None else {"trace_id": trace_id}
        self._frames["answered" if answer.fault is None else answer.fault.reason.value].inc(1, exemplar)
        self._frame_age.observe((times.age_ns + now_ns - times.arrived_ns) / 1e9, exemplar)
        if answer.fault is None:
            self._observe_stages(times, now_ns, exemplar)
            if answer.payload is not None:
                self._observe_boxes(answer.payload, answer.outcomes)

    @override
    def batch_started(self, model: ModelIndex, size: int) -> None:
        """A batch was handed to its engine."""
        self._models[model].batch_size.observe(size)

    @override
    def batch_ended(self, model: ModelIndex, size: int, busy_ns: int) -> None:
        """A batch has come back from its engine."""
        of = self._models[model]
        of.busy_seconds.inc(busy_ns / 1e9)
        if cores := of.model.engine.limits.cores:
            self._inference.inc(cores * busy_ns / 1e9)

    @override
    def staged(self, busy_ns: int, *, aside: bool) -> None:
        """A staging is over."""
        (self._aside if aside else self._staging).inc(busy_ns / 1e9)

    @override
    def batch_failed(self, model: ModelIndex) -> None:
        """An engine raised."""
        self._models[model].batch_faults.inc()

    @override
    def session_ended(self, cause: EndCause | None) -> None:
        """A session has ended. None: its client vanished."""
        self._ended["vanished" if cause is None else cause.value].inc()

    @override
    def track_ended(self, cause: TrackEndCause) -> None:
        """A track is over, and its client is told."""
        self._tracks[cause].inc()

    @override
    def model_added(self, model: ServedModel) -> None:
        """A model is served from now on."""
        name, series = model.name, self._series
        series.describe(model.engine)
        self._models[model.index] = _OfModel(
            model=model,
            embeddings=series.embeddings.labels(name),
            batch_size=series.batch_size.labels(name),
            batch_faults=series.batch_faults.labels(name),
            busy_seconds=series.engine_busy_seconds.labels(name),
        )

    @override
    def model_retired(self, model: ServedModel) -> None:
        """Nothing of a model is left: the series that only this model had are removed."""
        del self._models[model.index]
        self._series.forget(model.engine, others=[of.model.engine for of in self._models.values()])

    def call_refused(self, refusal: Refusal) -> None:
        """A call ends with a refusal."""
        self._refused[refusal].inc()
        self.refusals[refusal] += 1

    def _observe_stages(self, times: FrameTimes, now_ns: int, exemplar: dict[str, str] | None) -> None:
        self._total.observe((now_ns - times.arrived_ns) / 1e9, exemplar)
        if not times.last_batch_ns:
            return  # a frame without crops passes no stage
        edges = (
            times.arrived_ns,
            times.staging_ns,
            times.decoded_ns,
            times.first_batch_ns,
            times.last_batch_ns,
            now_ns,
        )
        for stage, begin, end in zip(self._stages, edges, edges[1:], strict=False):
            stage.observe((end - begin) / 1e9, exemplar)

    def _observe_boxes(self, job: FrameJob, outcomes: Sequence[CropOutcome]) -> None:
        if len(job.fates) > len(job.crops):
            for word, count in Tally(_outcome(fate) for fate in job.fates if not isinstance(fate, int)).items():
                self._boxes[word].inc(count)
        for outcome, counter in self._outcomes:
            if count := outcomes.count(outcome):
                counter.inc(count)
        if len(job.vectors) == 1:
            self._models[next(iter(job.vectors))].embeddings.inc(outcomes.count(CropOutcome.EMBEDDED))
            return
        for crop, outcome in zip(job.crops, outcomes, strict=True):
            if outcome is CropOutcome.EMBEDDED:
                self._models[crop.model].embeddings.inc()


def _outcome(fate: CachedRow | BoxRefusal) -> str:
    return CACHED if isinstance(fate, CachedRow) else fate.value
