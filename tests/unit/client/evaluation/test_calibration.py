"""A threshold from labels and from a recorded stream: its rate, its interval, and whose vectors it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import FileError, SpaceMismatch
from reidstream_client.evaluation.calibration import (
    calibrate,
    from_labels,
    from_streams,
    read_threshold,
    write_threshold,
)
from reidstream_client.evaluation.calibration.groups import seen_apart
from reidstream_client.evaluation.calibration.pairs import genuine, impostor_scores, impostors
from reidstream_client.evaluation.calibration.threshold import _at_rate

SPACE = "1:" + "a" * 64
Vectors = npt.NDArray[np.float32]


def crowd(seed: int, people: int, pictures: int = 12, dim: int = 16) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Vectors of people, some of whom look alike, as (pictures of 1, pictures of 2, ...)."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(people, dim))
    who = np.repeat(np.arange(people), pictures)
    return (centres[who] + 0.5 * draw.normal(size=(len(who), dim))).astype(np.float32), who + 1


def stream(path: Path, vectors: Vectors, who: npt.NDArray[np.int64], **changed: Any) -> Path:
    """Everybody in every frame, side by side."""
    frame = np.zeros(len(who), np.int64)
    for person in np.unique(who):
        frame[who == person] = np.arange((who == person).sum())
    left = who * 100.0
    arrays = {
        "frame": frame,
        "box_xyxy": np.stack([left, left * 0, left + 50, left * 0 + 100], axis=1).astype(np.float32),
        "track_id": who,
        "valid": np.ones(len(who), np.bool_),
        "embedding": vectors,
        "space_id": np.array(SPACE),
        "model": np.array("osnet"),
    }
    np.savez(path, **{**arrays, **changed})
    return path


def test_the_rate_at_the_threshold_is_the_wanted_one() -> None:
    """Counted over all pairs, one by one; and the errors of the other kind, too."""
    vectors, who = crowd(1, 40)
    found = calibrate(from_labels(vectors, who, space_id=SPACE, model="m"), 0.01)
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    left, right = np.triu_indices(len(who), 1)
    scores = (rows @ rows.T)[left, right]
    two = who[left] != who[right]
    assert (scores[two] >= found.threshold).mean() == pytest.approx(0.01, abs=1e-4) == found.false_match_rate
    assert (scores[~two] < found.threshold).mean() == pytest.approx(found.false_non_match_rate)
    assert found.impostor_pairs == two.sum()
    assert found.genuine_pairs == (~two).sum()
    assert found.low < found.threshold < found.high
    assert found.false_match_rate_low < 0.01 < found.false_match_rate_high


def test_the_intervals_hold_what_other_people_give() -> None:
    """Of 100 crowds of the same kind, nine in ten thresholds let as many pass of a large crowd as the interval says."""
    everybody = np.sort(impostor_scores(from_labels(*crowd(0, 400, 4), space_id=SPACE, model="m"))[2])
    held = 0
    for seed in range(1, 101):
        found = calibrate(from_labels(*crowd(seed, 40), space_id=SPACE, model="m"), 0.01, draws=200)
        rate = 1 - np.searchsorted(everybody, found.threshold) / len(everybody)
        held += int(found.false_match_rate_low <= rate <= found.false_match_rate_high)
    assert held >= 90


def test_a_person_who_is_drawn_twice_counts_twice() -> None:
    """A pair counts as often as both of its people were drawn, as if each of these were there."""
    vectors, who = crowd(6, 8, pictures=3)
    pairs = impostors(from_labels(vectors, who, space_id=SPACE, model="m"), 0.2)
    times = np.array([0, 1, 2, 3, 1, 0, 2, 1])
    often = np.repeat(pairs.scores, times[pairs.first] * times[pairs.second])
    total = int(times @ pairs.counts @ times)
    threshold = _at_rate(pairs, times.astype(np.float64), 0.2)
    assert total == len(often)  # all pairs were kept
    assert (often >= threshold).sum() <= 0.2 * total < (often >= threshold - 1e-3).sum() + times.max() ** 2
    assert _at_rate(pairs, np.ones(8), 0.2) != threshold


def test_a_recorded_stream_gives_the_threshold_of_its_labels(tmp_path: Path) -> None:
    """Where everybody meets everybody, exactly."""
    vectors, who = crowd(2, 30)
    labelled = calibrate(from_labels(vectors, who, space_id=SPACE, model="osnet"), 0.01)
    recorded = calibrate(from_streams([stream(tmp_path / "s.npz", vectors, who)]), 0.01)
    assert recorded.threshold == labelled.threshold
    assert (recorded.origin, labelled.origin) == ("recorded stream", "labels")


def test_tracks_are_two_people_only_if_they_were_seen_apart() -> None:
    """In one frame; two boxes on one person say nothing, and neither do tracks that never met."""
    frames = np.array([1, 1, 1, 2, 2, 3])
    tracks = np.array([0, 1, 2, 0, 3, 4])
    boxes = np.array(
        [[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [0, 0, 10, 10], [9, 0, 19, 10], [0, 0, 10, 10]], np.float32
    )
    apart = seen_apart(frames, boxes, tracks)
    assert (apart == apart.T).all()
    assert {(a, b) for a, b in zip(*np.nonzero(apart), strict=True) if a < b} == {(0, 2), (1, 2), (0, 3)}


def test_a_long_track_counts_as_others_do() -> None:
    """At most twenty pictures, from its beginning to its end."""
    vectors, who = crowd(3, 12, pictures=200)
    groups = from_labels(vectors, who, space_id=SPACE, model="m")
    assert np.bincount(groups.people).tolist() == [20] * 12
    assert impostors(groups, 0.5).total == 66 * 400
    assert len(genuine(groups)) == 12 * 190


def test_what_cannot_tell_is_refused(tmp_path: Path) -> None:
    """Too few people, too few pairs for the rate, no tracks, files of two spaces, another file."""
    vectors, who = crowd(4, 12)
    with pytest.raises(FileError, match="only 5 people are known to differ"):
        calibrate(from_labels(vectors[:60], who[:60], space_id=SPACE, model="m"), 0.01)
    with pytest.raises(
        FileError, match=r"9504 pairs of two people cannot tell a false-match rate of 0\.0001.* 0\.0011"
    ):
        calibrate(from_labels(vectors, who, space_id=SPACE, model="m"), 0.0001)
    path = tmp_path / "s.npz"
    with pytest.raises(FileError, match="has no track ids"):
        from_streams([stream(path, vectors, who, track_id=np.full(len(who), -1))])
    other = stream(tmp_path / "o.npz", vectors, who, space_id=np.array("1:" + "b" * 64))
    with pytest.raises(SpaceMismatch, match=r"s\.npz has vectors of the space 1:a+ and .*o\.npz of 1:b+"):
        from_streams([stream(path, vectors, who), other])
    np.savez(path, embedding=vectors)
    with pytest.raises(FileError, match="has no frame, box_xyxy, track_id, valid, space_id"):
        from_streams([path])
    with pytest.raises(FileError, match="no picture has an identity"):
        from_labels(vectors, np.zeros(len(who), np.int64), space_id=SPACE, model="m")


def test_a_threshold_is_for_one_space(tmp_path: Path) -> None:
    """What was written is read back; vectors of another space are refused, and so are other files."""
    path = tmp_path / "threshold.json"
    found = calibrate(from_labels(*crowd(5, 20), space_id=SPACE, model="m"), 0.01)
    write_threshold(path, found)
    assert read_threshold(path, space_id=SPACE) == found
    with pytest.raises(
        SpaceMismatch, match=r"the threshold is of the space 1:a+ .model m., and the vectors are of 1:b"
    ):
        read_threshold(path, space_id="1:b")
    written = json.loads(path.read_text(encoding="utf-8"))
    for text, said in (
        ("{", "is no JSON"),
        ("{}", "is no threshold"),
        (json.dumps({**written, "threshold": "high"}), "threshold is 'high', and must be a number"),
        (json.dumps({**written, "reidstream-threshold": 2}), "or of a newer version"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(FileError, match=said):
            read_threshold(path, space_id=SPACE)
