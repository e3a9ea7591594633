"""The self-test finds engines that are wrong without failing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from reidstream_engines.errors import EngineFault, EngineLost
from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager, FakeTicket, fake_spec
from reidstream_engines.protocol import Crop, Embeddings, EngineInfo, EngineLimits, Health
from reidstream_engines.selftest import batch_sizes, self_test
from reidstream_engines.spec import ModelSpec


class Tampered:
    """A FakeEngine whose rows are changed on their way out."""

    def __init__(self, change: Callable[[Embeddings], Embeddings], *, max_batch: int = 4) -> None:
        self._engine = FakeEngine(max_batch=max_batch)
        self._change = change
        self.spec: ModelSpec = self._engine.spec
        self.limits: EngineLimits = self._engine.limits
        self.info: EngineInfo = self._engine.info
        self.health: Callable[[], Health] = self._engine.health
        self.close = self._engine.close

    def submit(self, crops: Sequence[Crop]) -> TamperedTicket:
        return TamperedTicket(self._engine.submit(crops), self._change)


class TamperedTicket:
    def __init__(self, ticket: FakeTicket, change: Callable[[Embeddings], Embeddings]) -> None:
        self._ticket = ticket
        self._change = change

    def result(self) -> Embeddings:
        return self._change(self._ticket.result())


@pytest.mark.parametrize(
    ("max_batch", "sizes"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))]
)
def test_every_bucket_up_to_the_largest(max_batch: int, sizes: tuple[int, ...]) -> None:
    """Powers of two, and the largest batch whatever it is."""
    assert batch_sizes(max_batch) == sizes


@pytest.mark.parametrize("max_batch", [1, 6])
def test_a_good_engine_passes(max_batch: int) -> None:
    """Each bucket is timed by the given clock when warm, and no frame stays staged."""
    ticks = iter(range(100))
    stager = FakeStager()
    report = self_test(FakeEngine(max_batch=max_batch), stager, clock=lambda: float(next(ticks)))
    assert [timing.size for timing in report.timings] == list(batch_sizes(max_batch))
    assert [timing.seconds for timing in report.timings] == [1.0] * len(report.timings)
    assert report.max_difference == 0.0
    assert report.min_cosine == pytest.approx(1.0, abs=1e-12)
    assert stager.open_frames == 0


def test_the_lowest_cosine_is_that_of_the_worst_row() -> None:
    """One row of the largest batch is turned by a known angle, within what is tolerated."""
    angle = 0.02

    def turned(rows: Embeddings) -> Embeddings:
        if len(rows) > 1:
            aside = np.roll(rows[0], 1)
            aside -= (aside @ rows[0]) * rows[0]
            rows[0] = np.cos(angle) * rows[0] + np.sin(angle) * aside / np.linalg.norm(aside)
        return rows

    report = self_test(Tampered(turned), FakeStager(), tolerance=0.1)
    assert report.min_cosine == pytest.approx(np.cos(angle), abs=1e-6)


def swapped(rows: Embeddings) -> Embeddings:
    return rows[::-1].copy()


def drifting(rows: Embeddings) -> Embeddings:
    return rows + np.float32(1e-4) * (len(rows) - 1)


def constant(rows: Embeddings) -> Embeddings:
    return np.full_like(rows, rows.shape[1] ** -0.5)


def not_finite(rows: Embeddings) -> Embeddings:
    rows[-1, 3] = np.nan
    return rows


def zero(rows: Embeddings) -> Embeddings:
    rows[0] = 0.0
    return rows


def long(rows: Embeddings) -> Embeddings:
    return rows * 2


def wide(rows: Embeddings) -> Embeddings:
    return np.hstack([rows, rows])


def missing(rows: Embeddings) -> Embeddings:
    return rows[: max(1, len(rows) - 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, "row 0 of a batch of 4 differs from the same crop alone"),
        (drifting, "differs from the same crop alone by 0.0003"),
        (constant, "the same vector"),
        (not_finite, "not finite"),
        (zero, "zero vector"),
        (long, "not 1"),
        (wide, "float32 (1, 32) is expected"),
        (missing, "a batch of 2 gave float32 (1, 32)"),
    ],
)
def test_a_wrong_engine_is_told_what_is_wrong(change: Callable[[Embeddings], Embeddings], message: str) -> None:
    """In words that name the row or the shape; the frame is given back."""
    stager = FakeStager()
    with pytest.raises(EngineFault) as caught:
        self_test(Tampered(change), stager)
    assert message in str(caught.value)
    assert stager.open_frames == 0


@pytest.mark.parametrize(
    ("change", "alone_is_right"),
    [(swapped, True), (drifting, True), (missing, True), (constant, False), (not_finite, False), (wide, False)],
)
def test_where_only_batches_fail_one_crop_at_a_time_can_be_served(
    change: Callable[[Embeddings], Embeddings], *, alone_is_right: bool
) -> None:
    """That is said exactly where it is true: with batches of one the same engine passes."""
    with pytest.raises(EngineFault) as caught:
        self_test(Tampered(change), FakeStager())
    assert ("--max-batch 1" in str(caught.value)) == alone_is_right
    if alone_is_right:
        self_test(Tampered(change, max_batch=1), FakeStager())
        return
    with pytest.raises(EngineFault) as caught:
        self_test(Tampered(change, max_batch=1), FakeStager())
    assert "--max-batch 1" not in str(caught.value)


def test_tolerance_is_relative_to_the_vectors_length() -> None:
    """Rows that are not normalised may be long, and their rounding with them."""
    engine = Tampered(lambda rows: rows * 1000 + np.float32(1e-3) * (len(rows) - 1))
    engine.spec = replace(fake_spec(), output=replace(fake_spec().output, l2_normalize=False))
    assert 1e-6 < self_test(engine, FakeStager()).max_difference < 1e-5


def test_an_engines_own_faults_pass_through() -> None:
    """What the engine says is more specific than anything to be said here."""
    with pytest.raises(EngineFault, match="batch 2 fails"):
        self_test(FakeEngine(script=FakeScript(failing_batches=frozenset({2}))), FakeStager())
    with pytest.raises(EngineLost):
        self_test(FakeEngine(script=FakeScript(lost_at=0)), FakeStager())
