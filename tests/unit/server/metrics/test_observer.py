"""What becomes of the runtime's events: counts, observations, and exemplars of frames with a trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar, Sample

from reidstream_engines.fake import FakeEngine
from reidstream_server.core.effects import Answer, FrameTimes
from reidstream_server.core.faults import DROPPED_BY_QUEUE, FrameFault
from reidstream_server.core.terms import ModelIndex, SessionKey
from reidstream_server.errors import Refusal
from reidstream_server.metrics.exposition import TextFormat, page
from reidstream_server.metrics.observer import MetricsObserver
from reidstream_server.metrics.series import Series
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.session import JobAnswer

MS = 1_000_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TIMES = FrameTimes(
    arrived_ns=0,
    age_ns=30 * MS,
    staging_ns=1 * MS,
    decoded_ns=4 * MS,
    first_batch_ns=5 * MS,
    last_batch_ns=20 * MS,
    batch_sizes=(8,),
)


class Watched:
    """An observer with its registry, and a model whose batches take two cores each."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.series = Series(self.registry)
        self.observer = MetricsObserver(self.series)
        engine = FakeEngine(max_batch=16, slots=3, cores=2)
        self.model = ServedModel(index=ModelIndex(7), engine=engine)
        self.observer.model_added(self.model)

    def samples(self) -> Iterator[Sample]:
        """As a scraper of OpenMetrics reads them. The parser is strict."""
        text = page(self.registry, TextFormat.OPENMETRICS).decode()
        for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            yield from family.samples

    def value(self, name: str, **labels: str) -> float | None:
        """Of a sample; None if there is none."""
        return self.registry.get_sample_value(f"reidstream_{name}", labels)

    def exemplars(self) -> dict[tuple[str, str], Exemplar]:
        """By the sample's name, and by its stage or outcome."""
        return {
            (sample.name, sample.labels.get("stage") or sample.labels.get("outcome") or ""): sample.exemplar
            for sample in self.samples()
            if sample.exemplar is not None
        }


@pytest.fixture
def watched() -> Watched:
    return Watched()


def answer(fault: FrameFault | None = None) -> JobAnswer:
    return Answer(session=SessionKey(1), frame_id=1, payload=None, fault=fault, outcomes=(), times=TIMES)


def test_without_a_trace_there_is_no_exemplar(watched: Watched) -> None:
    """Whatever form the page has."""
    watched.observer.answered(answer(), 21 * MS)
    assert watched.value("frames_total", outcome="answered") == 1
    assert watched.exemplars() == {}


def test_a_frame_with_a_trace_leaves_its_id_where_it_was_counted(watched: Watched) -> None:
    """In its outcome, its age, and each stage: from a slow bucket there is a way to a frame that was in it."""
    watched.observer.answered(answer(), 21 * MS, TRACE)
    found = watched.exemplars()
    assert set(found) == {
        ("reidstream_frames_total", "answered"),
        ("reidstream_frame_age_seconds_bucket", ""),
        *(
            ("reidstream_stage_seconds_bucket", stage)
            for stage in ("queue", "decode", "batch_wait", "inference", "answer", "total")
        ),
    }
    assert {tuple(exemplar.labels.items()) for exemplar in found.values()} == {(("trace_id", TRACE),)}
    assert found["reidstream_frame_age_seconds_bucket", ""].value == pytest.approx(0.051)
    assert found["reidstream_stage_seconds_bucket", "inference"].value == pytest.approx(0.015)
    assert "trace_id" not in page(watched.registry, TextFormat.PLAIN).decode()


def test_a_frame_that_was_dropped_leaves_its_trace_too(watched: Watched) -> None:
    """Where it is counted; it has passed no stage."""
    watched.observer.answered(answer(DROPPED_BY_QUEUE), 21 * MS, TRACE)
    assert set(watched.exemplars()) == {
        ("reidstream_frames_total", "dropped"),
        ("reidstream_frame_age_seconds_bucket", ""),
    }


def test_the_newest_trace_of_a_bucket_stays(watched: Watched) -> None:
    """A frame without a trace does not take it away."""
    other = TRACE[::-1]
    for trace in (TRACE, other, None):
        watched.observer.answered(answer(), 21 * MS, trace)
    assert {exemplar.labels["trace_id"] for exemplar in watched.exemplars().values()} == {other}


def test_a_batch_keeps_its_engine_busy_and_its_cores(watched: Watched) -> None:
    """A batch that takes two cores for 30 ms: 0.03 s of the engine, 0.06 s of cores."""
    watched.observer.batch_ended(watched.model.index, 4, 30 * MS)
    assert watched.value("engine_busy_seconds_total", model="fake") == pytest.approx(0.03)
    assert watched.value("core_busy_seconds_total", work="inference") == pytest.approx(0.06)


def test_a_batch_on_a_device_takes_no_core() -> None:
    """Its engine is busy all the same."""
    watched = Watched()
    device = FakeEngine(max_batch=16, slots=3, cores=0)
    model = ServedModel(index=ModelIndex(8), engine=device)
    watched.observer.model_added(model)
    watched.observer.batch_ended(model.index, 4, 30 * MS)
    assert watched.value("engine_busy_seconds_total", model="fake") == pytest.approx(0.03)
    assert watched.value("core_busy_seconds_total", work="inference") == 0


def test_stagings_are_told_apart_by_who_gives_way(watched: Watched) -> None:
    """What is staged aside takes what others leave, so it says nothing of how full the cores are."""
    watched.observer.staged(5 * MS, aside=False)
    watched.observer.staged(400 * MS, aside=True)
    assert watched.value("core_busy_seconds_total", work="staging") == pytest.approx(0.005)
    assert watched.value("core_busy_seconds_total", work="aside") == pytest.approx(0.4)


def test_a_model_has_its_limits_and_its_self_test(watched: Watched) -> None:
    """From when it is served until it is gone; and one of the same name that is left goes on with its own."""
    watched.series.self_tested("fake", 0.99999)
    assert watched.value("batch_size_limit", model="fake") == 16
    assert watched.value("running_batches_limit", model="fake") == 3
    assert watched.value("self_test_cosine", model="fake") == 0.99999
    newer = FakeEngine(max_batch=4, slots=1, cores=1)
    model = ServedModel(index=ModelIndex(8), engine=newer)
    watched.observer.model_added(model)
    assert watched.value("batch_size_limit", model="fake") == 4
    watched.observer.model_retired(model)
    assert watched.value("batch_size_limit", model="fake") == 16
    watched.observer.model_retired(watched.model)
    for name in ("batch_size_limit", "running_batches_limit", "self_test_cosine", "engine_busy_seconds_total"):
        assert watched.value(name, model="fake") is None


def test_refusals_of_calls_are_counted_by_their_reason(watched: Watched) -> None:
    """For the series of their own, and for those of the budgets."""
    watched.observer.call_refused(Refusal.TOO_MANY_CALLS)
    assert watched.value("calls_refused_total", reason="too_many_calls") == 1
    assert watched.observer.refusals == {Refusal.TOO_MANY_CALLS: 1}


def test_the_plain_page_and_the_other_have_the_same_samples(watched: Watched) -> None:
    """But for the names of counters' families, which are shorter in OpenMetrics, the formats say the same."""
    watched.observer.answered(replace(answer(), payload=None), 21 * MS)
    plain = {line for line in page(watched.registry, TextFormat.PLAIN).decode().splitlines() if line[0] != "#"}
    other = page(watched.registry, TextFormat.OPENMETRICS).decode().splitlines()
    assert plain == {line for line in other if line[0] != "#"}
    assert other[-1] == "# EOF"
