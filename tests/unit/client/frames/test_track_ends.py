"""The end of a track, right and wrong, on its way into arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reidstream_client import AgreedModel, ProtocolFault, TrackEndCause
from reidstream_client.frames.track_ends import parse_track_ended
from reidstream_proto.v1 import frame_pb2, session_pb2
from tests.unit.client.scripted_server import DIM, OTHER_SPACE, SPACE, block, f32

MODEL = AgreedModel(name="scripted", version="0123456789ab", dim=DIM, space_id=SPACE)
OTHER = AgreedModel(name="other", version="x", dim=2, space_id=OTHER_SPACE, class_ids=(2,))


def message() -> session_pb2.TrackEnded:
    return session_pb2.TrackEnded(
        track=frame_pb2.TrackSnapshot(
            track_id=7,
            sum=block("scripted", f32([[2, 4, 6, 8]])),
            weight=1.5,
            count=2,
            first_frame_id=3,
            last_frame_id=5,
        ),
        cause=session_pb2.TRACK_END_CAUSE_TIMEOUT,
        vector=block("scripted", f32([[1, 2, 3, 4]])),
        representatives=block("scripted", f32([[1] * DIM, [2] * DIM])),
        representative_frame_ids=[3, 5],
    )


def test_an_end_has_the_tracks_vector_and_its_best_rows() -> None:
    """The arrays are the caller's; the sum is not normalised."""
    track = parse_track_ended(message(), [OTHER, MODEL])
    assert (track.track_id, track.cause, track.count, track.weight) == (7, TrackEndCause.TIMEOUT, 2, 1.5)
    assert (track.first_frame_id, track.last_frame_id) == (3, 5)
    assert (track.model, track.space_id) == (MODEL, SPACE)
    assert track.vector is not None
    assert track.total is not None
    assert track.vector.tolist() == [1, 2, 3, 4]
    assert track.total.tolist() == [2, 4, 6, 8]
    assert track.representatives.tolist() == [[1] * DIM, [2] * DIM]
    assert track.representative_frame_ids.tolist() == [3, 5]
    track.vector[0] = track.representatives[0, 0] = 9
    assert repr(track) == "TrackEnded(track_id=7, TIMEOUT, frames=3 to 5, count=2)"


def test_a_track_that_never_got_a_row_has_no_vector() -> None:
    """None, and not zeros that could be compared."""
    bare = session_pb2.TrackEnded(track=frame_pb2.TrackSnapshot(track_id=7), cause=session_pb2.TRACK_END_CAUSE_SESSION)
    track = parse_track_ended(bare, [MODEL])
    assert (track.count, track.vector, track.total, track.model, track.space_id) == (0, None, None, None, None)
    assert len(track.representatives) == len(track.representative_frame_ids) == 0


def test_without_representatives_there_are_none() -> None:
    """Rows of the model's length, so that they can be joined with those of other tracks."""
    said = message()
    said.ClearField("representatives")
    del said.representative_frame_ids[:]
    assert parse_track_ended(said, [MODEL]).representatives.shape == (0, DIM)


@pytest.mark.parametrize("cause", [0, 99])
def test_a_cause_that_we_do_not_know_is_one_all_the_same(cause: int) -> None:
    """A newer server may have more of them."""
    said = message()
    said.cause = session_pb2.TrackEndCause.ValueType(cause)
    assert parse_track_ended(said, [MODEL]).cause is TrackEndCause.UNKNOWN


def _other_model(said: session_pb2.TrackEnded) -> None:
    said.vector.CopyFrom(block("other", f32([[1, 2]]), space=OTHER_SPACE))


def _other_space(said: session_pb2.TrackEnded) -> None:
    said.vector.space_id = OTHER_SPACE


def _no_vector(said: session_pb2.TrackEnded) -> None:
    said.ClearField("vector")


def _two_rows(said: session_pb2.TrackEnded) -> None:
    said.track.sum.CopyFrom(block("scripted", f32([[1] * DIM] * 2)))


def _frame_of_nothing(said: session_pb2.TrackEnded) -> None:
    said.representative_frame_ids.append(9)


def _rows_of_none(said: session_pb2.TrackEnded) -> None:
    said.track.count = 0


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_other_model, "track 7 has a vector of model 'other', not of 'scripted'"),
        (_other_space, "the end of track 7 comes from space '1:bbb"),
        (_no_vector, "the end of track 7 comes from model '', which was not agreed"),
        (_two_rows, "the end of track 7: its sum has 2 rows, and should have one"),
        (_frame_of_nothing, "names 3 frames for 2 representatives"),
        (_rows_of_none, "the end of track 7 has a vector of no rows"),
    ],
)
def test_what_breaks_the_contract_is_named(spoil: Callable[[session_pb2.TrackEnded], None], complaint: str) -> None:
    """A vector of another track or space is worse than none."""
    said = message()
    spoil(said)
    with pytest.raises(ProtocolFault, match=complaint):
        parse_track_ended(said, [MODEL, OTHER])


def test_the_arrays_are_single_precision() -> None:
    """Whatever the session's own dtype is."""
    track = parse_track_ended(message(), [MODEL])
    assert {array.dtype for array in (track.vector, track.total, track.representatives) if array is not None} == {
        np.dtype(np.float32)
    }
