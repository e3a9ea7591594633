"""A job and its outcomes become a message: rows are counted anew, and nothing is said that did not happen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_engines.image import PixelBox
from reidstream_proto.v1 import frame_pb2, model_pb2, session_pb2
from reidstream_server.core.effects import Answer, FrameTimes, SendDrain
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.core.terms import DrainReason, ModelIndex, SessionKey
from reidstream_server.identity.access import Caller
from reidstream_server.intake.box_answers import Embedded, box_answers
from reidstream_server.intake.limits import PublishedLimits, WindowLimits
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import BoxRefusal, CachedRow, CropIndex, CropPlan, FrameJob, allocate_vectors
from reidstream_server.runtime.session import JobAnswer
from reidstream_server.transport.embedding.answers import drain, frame_result, session_opened
from reidstream_server.transport.embedding.models import limits_message
from reidstream_server.transport.embedding.options import parse_session
from tests.support.models import table_of

MODELS = table_of([FakeEngine(fake_spec("person", dim=3)), FakeEngine(fake_spec("vehicle", dim=2))])
PERSON, VEHICLE = ModelIndex(0), ModelIndex(1)
OK, BAD, FAILED = CropOutcome.EMBEDDED, CropOutcome.INVALID_IMAGE, CropOutcome.FAILED
EMBEDDED = frame_pb2.OUTCOME_EMBEDDED
BOTH = [session_pb2.ModelChoice(name="vehicle", class_ids=[2]), session_pb2.ModelChoice()]
LIMITS = PublishedLimits(**{field.name: 100 + i for i, field in enumerate(fields(PublishedLimits))})


def agree(**fields: object) -> tuple[session_pb2.SessionOpen, Agreement]:
    """An opening and what was agreed; fields of EmbedOptions by name."""
    options = session_pb2.EmbedOptions(camera_id="c", **fields)  # type: ignore[arg-type]  # fields of many types
    message = session_pb2.SessionOpen(session_id=b"0123456789abcdef", epoch=3, options=options)
    window = WindowLimits(max_frames=8, max_bytes=100, default_frames=4)
    return message, parse_session(
        message, caller=Caller(client="", source="connection of the test"), models=MODELS, window=window
    )


def job_of(models: Sequence[ModelIndex], boxes: Sequence[int | BoxRefusal | CachedRow], **fields: object) -> FrameJob:
    """A job whose i-th crop has the vector (10 i, 10 i + 1, ...)."""
    pixels = PixelBox(x1=0, y1=0, x2=9, y2=9)
    crops = [
        CropPlan(image=0, box=pixels, model=model, row=list(models[:i]).count(model), quality=i / 10)
        for i, model in enumerate(models)
    ]
    vectors = allocate_vectors(Counter(models), {PERSON: 3, VEHICLE: 2})
    fates = [CropIndex(box) if isinstance(box, int) else box for box in boxes]
    agreement = agree(models=BOTH, **fields)[1]
    job = FrameJob(
        agreement=agreement,
        ready_crops=False,
        images=(),
        cuts=(),
        fates=fates,
        crops=crops,
        vectors=vectors,
    )
    for index, model in enumerate(models):
        job.store(index, np.arange(3 - model, dtype=np.float32) + 10 * index)
    return job


def times(**fields: int) -> FrameTimes:
    known = {"arrived_ns": 100, "age_ns": 0, "staging_ns": 0, "decoded_ns": 0, "first_batch_ns": 0, "last_batch_ns": 0}
    return FrameTimes(**known | fields, batch_sizes=(4, 1))


def answer(
    job: FrameJob | None, outcomes: Sequence[CropOutcome] = (), fault: FrameFault | None = None
) -> frame_pb2.FrameResult:
    whole = Answer(
        session=SessionKey(1), frame_id=2**64 - 1, payload=job, fault=fault, outcomes=tuple(outcomes), times=times()
    )
    return frame_result(whole)


def rows(result: frame_pb2.FrameResult, dtype: str = "<f4") -> list[list[float] | None]:
    """Each box's vector, where the answer says that it is."""
    found: list[list[float] | None] = []
    for box in result.boxes:
        if not box.HasField("row"):
            assert not box.HasField("block")
            found.append(None)
            continue
        block = result.blocks[box.block]
        found.append(np.frombuffer(block.data, dtype).reshape(block.count, block.dim)[box.row].tolist())
    return found


def test_every_box_has_its_vector_and_every_block_its_model() -> None:
    """In box order, whatever model a box went to."""
    result = answer(job_of([PERSON, VEHICLE, PERSON], [0, 1, 2]), [OK] * 3)
    assert rows(result) == [[0, 1, 2], [10, 11], [20, 21, 22]]
    assert [box.quality for box in result.boxes] == pytest.approx([0.0, 0.1, 0.2])
    assert [(block.model, block.dim, block.count) for block in result.blocks] == [("person", 3, 2), ("vehicle", 2, 1)]
    spec = MODELS.models[VEHICLE].spec
    assert (result.blocks[1].version, result.blocks[1].space_id) == (spec.version, spec.space_id)
    assert {block.dtype for block in result.blocks} == {frame_pb2.EMBEDDING_DTYPE_FLOAT32}
    assert (result.frame_id, result.HasField("error")) == (2**64 - 1, False)


def test_rows_without_a_vector_are_left_out() -> None:
    """What is in between closes up, and what could not be computed is not sent."""
    boxes: list[int | BoxRefusal | CachedRow] = [BoxRefusal.TOO_SMALL, 0, 1, BoxRefusal.FILTERED, 2, 3]
    result = answer(job_of([PERSON] * 4, boxes), [FAILED, OK, BAD, OK])
    assert rows(result) == [None, None, [10, 11, 12], None, None, [30, 31, 32]]
    assert [box.row for box in result.boxes if box.HasField("row")] == [0, 1]
    assert [box.quality for box in result.boxes if not box.HasField("row")] == [0.0] * 4


def test_a_model_that_embedded_nothing_has_no_block() -> None:
    """And the next one's block is the first."""
    result = answer(job_of([PERSON, VEHICLE], [0, 1]), [FAILED, OK])
    assert [block.model for block in result.blocks] == ["vehicle"]
    assert rows(result) == [None, [10, 11]]
    assert not answer(job_of([PERSON, VEHICLE], [0, 1]), [FAILED, FAILED]).blocks


def cached(model: ModelIndex, *numbers: float) -> CachedRow:
    vector = np.array(numbers, np.float32)
    return CachedRow(model=model, vector=vector, source_frame_id=4, source_age_ns=7, quality=0.5)


def test_a_cached_row_stands_among_those_that_were_embedded_now() -> None:
    """In box order, with the frame that it was computed for; rows without a vector close up around it."""
    boxes: list[int | BoxRefusal | CachedRow] = [
        cached(PERSON, 7, 8, 9),
        0,
        cached(VEHICLE, 5, 6),
        1,
        cached(PERSON, 1, 2, 3),
        BoxRefusal.FILTERED,
    ]
    result = answer(job_of([PERSON, PERSON], boxes), [FAILED, OK])
    assert rows(result) == [[7, 8, 9], None, [5, 6], [10, 11, 12], [1, 2, 3], None]
    assert [frame_pb2.Outcome.Name(box.outcome).removeprefix("OUTCOME_") for box in result.boxes] == [
        *("CACHED", "FAILED", "CACHED", "EMBEDDED", "CACHED", "FILTERED"),
    ]
    sources = [box.source_frame_id if box.HasField("source_frame_id") else None for box in result.boxes]
    assert sources == [4, None, 4, None, 4, None]
    assert [(block.model, block.count) for block in result.blocks] == [("person", 3), ("vehicle", 1)]
    assert result.boxes[0].quality == 0.5
    assert [box.source_age_ns for box in result.boxes if box.HasField("source_age_ns")] == [7, 7, 7]


FATES = st.sampled_from([PERSON, VEHICLE, "cached", BoxRefusal.FILTERED, BoxRefusal.INVALID_BOX])


@given(fates=st.lists(FATES, max_size=12), data=st.data())
def test_the_blocks_say_what_other_doors_are_told(fates: list[object], data: st.DataObject) -> None:
    """Box by box the same vector, quality and source, whatever became of the others."""
    crops = [fate for fate in fates if isinstance(fate, int)]
    counted = count()
    boxes: list[object] = []
    for fate in fates:
        known = cached(VEHICLE, len(boxes), 2.0) if fate == "cached" else fate
        boxes.append(next(counted) if isinstance(fate, int) else known)
    job = job_of([ModelIndex(model) for model in crops], boxes)  # type: ignore[arg-type]  # of three kinds
    outcomes = tuple(data.draw(st.sampled_from((OK, OK, BAD, FAILED))) for _ in crops)
    whole = Answer(session=SessionKey(1), frame_id=1, payload=job, fault=None, outcomes=outcomes, times=times())
    result = frame_result(whole)
    told = list(box_answers(whole))
    assert [box.vector.tolist() if isinstance(box, Embedded) else None for box in told] == rows(result)
    for box, said in zip(told, result.boxes, strict=True):
        if isinstance(box, Embedded):
            assert result.blocks[said.block].model == box.model.name
            assert said.quality == pytest.approx(box.quality)
            assert (said.source_frame_id if said.HasField("source_frame_id") else None) == box.source_frame_id
        else:
            assert frame_pb2.Outcome.Name(said.outcome) == f"OUTCOME_{box.name}"


def test_a_frame_may_be_answered_with_cached_rows_only() -> None:
    """Nothing is embedded, and the client has its vectors; they are rounded as all others are."""
    job = job_of([], [cached(VEHICLE, 1, 2), cached(VEHICLE, 3, 4)], dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT16)
    assert rows(answer(job), "<f2") == [[1, 2], [3, 4]]


def test_float16_is_rounded_from_float32() -> None:
    """Little-endian, half the bytes."""
    job = job_of([PERSON], [0], dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT16)
    job.store(0, np.array([0.1, -0.25, 1 / 3], dtype=np.float32))
    result = answer(job, [OK])
    assert result.blocks[0].dtype == frame_pb2.EMBEDDING_DTYPE_FLOAT16
    assert rows(result, "<f2") == [np.array([0.1, -0.25, 1 / 3], dtype=np.float16).tolist()]


@pytest.mark.parametrize("refusal", BoxRefusal)
def test_every_refusal_is_an_outcome_of_the_same_name(refusal: BoxRefusal) -> None:
    """With neither row nor quality."""
    (box,) = answer(job_of([], [refusal])).boxes
    assert frame_pb2.Outcome.Name(box.outcome) == f"OUTCOME_{refusal.name}"
    assert (box.HasField("row"), box.quality) == (False, 0.0)


@pytest.mark.parametrize("outcome", CropOutcome)
def test_every_outcome_of_a_crop_is_one_of_the_same_name(outcome: CropOutcome) -> None:
    """Only EMBEDDED has a row."""
    (box,) = answer(job_of([PERSON], [0]), [outcome]).boxes
    assert frame_pb2.Outcome.Name(box.outcome) == f"OUTCOME_{outcome.name}"
    assert box.HasField("row") == (box.outcome == EMBEDDED)


@pytest.mark.parametrize("reason", FaultReason)
def test_a_fault_is_told_alone(reason: FaultReason) -> None:
    """No box and no block beside it, also where some crops were done."""
    result = answer(job_of([PERSON], [0]), (), FrameFault(reason=reason, message="why"))
    assert (result.error.message, len(result.boxes), len(result.blocks)) == ("why", 0, 0)
    assert frame_pb2.ErrorReason.Name(result.error.reason) == f"ERROR_REASON_{reason.name}"
    assert answer(None, (), FrameFault(reason=reason, message="why")).error == result.error


def test_times_are_counted_from_arrival() -> None:
    """What did not happen is 0, whenever the frame arrived."""
    whole: JobAnswer = Answer(
        session=SessionKey(1),
        frame_id=1,
        payload=None,
        fault=None,
        outcomes=(),
        times=times(arrived_ns=1000, decoded_ns=1500, last_batch_ns=4000),
    )
    timing = frame_result(whole).timing
    assert (timing.decoded_ns, timing.first_batch_started_ns, timing.last_batch_ended_ns) == (500, 0, 3000)
    assert list(timing.batch_sizes) == [4, 1]
    assert 0 < timing.sent_ns <= time.monotonic_ns() - 1000


def test_an_opening_is_answered_with_what_was_agreed() -> None:
    """Never with "unspecified"; the models in the order of the choices."""
    choices = [
        session_pb2.ModelChoice(name="vehicle", class_ids=[2, 3]),
        session_pb2.ModelChoice(),
    ]
    message, agreement = agree(models=choices, latency_budget_ms=250)
    opened = session_opened(message, agreement, limits_message(LIMITS))
    assert (opened.session_id, opened.epoch) == (message.session_id, 3)
    said = {field.name: value for field, value in opened.limits.ListFields()}
    assert said == asdict(LIMITS)
    assert set(said) == set(model_pb2.Limits.DESCRIPTOR.fields_by_name)
    assert [(model.name, model.dim, list(model.class_ids)) for model in opened.models] == [
        ("vehicle", 2, [2, 3]),
        ("person", 3, []),
    ]
    assert opened.models[0].space_id == MODELS.models[VEHICLE].spec.space_id
    assert (opened.window.frames, opened.window.bytes) == (4, 100)
    assert opened.latency_budget_ms == 250
    assert (opened.priority, opened.ordering) == (session_pb2.PRIORITY_NORMAL, session_pb2.ORDERING_IN_ORDER)
    assert opened.overload_policy == session_pb2.OVERLOAD_POLICY_WAIT
    assert opened.dtype == frame_pb2.EMBEDDING_DTYPE_FLOAT32


@pytest.mark.parametrize("name", ["priority", "dtype", "ordering", "overload_policy"])
def test_every_choice_is_answered_as_it_was_made(name: str) -> None:
    """There and back, for every member of every enum."""
    for number in range(1, 3):
        message, _ = agree()
        setattr(message.options if name in ("priority", "dtype") else message, name, number)
        window = WindowLimits(max_frames=8, max_bytes=100, default_frames=4)
        agreement = parse_session(
            message, caller=Caller(client="", source="connection of the test"), models=MODELS, window=window
        )
        assert getattr(session_opened(message, agreement, limits_message(LIMITS)), name) == number


def test_without_a_budget_none_is_answered() -> None:
    """Absent is not zero."""
    message, agreement = agree()
    assert not session_opened(message, agreement, limits_message(LIMITS)).HasField("latency_budget_ms")


@pytest.mark.parametrize("reason", DrainReason)
def test_a_drain_names_its_reason_and_the_last_frame(reason: DrainReason) -> None:
    """Without a frame there is none; a deadline that has passed is now."""
    past = drain(SendDrain(session=SessionKey(1), last_accepted_frame_id=None, deadline_ns=0, reason=reason))
    assert session_pb2.DrainReason.Name(past.reason) == f"DRAIN_REASON_{reason.name}"
    assert (past.HasField("last_accepted_frame_id"), past.deadline_ms) == (False, 0)
    deadline = time.monotonic_ns() + 3_600_000_000_000
    later = drain(SendDrain(session=SessionKey(1), last_accepted_frame_id=0, deadline_ns=deadline, reason=reason))
    assert (later.HasField("last_accepted_frame_id"), later.last_accepted_frame_id) == (True, 0)
    assert 3_000_000 < later.deadline_ms <= 3_600_000
