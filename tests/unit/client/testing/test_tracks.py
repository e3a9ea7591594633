"""Tracks at a fake server. Nothing but the client is imported, as in its users' tests."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import (
    EmbedAtIntervals,
    EmbeddingDtype,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    EmbedPolicy,
    ErrorReason,
    FrameEmbeddings,
    ModelChoice,
    Outcome,
    Session,
    SessionDrained,
    SessionEvent,
    TrackEndCause,
    TrackEnded,
    TrackOptions,
)
from reidstream_client.testing import FakeServer, ReceivedBox, ReceivedFrame

FRAME = np.zeros((100, 200, 3), np.uint8)
BOX = [[10.0, 10.0, 50.0, 90.0]]
E, C = Outcome.EMBEDDED, Outcome.CACHED


def by_frame(frame: ReceivedFrame, box: ReceivedBox) -> npt.ArrayLike:
    return [1.0 + frame.frame_id, 1.0 + box.index, 1.0]


def split(events: list[SessionEvent]) -> tuple[list[FrameEmbeddings], list[TrackEnded]]:
    answers = [event for event in events if isinstance(event, FrameEmbeddings)]
    return answers, [event for event in events if isinstance(event, TrackEnded)]


def outcomes(answers: list[FrameEmbeddings]) -> list[Outcome]:
    return [answer.outcomes[0] for answer in answers]


def run(session: Session[SessionEvent], frames: int) -> tuple[list[FrameEmbeddings], list[TrackEnded]]:
    """One box of track 7 in each, and a hundred seconds between them."""
    now = time.monotonic()
    for number in range(frames):
        session.send(FRAME, BOX, track_ids=[7], captured_monotonic=now - 100 * (frames - number))
    session.finish()
    return split([*session])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (EmbedEveryFrame(), [E] * 7),
        (EmbedOnce(), [E] + [C] * 6),
        (EmbedAtIntervals(frames=3), [E, C, C, E, C, C, E]),
        (EmbedAtIntervals(seconds=150), [E, C, E, C, E, C, E]),
        (EmbedAtIntervals(frames=4, seconds=250), [E, C, C, E, C, C, E]),
        (EmbedOnRisk(max_age_s=250), [E, C, C, E, C, C, E]),
    ],
    ids=repr,
)
def test_the_policy_says_which_boxes_are_embedded(policy: EmbedPolicy, expected: list[Outcome]) -> None:
    """A cached box has the row of the frame that it names, and costs no inference."""
    with (
        FakeServer(dim=3, embed=by_frame) as server,
        server.client() as client,
        client.stream(tracks=TrackOptions(embed=policy)) as session,
    ):
        answers, ends = run(session, 7)
    assert outcomes(answers) == expected
    for answer in answers:
        source = answers[int(answer.source_frame_ids[0])]
        assert source.outcomes == (E,)
        assert (answer.embeddings == source.embeddings).all()
        age_s = 100 * (answer.frame_id - source.frame_id)
        assert answer.source_ages_s[0] == pytest.approx(age_s, abs=50)
        assert answer.timing.batch_sizes == ((1,) if answer.outcomes == (E,) else ())
    (end,) = ends
    assert (end.track_id, end.cause, end.count) == (7, TrackEndCause.SESSION, expected.count(E))
    assert (end.first_frame_id, end.last_frame_id, end.weight) == (0, 6, expected.count(E))
    rows = [answer.embeddings[0] for answer in answers if answer.outcomes == (E,)]
    assert end.total is not None
    assert end.vector is not None
    np.testing.assert_allclose(end.total, np.sum(rows, axis=0), rtol=1e-6)
    np.testing.assert_allclose(end.vector, np.sum(rows, axis=0) / np.linalg.norm(np.sum(rows, axis=0)), rtol=1e-6)
    assert end.space_id == answers[0].space_id


MOVES: list[tuple[list[list[float]], list[float], Outcome]] = [
    ([[10, 10, 50, 90]], BOX[0], C),
    ([[15, 15, 55, 95]], BOX[0], C),
    ([[35, 10, 75, 90]], BOX[0], E),  # aside
    ([[10, 60, 50, 140]], BOX[0], E),  # along
    ([[10, 10, 70, 90]], BOX[0], E),  # wider
    ([[10, 10, 50, 60]], BOX[0], E),  # lower
    ([[10, 10, 50, 90], [10, 10, 50, 60]], BOX[0], E),  # hidden by another one
    ([[10, 10, 50, 90], [45, 10, 85, 90]], BOX[0], C),
]


@pytest.mark.parametrize(("boxes", "last", "expected"), MOVES)
def test_a_box_at_risk_is_embedded(boxes: list[list[float]], last: list[float], expected: Outcome) -> None:
    """It has moved, has another size, or overlaps another one; the defaults are published."""
    with (
        FakeServer() as server,
        server.client() as client,
        client.stream(tracks=TrackOptions(embed=EmbedOnRisk(max_shift=0.6, max_size_ratio=1.4))) as session,
    ):
        session.send(FRAME, [last], track_ids=[7])
        session.send(FRAME, boxes, track_ids=[7, -1][: len(boxes)])
        session.finish()
        answers, _ = split([*session])
        assert session.opened.tracks == TrackOptions(
            embed=EmbedOnRisk(max_overlap=0.5, max_size_ratio=1.4, max_shift=0.6, min_quality_gain=0.1, max_age_s=1.0)
        )
    assert answers[1].outcomes[0] is expected


def test_boxes_without_a_track_are_embedded() -> None:
    """Also the second one of an id, since a track has one box in a frame."""
    with (
        FakeServer() as server,
        server.client() as client,
        client.stream(tracks=TrackOptions(embed=EmbedOnce())) as session,
    ):
        for _ in range(2):
            session.send(FRAME, BOX * 3, track_ids=[7, -1, 7])
        session.finish()
        answers, ends = split([*session])
    assert answers[1].outcomes == (C, E, E)
    assert answers[1].cached.tolist() == [True, False, False]
    (end,) = ends
    assert end.count == 1
    assert server.sessions[0].tracks == TrackOptions(embed=EmbedOnce())


def test_an_ended_track_comes_behind_the_answers_to_its_frames() -> None:
    """Though it was ended while they were held; the same id in a later frame is a new track."""
    with (
        FakeServer() as server,
        server.client() as client,
        client.stream(tracks=TrackOptions(embed=EmbedOnce(), representatives=2)) as session,
    ):
        server.hold()
        session.send(FRAME, BOX, track_ids=[7])
        session.end_tracks([7, 8])
        session.send(FRAME, BOX, track_ids=[7])
        server.wait_for_frames(2)
        assert session.take() == []
        server.release()
        session.finish()
        events = [*session]
    told = [event.cause.name if isinstance(event, TrackEnded) else event.frame_id for event in events]
    assert told == [0, "CLIENT", 1, "SESSION"]
    answers, ends = split(events)
    assert outcomes(answers) == [E, E]
    assert [end.representative_frame_ids.tolist() for end in ends] == [[0], [1]]
    assert (ends[0].representatives[0] == answers[0].embeddings[0]).all()


def test_time_is_what_the_test_says() -> None:
    """All tracks, or those that are named; the next box begins another one."""
    with (
        FakeServer() as server,
        server.client() as client,
        client.stream(tracks=TrackOptions(embed=EmbedOnce(), timeout_s=0.001)) as session,
    ):
        session.send(FRAME, BOX * 3, track_ids=[7, 8, 9])
        assert isinstance(next(session), FrameEmbeddings)
        server.time_out_tracks(8)
        server.time_out_tracks()
        session.send(FRAME, BOX, track_ids=[8])
        session.finish()
        answers, ends = split([*session])
    assert outcomes(answers) == [E]
    timed_out = [(8, "TIMEOUT"), (7, "TIMEOUT"), (9, "TIMEOUT"), (8, "SESSION")]
    assert [(end.track_id, end.cause.name) for end in ends] == timed_out


def test_a_box_of_another_model_begins_another_track() -> None:
    """Rows of two models have no sum."""
    choices = [ModelChoice(name="person", class_ids=(0,)), ModelChoice(name="vehicle", class_ids=(1,))]
    with (
        FakeServer(models=["person", "vehicle"]) as server,
        server.client(models=choices) as client,
        client.stream(tracks=TrackOptions(embed=EmbedOnce())) as session,
    ):
        for class_id in (0, 1, 1):
            session.send(FRAME, BOX, track_ids=[7], class_ids=[class_id])
        session.finish()
        answers, ends = split([*session])
    assert outcomes(answers) == [E, E, C]
    assert [(end.cause.name, end.model.name) for end in ends if end.model is not None] == [
        ("MODEL_CHANGED", "person"),
        ("SESSION", "vehicle"),
    ]


def test_a_row_is_cached_as_it_was_answered() -> None:
    """Rounded to half precision once, and not once more."""
    with (
        FakeServer() as server,
        server.client(dtype=EmbeddingDtype.FLOAT16) as client,
        client.stream(tracks=TrackOptions(embed=EmbedOnce())) as session,
    ):
        answers, ends = run(session, 2)
    assert outcomes(answers) == [E, C]
    assert (answers[0].embeddings == answers[1].embeddings).all()
    assert ends[0].total is not None
    assert (ends[0].total == answers[0].embeddings[0]).all()


def test_a_track_whose_boxes_get_no_row_ends_without_one() -> None:
    """A failed box is one all the same; the next one is embedded. A frame that is failed is no frame of a track."""

    def embed(frame: ReceivedFrame, box: ReceivedBox) -> npt.ArrayLike | Outcome:
        del box
        return Outcome.SOURCE_LOST if frame.frame_id else Outcome.FAILED

    with FakeServer(dim=3, embed=embed) as server, server.client() as client:
        server.fail_frames(ErrorReason.INVALID_IMAGE, frame_ids=[2])
        with client.stream(tracks=TrackOptions(embed=EmbedOnce())) as session:
            answers, ends = run(session, 3)
    assert outcomes(answers) == [Outcome.FAILED, Outcome.SOURCE_LOST, Outcome.FRAME_FAILED]
    (end,) = ends
    assert (end.count, end.vector, end.model) == (0, None, None)


def test_a_drained_stream_ends_no_track() -> None:
    """Another one may go on with them."""
    with (
        FakeServer() as server,
        server.client() as client,
        client.stream(tracks=TrackOptions()) as session,
    ):
        session.send(FRAME, BOX, track_ids=[7])
        assert isinstance(next(session), FrameEmbeddings)
        server.drain()
        with pytest.raises(SessionDrained, match="tracks that have not ended: 1"):
            next(session)


def test_a_session_that_resumes_goes_on_with_its_tracks() -> None:
    """The server has nothing of them but what it is told."""
    with (
        FakeServer() as server,
        server.client() as client,
        client.resuming_stream(tracks=TrackOptions(embed=EmbedOnce())) as session,
    ):
        session.send(FRAME, BOX, track_ids=[7])
        first = next(session)
        server.cut()
        session.send(FRAME, BOX, track_ids=[7])
        session.finish()
        answers, ends = split([first, *session])
    assert outcomes(answers) == [E, C]
    assert (answers[0].embeddings == answers[1].embeddings).all()
    assert [(end.track_id, end.count, end.last_frame_id) for end in ends] == [(7, 1, 1)]
    assert [opened.open_tracks for opened in server.sessions] == [(), (7,)]


def test_many_frames_in_one_line() -> None:
    """Ends come with the answers."""
    frames = [(FRAME, BOX)] * 3
    with FakeServer() as server, server.client() as client:
        assert [*map(type, client.embed_many(frames, tracks=TrackOptions()))] == [FrameEmbeddings] * 3


def test_the_clock_is_looked_at_and_not_waited_for() -> None:
    """A frame's time is when it was taken, not when it came."""
    with (
        FakeServer() as server,
        server.client() as client,
        client.stream(tracks=TrackOptions(embed=EmbedAtIntervals(seconds=750))) as session,
    ):
        now = time.monotonic()
        for ago in (2000, 1500, 1000, 500):
            session.send(FRAME, BOX, track_ids=[7], captured_monotonic=now - ago)
        session.finish()
        answers, _ = split([*session])
    assert outcomes(answers) == [E, C, E, C]
