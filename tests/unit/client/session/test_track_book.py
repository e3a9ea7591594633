"""What a session tells the next server of its tracks: made of answers alone, and of how time passes here."""

from __future__ import annotations

import numpy as np
import pytest

from reidstream_client import AgreedModel, ProtocolFault, TrackEndCause, TrackEnded
from reidstream_client.frames.tracked_boxes import TrackedBox
from reidstream_client.session.track_book import TrackBook
from reidstream_proto.v1 import frame_pb2, image_pb2, session_pb2
from tests.unit.client.scripted_server import DIM, SPACE, block, f32

MODELS = (AgreedModel(name="scripted", version="0123456789ab", dim=DIM, space_id=SPACE),)
EMBEDDED, CACHED, FAILED = frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_CACHED, frame_pb2.OUTCOME_FAILED
LOST, SMALL = frame_pb2.OUTCOME_SOURCE_LOST, frame_pb2.OUTCOME_TOO_SMALL
RECT = (1.0, 2.0, 3.0, 4.0)


def boxes(*track_ids: int, rect: tuple[float, float, float, float] = RECT) -> list[TrackedBox]:
    return [TrackedBox(index, track_id, rect) for index, track_id in enumerate(track_ids)]


def answer(
    frame_id: int, *outcomes: frame_pb2.Outcome.ValueType, tracks: tuple[int, ...] = ()
) -> frame_pb2.FrameResult:
    """The i-th box's row is all i + 1; snapshots of `tracks`, each of one row."""
    rows = np.array([[i + 1] * DIM for i in range(len(outcomes))], np.float32).reshape(-1, DIM)
    with_row = {EMBEDDED, CACHED}
    return frame_pb2.FrameResult(
        frame_id=frame_id,
        boxes=[
            frame_pb2.BoxResult(outcome=outcome, block=0, row=i, quality=0.5)
            if outcome in with_row
            else frame_pb2.BoxResult(outcome=outcome)
            for i, outcome in enumerate(outcomes)
        ],
        blocks=[block("scripted", rows)],
        tracks=[
            frame_pb2.TrackSnapshot(
                track_id=track_id,
                sum=block("scripted", f32([[9] * DIM])),
                weight=0.5,
                count=1,
                first_frame_id=frame_id,
                last_frame_id=frame_id,
            )
            for track_id in tracks
        ],
    )


def ended(track_id: int, cause: TrackEndCause = TrackEndCause.CLIENT, *, last_frame_id: int = 99) -> TrackEnded:
    return TrackEnded(
        track_id=track_id,
        cause=cause,
        first_frame_id=0,
        last_frame_id=last_frame_id,
        count=0,
        weight=0.0,
        model=None,
        vector=None,
        total=None,
        representatives=f32(np.zeros((0, 0))),
        representative_frame_ids=np.zeros(0, np.uint64),
    )


def open_tracks(book: TrackBook, now_s: float = 0.0) -> dict[int, frame_pb2.TrackSnapshot]:
    options = session_pb2.TrackOptions(timeout_ms=1)
    book.write_to(options, now_s)
    book.write_to(options, now_s)  # whatever was written before is replaced
    return {track.track_id: track for track in options.open_tracks}


def test_a_track_goes_on_with_its_newest_row_and_box() -> None:
    """The row lies in the answer; the server need not know when the frame was taken here, so ages are ours."""
    book = TrackBook()
    book.answered(answer(5, EMBEDDED, EMBEDDED, tracks=(7,)), boxes(8, 7), 10.0, MODELS)
    (track,) = open_tracks(book, 12.0).values()
    assert np.frombuffer(track.latest.data, "<f4").tolist() == [2] * DIM
    assert (track.latest.dim, track.latest.count, track.latest.dtype) == (DIM, 1, frame_pb2.EMBEDDING_DTYPE_FLOAT32)
    assert (track.latest.model, track.latest.version, track.latest.space_id) == ("", "", "")
    assert (track.sum.space_id, track.count, track.weight) == (SPACE, 1, 0.5)
    assert (track.latest_frame_id, track.latest_quality, track.latest_age_ns) == (5, 0.5, 2_000_000_000)
    assert (track.last_box.x1, track.last_box.y2, track.last_age_ns) == (1, 4, 2_000_000_000)


def test_a_cached_box_moves_its_track_on_and_changes_no_row() -> None:
    """Whoever decides about the next box looks at the newest one, and at the frame of the newest row."""
    book = TrackBook()
    book.answered(answer(5, EMBEDDED, tracks=(7,)), boxes(7), 10.0, MODELS)
    book.answered(answer(6, CACHED), boxes(7, rect=(5, 6, 7, 8)), 11.0, MODELS)
    (track,) = open_tracks(book, 12.0).values()
    assert (track.latest_frame_id, track.last_frame_id, track.first_frame_id, track.count) == (5, 6, 5, 1)
    assert (track.latest_age_ns, track.last_age_ns, track.last_box.x1) == (2_000_000_000, 1_000_000_000, 5)


@pytest.mark.parametrize("outcome", [FAILED, LOST])
def test_a_track_without_a_row_goes_on_too(outcome: frame_pb2.Outcome.ValueType) -> None:
    """It has begun, so it must end; there is nothing in it but its box."""
    book = TrackBook()
    book.answered(answer(5, outcome, SMALL), boxes(7, 8), 10.0, MODELS)
    (track,) = open_tracks(book, 10.5).values()
    assert (track.track_id, track.count, track.HasField("sum"), track.latest_age_ns) == (7, 0, False, 0)
    assert (track.last_box.x1, track.last_age_ns) == (1, 500_000_000)


def test_a_box_without_a_track_at_the_server_is_none_here() -> None:
    """An embedded box without a snapshot: the server had no room for its track. Cached boxes have one."""
    book = TrackBook()
    book.answered(answer(5, EMBEDDED), boxes(7), 10.0, MODELS)
    assert open_tracks(book) == {}


def test_of_two_boxes_with_one_id_the_first_has_the_track() -> None:
    """As the server takes them; one that could not be embedded does not count."""
    book = TrackBook()
    book.answered(answer(5, SMALL, EMBEDDED, EMBEDDED, tracks=(7,)), boxes(7, 7, 7), 10.0, MODELS)
    (track,) = open_tracks(book).values()
    assert np.frombuffer(track.latest.data, "<f4").tolist() == [2] * DIM


def test_a_frame_with_an_error_moves_its_tracks_on_unless_the_server_gave_it_up() -> None:
    """What it gives up because it leaves is decided anew elsewhere."""
    book = TrackBook()
    book.answered(answer(5, EMBEDDED, tracks=(7,)), boxes(7), 10.0, MODELS)
    for reason, where in (("DROPPED", 5), ("SHUTTING_DOWN", 5), ("ENGINE_LOST", 5), ("OVER_BUDGET", 6)):
        error = frame_pb2.FrameError(reason=frame_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}"))
        rect = (5, 6, 7, 8) if reason == "DROPPED" else (6, 6, 7, 8)
        book.answered(frame_pb2.FrameResult(frame_id=6, error=error), boxes(7, 8, rect=rect), 11.0, MODELS)
        (track,) = open_tracks(book, 11.0).values()
        assert (track.last_box.x1, track.last_frame_id) == (where, 5)


def test_a_track_that_has_ended_is_gone_and_the_next_one_of_its_id_is_not() -> None:
    """An end is told behind the answer to its last frame, so a later track cannot be meant."""
    book = TrackBook()
    book.answered(answer(5, EMBEDDED, tracks=(7,)), boxes(7), 10.0, MODELS)
    assert len(book) == 1
    book.ended(ended(7, last_frame_id=5))
    assert len(book) == 0
    book.answered(answer(6, EMBEDDED, tracks=(7,)), boxes(7), 10.0, MODELS)
    book.ended(ended(7, TrackEndCause.TIMEOUT, last_frame_id=5))
    book.ended(ended(8))
    assert len(book) == 1


def test_an_end_keeps_its_place_between_the_frames_on_every_stream() -> None:
    """Behind frame 4 and before frame 5, until a server has confirmed it."""
    book = TrackBook()
    book.asked(5, [7, 8])
    assert book.next_ends(4) is None
    first = book.next_ends(5)
    assert first is not None
    assert [*first.track_ids] == [7, 8]
    first.sent = True
    assert (book.next_ends(5), book.next_ends(None)) == (None, None)
    book.answered(answer(4, EMBEDDED, tracks=(7,)), boxes(7), 10.0, MODELS)
    book.ended(ended(7))
    book.start_over()
    again = book.next_ends(None)
    assert again is not None
    assert [*again.track_ids] == [8]
    book.ended(ended(8))
    assert book.next_ends(None) is None


def test_an_end_that_names_nothing_open_is_done_with_the_next_answer() -> None:
    """Sent again behind that frame, it would end the track that began there."""
    book = TrackBook()
    book.asked(5, [7])
    book.answered(answer(5, EMBEDDED, tracks=(7,)), boxes(7), 10.0, MODELS)
    assert book.next_ends(None) is None


@pytest.mark.parametrize("reason", ["SHUTTING_DOWN", "ENGINE_LOST"])
def test_a_frame_that_the_server_gave_up_confirms_no_end(reason: str) -> None:
    """The end behind it is another server's to tell."""
    book = TrackBook()
    book.asked(5, [7])
    error = frame_pb2.FrameError(reason=frame_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}"))
    book.answered(frame_pb2.FrameResult(frame_id=5, error=error), [], 10.0, MODELS)
    assert book.next_ends(None) is not None


def test_a_time_out_confirms_no_end_that_was_asked_for() -> None:
    """It may be of a track before; one that is not open is ignored by the next server."""
    book = TrackBook()
    book.asked(5, [7])
    book.ended(ended(7, TrackEndCause.TIMEOUT))
    assert book.next_ends(None) is not None


def test_two_ends_of_one_id_are_confirmed_one_by_one() -> None:
    """Each belongs to a track of its own."""
    book = TrackBook()
    book.asked(5, [7])
    book.asked(6, [7])
    book.ended(ended(7))
    left = book.next_ends(None)
    assert left is not None
    assert left.before == 6


def test_what_a_leaving_server_names_is_taken_where_no_answer_has_told_of_it() -> None:
    """What the answers told is as new, and knows the times better."""
    book = TrackBook()
    book.answered(answer(5, EMBEDDED, tracks=(7,)), boxes(7), 10.0, MODELS)
    named = [
        frame_pb2.TrackSnapshot(track_id=7, count=1, latest_age_ns=9_000_000_000),
        frame_pb2.TrackSnapshot(track_id=8, last_age_ns=1_000_000_000, last_box=image_pb2.Rect(x1=1)),
    ]
    book.drained(named, 20.0)
    found = open_tracks(book, 21.0)
    assert found.keys() == {7, 8}
    assert (found[7].latest_age_ns, found[8].last_age_ns) == (11_000_000_000, 2_000_000_000)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (answer(5, CACHED, tracks=(7,)), "snapshot of track 7, and no new row of it"),
        (answer(5, EMBEDDED, tracks=(9,)), "snapshot of track 9, and no new row of it"),
        (answer(5, tracks=(7,)), "snapshot of track 7, and no new row of it"),
    ],
)
def test_a_snapshot_of_nothing_breaks_the_contract(message: frame_pb2.FrameResult, complaint: str) -> None:
    """Taken as it is, it would be carried to the next server."""
    with pytest.raises(ProtocolFault, match=complaint):
        TrackBook().answered(message, boxes(7), 10.0, MODELS)


def test_a_snapshot_of_another_space_breaks_the_contract() -> None:
    """Nor may its sum have more rows than one."""
    other = answer(5, EMBEDDED, tracks=(7,))
    other.tracks[0].sum.space_id = "1:other"
    with pytest.raises(ProtocolFault, match="track 7 in the answer to frame 5 comes from space '1:other'"):
        TrackBook().answered(other, boxes(7), 10.0, MODELS)
    several = answer(5, EMBEDDED, tracks=(7,))
    several.tracks[0].sum.CopyFrom(block("scripted", f32([[1] * DIM] * 2)))
    with pytest.raises(ProtocolFault, match="has 2 rows, and should have one"):
        TrackBook().answered(several, boxes(7), 10.0, MODELS)
    nowhere = answer(5, EMBEDDED, tracks=(7,))
    nowhere.boxes[0].row = 9
    with pytest.raises(ProtocolFault, match="is of a row that is not there"):
        TrackBook().answered(nowhere, boxes(7), 10.0, MODELS)
