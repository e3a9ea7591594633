"""Answers of the server, right and wrong, on their way into arrays."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
import pytest

from reidstream_client import AgreedModel, ErrorReason, InvalidRequest, Outcome, ProtocolFault, SeveralModels
from reidstream_client.frames.results import parse_result
from reidstream_proto.v1 import frame_pb2
from tests.unit.client.scripted_server import DIM, OTHER_SPACE, SPACE, block, f32

MODEL = AgreedModel(name="scripted", version="0123456789ab", dim=DIM, space_id=SPACE)
OTHER = AgreedModel(name="other", version="x", dim=2, space_id=OTHER_SPACE, class_ids=(2,))
ROWS = np.arange(3 * DIM, dtype=np.float32).reshape(3, DIM)


def box(outcome: int, block_index: int | None = None, row: int | None = None) -> frame_pb2.BoxResult:
    return frame_pb2.BoxResult(
        outcome=frame_pb2.Outcome.ValueType(outcome), block=block_index, row=row, quality=0.0 if row is None else 0.75
    )


def answer(*boxes: frame_pb2.BoxResult) -> frame_pb2.FrameResult:
    return frame_pb2.FrameResult(frame_id=5, boxes=boxes, blocks=[block("scripted", ROWS)])


def test_rows_go_where_the_answer_says() -> None:
    """Rows are out of order and not all used; boxes without a vector stay zero and invalid."""
    message = answer(box(1, 0, 2), box(3), box(1, 0, 0), box(6))
    parsed = parse_result(message, boxes=4, models=[MODEL], round_trip_s=0.5)
    np.testing.assert_array_equal(parsed.embeddings, [ROWS[2], [0] * DIM, ROWS[0], [0] * DIM])
    assert parsed.embeddings.dtype == np.float32
    np.testing.assert_array_equal(parsed.valid, [True, False, True, False])
    np.testing.assert_array_equal(parsed.quality, f32([0.75, 0, 0.75, 0]))
    assert parsed.outcomes == (Outcome.EMBEDDED, Outcome.TOO_SMALL, Outcome.EMBEDDED, Outcome.FILTERED)
    assert (parsed.space_id, parsed.model, parsed.error, parsed.local) == (SPACE, MODEL, None, False)
    assert parsed.timing.round_trip_s == 0.5


def test_arrays_are_the_callers_to_change() -> None:
    """They are no views of the received message."""
    parsed = parse_result(answer(box(1, 0, 0)), boxes=1, models=[MODEL], round_trip_s=None)
    parsed.embeddings[0] = 9
    assert parsed.embeddings[0, 0] == 9


@pytest.mark.parametrize("unknown", [0, 99, -1, -2])
def test_an_outcome_that_we_do_not_know_is_failed_without_a_row(unknown: int) -> None:
    """Even if it names a row: nobody knows what the row would mean."""
    parsed = parse_result(answer(box(unknown, 0, 1), box(1, 0, 0)), boxes=2, models=[MODEL], round_trip_s=None)
    assert parsed.outcomes == (Outcome.UNKNOWN, Outcome.EMBEDDED)
    np.testing.assert_array_equal(parsed.embeddings, [[0] * DIM, ROWS[0]])
    assert parsed.valid.tolist() == [False, True]


def test_a_cached_box_names_the_frame_of_its_vector() -> None:
    """The others come from this frame."""
    cached = box(2, 0, 1)
    cached.source_frame_id = 3
    parsed = parse_result(answer(cached, box(1, 0, 0)), boxes=2, models=[MODEL], round_trip_s=None)
    assert parsed.source_frame_ids.tolist() == [3, 5]
    assert parsed.valid.all()


def test_half_precision_arrives_as_float32() -> None:
    """Two bytes a number on the wire, four in the array."""
    message = answer(box(1, 0, 1))
    message.blocks[0].dtype = frame_pb2.EMBEDDING_DTYPE_FLOAT16
    message.blocks[0].data = ROWS.astype("<f2").tobytes()
    parsed = parse_result(message, boxes=1, models=[MODEL], round_trip_s=None)
    assert parsed.embeddings.dtype == np.float32
    np.testing.assert_array_equal(parsed.embeddings, ROWS[1:2])


def test_a_vector_that_is_not_finite_fails_alone() -> None:
    """Half precision overflows; a tracker must never see it, and its neighbours are unharmed."""
    rows = ROWS.copy()
    rows[1, 2] = np.inf
    message = answer(box(1, 0, 0), box(1, 0, 1))
    message.blocks[0].data = rows.tobytes()
    parsed = parse_result(message, boxes=2, models=[MODEL], round_trip_s=None)
    assert parsed.outcomes == (Outcome.EMBEDDED, Outcome.FAILED)
    np.testing.assert_array_equal(parsed.embeddings, [ROWS[0], [0] * DIM])
    assert parsed.quality.tolist() == [0.75, 0]


def test_no_boxes_give_an_empty_matrix_of_the_models_width() -> None:
    """(0, D), not (0,) and not None."""
    parsed = parse_result(frame_pb2.FrameResult(frame_id=1), boxes=0, models=[MODEL], round_trip_s=None)
    assert parsed.embeddings.shape == (0, DIM)
    assert parsed.valid.shape == (0,)


def test_two_models_have_no_common_matrix() -> None:
    """Each box's vector is found under its own model; a model that embedded nothing has zeros."""
    message = frame_pb2.FrameResult(
        frame_id=1,
        boxes=[box(1, 1, 0), box(1, 0, 0), box(7)],
        blocks=[block("other", f32([[7, 8]]), space=OTHER_SPACE), block("scripted", ROWS)],
    )
    parsed = parse_result(message, boxes=3, models=[MODEL, OTHER], round_trip_s=None)
    with pytest.raises(SeveralModels, match="scripted, other"):
        _ = parsed.embeddings
    with pytest.raises(SeveralModels):
        _ = parsed.space_id
    np.testing.assert_array_equal(parsed.for_model("scripted").embeddings, [ROWS[0], [0] * DIM, [0] * DIM])
    np.testing.assert_array_equal(parsed.for_model("other").embeddings, [[0, 0], [7, 8], [0, 0]])
    assert [part.model.name for part in parsed.blocks] == ["scripted", "other"]
    assert parsed.valid.tolist() == [True, True, False]
    with pytest.raises(InvalidRequest, match="no model 'third'"):
        parsed.for_model("third")


def test_a_frames_error_is_data() -> None:
    """All boxes are without a vector, the matrix keeps its shape, and the retry hint is in seconds."""
    error = frame_pb2.FrameError(code=8, reason=frame_pb2.ERROR_REASON_DROPPED, message="late", retry_after_ms=250)
    parsed = parse_result(frame_pb2.FrameResult(frame_id=1, error=error), boxes=2, models=[MODEL], round_trip_s=None)
    assert parsed.error is not None
    assert (parsed.error.code, parsed.error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, ErrorReason.DROPPED)
    assert (parsed.error.message, parsed.error.retry_after_s) == ("late", 0.25)
    assert parsed.outcomes == (Outcome.FRAME_FAILED, Outcome.FRAME_FAILED)
    assert parsed.embeddings.shape == (2, DIM)
    assert not parsed.valid.any()


def test_an_error_that_we_do_not_know_stays_an_error() -> None:
    """A newer server's reason and code; without a retry hint."""
    error = frame_pb2.FrameError(code=77, reason=frame_pb2.ErrorReason.ValueType(99))
    parsed = parse_result(frame_pb2.FrameResult(frame_id=1, error=error), boxes=0, models=[MODEL], round_trip_s=None)
    assert parsed.error is not None
    assert (parsed.error.code, parsed.error.reason) == (grpc.StatusCode.UNKNOWN, ErrorReason.UNKNOWN)
    assert parsed.error.retry_after_s is None


def test_timing_is_in_seconds_and_what_did_not_happen_is_none() -> None:
    """A drop was decoded and sent, and never ran."""
    message = frame_pb2.FrameResult(frame_id=1, timing=frame_pb2.Timing(decoded_ns=2_000_000, sent_ns=5_000_000))
    timing = parse_result(message, boxes=0, models=[MODEL], round_trip_s=0.007).timing
    assert (timing.decoded_s, timing.sent_s) == (0.002, 0.005)
    assert (timing.first_batch_started_s, timing.queue_s, timing.inference_s, timing.reply_s) == (None,) * 4
    assert timing.network_s == pytest.approx(0.002)


def _break(change: Callable[[frame_pb2.FrameResult], object]) -> frame_pb2.FrameResult:
    message = answer(box(1, 0, 0), box(1, 0, 1))
    change(message)
    return message


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (answer(box(1, 0, 0)), "1 boxes, the frame had 2"),
        (answer(box(1, 0, 3), box(3)), "row 3 of block 0 for box 0"),
        (answer(box(3), box(1, 1, 0)), "row 0 of block 1 for box 1"),
        (answer(box(1), box(3)), "names no row for box 0"),
        (answer(box(1, 0), box(3)), "names no row for box 0"),
        (_break(lambda m: setattr(m.blocks[0], "count", 2)), "bytes for 2 rows"),
        (_break(lambda m: setattr(m.blocks[0], "count", 1 << 31)), "bytes for 2147483648 rows"),
        (_break(lambda m: setattr(m.blocks[0], "data", m.blocks[0].data[:-1])), "47 bytes for 3 rows of 4 float32"),
        (_break(lambda m: setattr(m.blocks[0], "dim", 6)), "with 6 numbers"),
        (_break(lambda m: setattr(m.blocks[0], "space_id", OTHER_SPACE)), "comes from space"),
        (_break(lambda m: setattr(m.blocks[0], "model", "stranger")), "'stranger', which was not agreed"),
        (_break(lambda m: setattr(m.blocks[0], "dtype", 9)), "unknown type, 9"),
        (_break(lambda m: m.blocks.append(m.blocks[0])), "two blocks of one model"),
        (_break(lambda m: m.error.SetInParent()), "has an error and also boxes"),
    ],
)
def test_what_the_contract_does_not_allow_is_a_fault(message: frame_pb2.FrameResult, complaint: str) -> None:
    """A vector under the wrong box is worse than none."""
    with pytest.raises(ProtocolFault, match=complaint):
        parse_result(message, boxes=2, models=[MODEL], round_trip_s=None)
