"""What each model did, as the protocol counts it: by all doors, since the server began.

A *request* is a frame, whatever door it came through. Its time is cut at the same moments as the stages of the
metrics: it waits (`queue`), is staged (`compute_input`), is computed (`compute_infer`), and is answered
(`compute_output`).

Trap: this runs once per frame on the event loop, and only where the protocol, or its metrics, are served.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from typing_extensions import override

from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import CropOutcome
from reidstream_server.core.terms import ModelIndex
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.session import JobAnswer, Observer
from reidstream_server.tracks.track import TrackEndCause

_NS_A_MS = 1_000_000


@dataclass(slots=True)
class Duration:
    """`count` pieces of work took `ns` together."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """One more."""
        self.count += 1
        self.ns += ns

    def merge(self, other: Duration) -> None:
        """And all of another."""
        self.count += other.count
        self.ns += other.ns


@dataclass(slots=True)
class ModelCounts:
    """Of one model. `inferences`: crops that were embedded; `executions`: batches. `last_ms`: when a batch ended, since
    1970; 0 for never. Durations are of requests, but for `batches`: of batches in their engine, by their size.
    """

    inferences: int = 0
    executions: int = 0
    last_ms: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, Duration] = field(default_factory=dict)

    def merge(self, other: ModelCounts) -> None:
        """And all of another's, but for its batches by their size."""
        self.inferences += other.inferences
        self.executions += other.executions
        for mine, its in zip(durations(self).values(), durations(other).values(), strict=True):
            mine.merge(its)


class InferenceCounts(Observer):
    """Event loop only."""

    def __init__(self) -> None:
        self._models: dict[ModelIndex, ModelCounts] = {}
        self._names: dict[ModelIndex, str] = {}
        self._retired: dict[str, ModelCounts] = {}  # of names that are served still

    def by_name(self) -> Mapping[str, ModelCounts]:
        """Of all models that have, or had, a name that is served: it only rises."""
        found: dict[str, ModelCounts] = {}
        for index, name in self._names.items():
            found.setdefault(name, ModelCounts()).merge(self._models[index])
        for name, counts in self._retired.items():
            found[name].merge(counts)
        return found

    def of(self, model: ModelIndex) -> ModelCounts:
        """So far."""
        return self._models[model]

    @override
    def answered(self, answer: JobAnswer, now_ns: int, trace_id: str | None = None) -> None:
        job, times = answer.payload, answer.times
        if job is None:
            return  # it was refused before anybody knew for which models it was
        for index in {crop.model for crop in job.crops}:
            counts = self._models[index]
            if answer.fault is not None:
                counts.fail.add(now_ns - times.arrived_ns)
                continue
            counts.success.add(now_ns - times.arrived_ns)
            if not times.last_batch_ns:
                continue  # its pictures were refused, all of them
            staging_ns = times.decoded_ns - times.staging_ns
            counts.queue.add(times.first_batch_ns - times.arrived_ns - staging_ns)
            counts.compute_input.add(staging_ns)
            counts.compute_infer.add(times.last_batch_ns - times.first_batch_ns)
            counts.compute_output.add(now_ns - times.last_batch_ns)
        if answer.fault is None:
            for crop, outcome in zip(job.crops, answer.outcomes, strict=True):
                if outcome is CropOutcome.EMBEDDED:
                    self._models[crop.model].inferences += 1

    @override
    def batch_ended(self, model: ModelIndex, size: int, busy_ns: int) -> None:
        counts = self._models[model]
        counts.executions += 1
        counts.batches.setdefault(size, Duration()).add(busy_ns)
        counts.last_ms = time.time_ns() // _NS_A_MS

    @override
    def model_added(self, model: ServedModel) -> None:
        self._models[model.index] = ModelCounts()
        self._names[model.index] = model.name

    @override
    def model_retired(self, model: ServedModel) -> None:
        counts, name = self._models.pop(model.index), self._names.pop(model.index)
        if name in self._names.values():
            self._retired.setdefault(name, ModelCounts()).merge(counts)
        else:
            self._retired.pop(name, None)

    # What the protocol does not count.

    @override
    def staged(self, busy_ns: int, *, aside: bool) -> None:
        """Nothing."""

    @override
    def batch_started(self, model: ModelIndex, size: int) -> None:
        """Nothing."""

    @override
    def batch_failed(self, model: ModelIndex) -> None:
        """Nothing."""

    @override
    def session_ended(self, cause: EndCause | None) -> None:
        """Nothing."""

    @override
    def track_ended(self, cause: TrackEndCause) -> None:
        """Nothing."""


def durations(counts: ModelCounts) -> Mapping[str, Duration]:
    """By the names of the protocol."""
    return {
        "success": counts.success,
        "fail": counts.fail,
        "queue": counts.queue,
        "compute_input": counts.compute_input,
        "compute_infer": counts.compute_infer,
        "compute_output": counts.compute_output,
    }
