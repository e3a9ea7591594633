"""The series that are set when something happens, with their buckets. `state` and `devices` are read at scrape time.

Why all at once: if a series appeared only with its first event, nobody could tell whether it is quiet or broken. So the
first scrape has every label value of every closed set. Trap: labels come from closed sets only, never from a client
(camera, track and client ids).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from enum import Enum
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from reidstream_engines.protocol import Engine
from reidstream_server import __version__
from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import CropOutcome, FaultReason
from reidstream_server.errors import Refusal
from reidstream_server.runtime.job import BoxRefusal
from reidstream_server.tracks.track import TrackEndCause

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


class Work(Enum):
    """What threads of this machine's cores do. ASIDE: staging by threads that give way to the others."""

    STAGING = "staging"
    ASIDE = "aside"
    INFERENCE = "inference"


FRAME_OUTCOMES = ("answered", *(reason.value for reason in FaultReason))
CACHED = "cached"
BOX_OUTCOMES = (*dict.fromkeys(item.value for item in (*CropOutcome, *BoxRefusal)), CACHED)
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
        self.engine_busy_seconds = Counter(
            "reidstream_engine_busy_seconds", "Time that batches spent in their engine.", ["model"], registry=registry
        )
        self.core_busy_seconds = Counter(
            "reidstream_core_busy_seconds", "Time that cores were taken by work.", ["work"], registry=registry
        )
        self.sessions_ended = Counter(
            "reidstream_sessions_ended", "Sessions by how they ended.", ["cause"], registry=registry
        )
        self.tracks_ended = Counter(
            "reidstream_tracks_ended", "Tracks by how they ended.", ["cause"], registry=registry
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
        fallback = Gauge(
            "reidstream_engine_fallback", "1 if the preferred engine is not in use.", ["model"], registry=registry
        )
        batch_size = Gauge("reidstream_batch_size_limit", "The most crops in a batch.", ["model"], registry=registry)
        running = Gauge("reidstream_running_batches_limit", "The most batches in flight.", ["model"], registry=registry)
        self._self_test_cosine = Gauge(
            "reidstream_self_test_cosine",
            "The lowest cosine of the self-test: a crop's vector in a full batch, and alone.",
            ["model"],
            registry=registry,
        )
        self._registry = registry
        self._of_facts = (fallback, batch_size, running)
        self._by_model = (self.embeddings, self.batch_size, self.batch_faults, self.engine_busy_seconds)
        build = Gauge(
            "reidstream_build_info", "Always 1; what was built.", ["version", "python", "grpc"], registry=registry
        )
        build.labels(__version__, platform.python_version(), version("grpcio")).set(1)
        self._fill(self.core_busy_seconds, (work.value for work in Work))
        self._fill(self.frames, FRAME_OUTCOMES)
        self._fill(self.boxes, BOX_OUTCOMES)
        self._fill(self.stage_seconds, (stage.value for stage in LatencyStage))
        self._fill(self.sessions_ended, END_CAUSES)
        self._fill(self.tracks_ended, (cause.value for cause in TrackEndCause))
        self._fill(self.calls_refused, (refusal.value for refusal in Refusal))

    @staticmethod
    def _fill(family: Counter | Histogram, values: Iterable[str]) -> None:
        for value in values:
            family.labels(value)

    def describe(self, engine: Engine) -> None:
        """Show a model, and every series of it from now on."""
        self._info.labels(*_facts(engine)).set(1)
        self._set_facts(engine)
        for family in self._by_model:
            family.labels(engine.spec.name)

    def self_tested(self, name: str, cosine: float) -> None:
        """A model has passed its self-test."""
        self._self_test_cosine.labels(name).set(cosine)

    def certificate_expires(self, at_s: float) -> None:
        """When the server's own certificate expires, in seconds since 1970. Called once, if it has one."""
        text = "When the certificate of the server expires."
        Gauge("reidstream_tls_certificate_expiry_timestamp_seconds", text, registry=self._registry).set(at_s)

    def forget(self, engine: Engine, *, others: Sequence[Engine]) -> None:
        """Remove the series that only this model had. `others`: the models that are left; one of the same name goes on
        with the counters of that name.
        """
        if _facts(engine) not in map(_facts, others):
            self._info.remove(*_facts(engine))
        name = engine.spec.name
        same = [other for other in others if other.spec.name == name]
        if same:
            self._set_facts(same[-1])
            return
        for family in (*self._of_facts, self._self_test_cosine, *self._by_model):
            family.remove(name)

    def _set_facts(self, engine: Engine) -> None:
        fallback, batch, slots = self._of_facts
        fallback.labels(engine.spec.name).set(bool(engine.info.fallback_reason))
        batch.labels(engine.spec.name).set(engine.limits.max_batch)
        slots.labels(engine.spec.name).set(engine.limits.slots)


def _facts(engine: Engine) -> tuple[str, ...]:
    """The labels of `reidstream_model_info`."""
    spec, runs = engine.spec, engine.info
    return (spec.name, spec.version, spec.space_id, runs.engine, runs.device, runs.precision)
