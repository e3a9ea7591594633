"""The order in which a box is looked at, and the rows that its vector gets."""

from __future__ import annotations

import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_engines.headers import parse_encoded
from reidstream_engines.protocol import TensorCrop
from reidstream_server.core.faults import FaultReason
from reidstream_server.core.terms import Flow, ModelIndex, Ordering, OverloadPolicy, Priority, SessionTerms, Window
from reidstream_server.intake.plan import FramePlan
from reidstream_server.runtime.agreement import Agreement, AnswerDtype, BoxFilter
from reidstream_server.runtime.job import BoxRefusal, CachedRow
from reidstream_server.runtime.models import ModelChoice
from tests.support.harness import JPEG
from tests.support.models import table_of

MODELS = table_of([FakeEngine(fake_spec("person", dim=4)), FakeEngine(fake_spec("vehicle", dim=8))])
IMAGE = parse_encoded(JPEG)  # 320 x 240
TENSOR = np.ones((3, 256, 128), np.float32)
GOOD, TINY, OUTSIDE, INVERTED = (10.0, 10.0, 60.0, 90.0), (5.0, 5.0, 6.0, 40.0), (400.0, 0.0, 500.0, 50.0), (9, 9, 1, 1)


def plan_of(*choices: ModelChoice, box_filter: BoxFilter | None = None) -> FramePlan:
    routes = MODELS.routes(choices)
    terms = SessionTerms(
        flow=Flow(client="", camera_id="c"),
        source="connection",
        priority=Priority.NORMAL,
        ordering=Ordering.IN_ORDER,
        overload_policy=OverloadPolicy.WAIT,
        window=Window(frames=1, bytes=1),
        latency_budget_ns=None,
        models=frozenset(routes.models),
    )
    agreement = Agreement(terms=terms, routes=routes, box_filter=box_filter, dtype=AnswerDtype.FLOAT32)
    started = FramePlan(agreement, min_box_px=2, ready_crops=False)
    started.picture(IMAGE)
    return started


def add(
    plan: FramePlan, rect: tuple[float, float, float, float] | None, class_id: int | None = None, width: float = 50.0
) -> None:
    plan.add(0, rect, (width, 80.0), class_id=class_id, score=None)


@pytest.mark.parametrize(
    ("rect", "refusal"),
    [
        (None, BoxRefusal.INVALID_BOX),
        (INVERTED, BoxRefusal.INVALID_BOX),
        (TINY, BoxRefusal.TOO_SMALL),
        (OUTSIDE, BoxRefusal.OUTSIDE_FRAME),
    ],
)
def test_a_box_that_cannot_be_cut_says_why(rect: tuple[float, float, float, float] | None, refusal: BoxRefusal) -> None:
    """And takes no row."""
    plan = plan_of()
    add(plan, rect)
    add(plan, GOOD)
    assert plan.fates == [refusal, 0]
    assert [crop.row for crop in plan.crops] == [0]


@pytest.mark.parametrize("rect", [None, INVERTED, TINY, OUTSIDE])
def test_the_first_that_fails_is_the_outcome(rect: tuple[float, float, float, float] | None) -> None:
    """A model that takes its class; then a rectangle that can be cut; then the filter."""
    everything_wrong = plan_of(ModelChoice(class_ids=(1,)), box_filter=BoxFilter(min_width=1000))
    add(everything_wrong, rect, class_id=2)
    add(everything_wrong, rect, class_id=1)
    add(everything_wrong, GOOD, class_id=1)
    no_model, no_rect, filtered = everything_wrong.fates
    assert no_model is BoxRefusal.NO_MODEL
    assert no_rect in (BoxRefusal.INVALID_BOX, BoxRefusal.TOO_SMALL, BoxRefusal.OUTSIDE_FRAME)
    assert filtered is BoxRefusal.FILTERED


def test_rows_count_for_each_model_and_crops_for_the_frame() -> None:
    """The vectors are as many as there are crops, of each model's own dimension."""
    plan = plan_of(ModelChoice(name="vehicle", class_ids=(2,)), ModelChoice(name="person"))
    for class_id in (1, 2, None, 2, 2):
        add(plan, GOOD, class_id)
    assert plan.fates == [0, 1, 2, 3, 4]
    assert [(crop.model, crop.row) for crop in plan.crops] == [(0, 0), (1, 0), (0, 1), (1, 1), (1, 2)]
    vectors = plan.job().vectors
    assert {model: rows.shape for model, rows in vectors.items()} == {0: (2, 4), 1: (3, 8)}


def test_a_model_without_crops_has_no_vectors() -> None:
    """Nothing is allocated for what is not asked."""
    plan = plan_of(ModelChoice(name="vehicle", class_ids=(2,)), ModelChoice(name="person"))
    add(plan, GOOD, class_id=2)
    add(plan, TINY, class_id=1)
    assert list(plan.job().vectors) == [ModelIndex(1)]


def test_the_filter_looks_at_the_source_frames_size() -> None:
    """Which is given with the box, and is not that of its pixels."""
    plan = plan_of(box_filter=BoxFilter(max_width=60))
    add(plan, GOOD, width=60.0)
    add(plan, GOOD, width=61.0)
    assert plan.fates == [0, BoxRefusal.FILTERED]


def test_a_tensor_is_a_box_of_its_own() -> None:
    """It needs no picture, and takes the next row of its model."""
    plan = plan_of(ModelChoice(name="vehicle", class_ids=(2,)), ModelChoice(name="person"))
    add(plan, GOOD)
    assert plan.add_tensor(ModelIndex(0), TENSOR) is None
    assert plan.add_tensor(ModelIndex(1), TENSOR) is None
    job = plan.job()
    assert plan.fates == [0, 1, 2]
    assert [(crop.model, crop.row) for crop in job.crops] == [(0, 0), (0, 1), (1, 0)]
    for index in (1, 2):
        crop = job.crop(index)
        assert isinstance(crop, TensorCrop)
        assert crop.tensor is TENSOR
    job.release()
    assert not job.tensors


@pytest.mark.parametrize("tensor", [TENSOR[:, :, :-1], TENSOR[np.newaxis], TENSOR.astype(np.float64)])
def test_a_tensor_of_another_shape_is_a_fault_of_its_frame(tensor: np.ndarray) -> None:
    """With what was given and what the model takes."""
    fault = plan_of().add_tensor(ModelIndex(0), tensor)
    assert fault is not None
    assert fault.reason is FaultReason.INVALID_ARGUMENT
    assert fault.message == (f"a tensor is {tensor.dtype} {tensor.shape}; model 'person' takes float32 (3, 256, 128)")


def test_a_cached_row_needs_no_crop_and_counts_for_the_answer() -> None:
    """Its vector goes out as any other; nothing is staged or embedded for it."""
    plan = plan_of(ModelChoice(name="vehicle", class_ids=(2,)), ModelChoice(name="person"))
    with pytest.raises(ValueError, match=r"shape \(7,\); the model's have \(8,\)"):
        plan.add_cached(
            CachedRow(
                model=ModelIndex(1), vector=np.zeros(7, np.float32), source_frame_id=1, source_age_ns=1, quality=1.0
            )
        )
    plan.add_cached(
        CachedRow(model=ModelIndex(1), vector=np.zeros(8, np.float32), source_frame_id=1, source_age_ns=1, quality=1.0)
    )
    add(plan, GOOD)
    assert (len(plan.crops), plan.rows, plan.vector_rows()) == (1, {0: 1}, {0: 1, 1: 1})
