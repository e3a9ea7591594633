"""The series that are set when something happens, with their buckets. `state` and `devices` are read at scrape time.

Why all at once: if a series appeared only with its first event, nobody could tell whether it is quiet or broken. So the
first scrape has every label value of every closed set. Trap: labels come from closed sets only, never from a client
(camera, track and client ids).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from reidstream_engines.protocol import Engine
from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import CropOutcome, FaultReason
from reidstream_server.errors import Refusal
from reidstream_server.runtime.job import BoxRefusal

# 0.5 ms to 2.5 s, with edges where a frame interval ends at 30, 25 and 15 frames/s.
SECONDS_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.0333, 0.04, 0.0667, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class LatencyStage(Enum):
    """Where a frame's time goes, in order; TOTAL is from arrival to the answer."""

    QUEUE = "queue"
    DECODE = "decode"
    BATCH_WAIT = "batch_wait"
    INFERENCE = "inference"
    ANSWER = "answer"
    TOTAL = "total"


FRAME_OUTCOMES = ("answered", *(reason.value for reason in FaultReason))
BOX_OUTCOMES = tuple(dict.fromkeys(item.value for item in (*CropOutcome, *BoxRefusal)))
END_CAUSES = ("vanished", *(cause.value for cause in EndCause))


class Series:
    """The series, registered. prometheus_client's own locks make them safe in any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # A process-wide switch of the library: `_created` doubles the number of series and says little.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.frames = Counter("reidstream_frames", "Frames by how they were answered.", ["outcome"], registry=registry)
        self.boxes = Counter("reidstream_boxes", "Boxes of answered frames by outcome.", ["outcome"], registry=registry)
        self.embeddings = Counter("reidstream_embeddings", "Vectors answered.", ["model"], registry=registry)
        self.stage_seconds = Histogram(
            "reidstream_stage_seconds",
            "Time that answered frames spent in each stage.",
            ["stage"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.frame_age_seconds = Histogram(
            "reidstream_frame_age_seconds",
            "Age of a frame when its answer was ready: from capture, without the time on the network.",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "reidstream_batch_size", "Crops in a batch.", ["model"], buckets=BATCH_BUCKETS, registry=registry
        )
        self.batch_faults = Counter(
            "reidstream_batch_faults", "Batches on which the engine failed.", ["model"], registry=registry
        )
        self.sessions_ended = Counter(
            "reidstream_sessions_ended", "Sessions by how they ended.", ["cause"], registry=registry
        )
        self.calls_refused = Counter(
            "reidstream_calls_refused", "Calls that ended with a refusal.", ["reason"], registry=registry
        )
        self.ready = Gauge("reidstream_ready", "1 while the server takes frames.", registry=registry)
        self._info = Gauge(
            "reidstream_model_info",
            "Always 1; what is served and what runs it.",
            ["model", "version", "space_id", "engine", "device", "precision"],
            registry=registry,
        )
        self._fallback = Gauge(
            "reidstream_engine_fallback", "1 if the preferred engine is not in use.", ["model"], registry=registry
        )
        self._by_model = (self.embeddings, self.batch_size, self.batch_faults)
        self._fill(self.frames, FRAME_OUTCOMES)
        self._fill(self.boxes, BOX_OUTCOMES)
        self._fill(self.stage_seconds, (stage.value for stage in LatencyStage))
        self._fill(self.sessions_ended, END_CAUSES)
        self._fill(self.calls_refused, (refusal.value for refusal in Refusal))

    @staticmethod
    def _fill(family: Counter | Histogram, values: Iterable[str]) -> None:
        for value in values:
            family.labels(value)

    def describe(self, engine: Engine) -> None:
        """Show a model, and every series of it from now on."""
        name = engine.spec.name
        self._info.labels(*_facts(engine)).set(1)
        self._fallback.labels(name).set(bool(engine.info.fallback_reason))
        for family in self._by_model:
            family.labels(name)

    def forget(self, engine: Engine, *, others: Sequence[Engine]) -> None:
        """Remove the series that only this model had. `others`: the models that are left; one of the same name goes on
        with the counters of that name.
        """
        if _facts(engine) not in map(_facts, others):
            self._info.remove(*_facts(engine))
        name = engine.spec.name
        same = [other for other in others if other.spec.name == name]
        if same:
            self._fallback.labels(name).set(bool(same[-1].info.fallback_reason))
            return
        for family in (self._fallback, *self._by_model):
            family.remove(name)


def _facts(engine: Engine) -> tuple[str, ...]:
    """The labels of `reidstream_model_info`."""
    spec, runs = engine.spec, engine.info
    return (spec.name, spec.version, spec.space_id, runs.engine, runs.device, runs.precision)
