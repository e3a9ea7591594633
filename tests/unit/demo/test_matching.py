"""Pairing and scoring on vectors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from demo.clips import PEOPLE, Clip
from demo.identify import identify
from demo.matching import Pair, Vectors, chance, mean_per_id, pair_up, rank1
from reidstream_client import FrameEmbeddings

Answers = tuple[list[FrameEmbeddings], list[FrameEmbeddings]]


def ids(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def table(*rows: tuple[float, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(rows, np.float32)


def test_a_mean_is_one_unit_vector_per_id() -> None:
    """Ids come ascending; each row is the direction of its vectors' sum, whatever their number."""
    mean = mean_per_id(Vectors(ids=ids(7, 3, 7), rows=table((1, 0), (0, 1), (0, 1))))
    assert mean.ids.tolist() == [3, 7]
    np.testing.assert_allclose(mean.rows, [(0, 1), (0.5**0.5, 0.5**0.5)], rtol=1e-6)


def test_vectors_that_cancel_out_have_no_direction() -> None:
    """Their mean stays zero, not NaN."""
    mean = mean_per_id(Vectors(ids=ids(1, 1), rows=table((1, 0), (-1, 0))))
    assert mean.rows.tolist() == [[0, 0]]


def test_a_mean_of_nothing_is_empty() -> None:
    """No vectors, no ids; the dimension is kept."""
    mean = mean_per_id(Vectors(ids=ids(), rows=np.zeros((0, 5), np.float32)))
    assert mean.ids.shape == (0,)
    assert mean.rows.shape == (0, 5)


def test_the_most_similar_pair_goes_first() -> None:
    """Row 0 loses its favourite to row 1, which likes it more, and takes what is left."""
    pairs = pair_up(table((0.8, 0.5), (0.9, 0.7)))
    assert [(pair.row, pair.column) for pair in pairs] == [(0, 1), (1, 0)]
    assert [pair.cosine for pair in pairs] == pytest.approx([0.5, 0.9])


def test_equals_go_to_the_lower_row_and_column() -> None:
    """A table of equal similarities is paired along its diagonal."""
    assert pair_up(np.full((3, 3), 0.5, np.float32)) == tuple(Pair(row=i, column=i, cosine=0.5) for i in range(3))


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 4), (4, 0), (2, 5), (5, 2)])
def test_nobody_is_paired_twice(rows: int, columns: int) -> None:
    """There are as many pairs as the shorter side has members, each row and column at most once."""
    similarity = np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)
    pairs = pair_up(similarity)
    assert len(pairs) == min(rows, columns)
    assert len({pair.row for pair in pairs}) == len({pair.column for pair in pairs}) == len(pairs)


def test_rank1_counts_queries_whose_nearest_is_right() -> None:
    """Two of three nearest columns have the row's id; of equals the first counts."""
    similarity = table((0.9, 0.1, 0.0), (0.5, 0.5, 0.0), (0.2, 0.3, 0.1))
    assert rank1(similarity, ids(4, 4, 5), ids(4, 6, 5)) == pytest.approx(2 / 3)


def test_who_is_not_in_the_gallery_is_no_query() -> None:
    """A person whom the other camera never sees can be found by nobody, and does not count."""
    assert rank1(table((1, 0), (0, 1)), ids(1, 9), ids(1, 2)) == 1.0
    assert chance(ids(1, 9), ids(1, 2)) == 0.5


def test_scores_of_nothing_are_zero() -> None:
    """No query, or no gallery: 0, not NaN and no error."""
    assert rank1(np.zeros((0, 3), np.float32), ids(), ids(1, 2, 3)) == 0.0
    assert rank1(np.zeros((2, 0), np.float32), ids(1, 2), ids()) == 0.0
    assert chance(ids(1), ids()) == 0.0


def test_perfect_vectors_identify_everybody(clips: tuple[Clip, Clip], answers: Answers) -> None:
    """Every track that both cameras see is paired with its own person, and the labels' order does not matter."""
    found = identify(clips, answers)
    both = set(clips[0].order) & set(clips[1].order)
    right = [pair for pair in found.pairs if found.right(pair)]
    assert len(right) == len(both) > 5
    assert found.tracks.rank1 == found.boxes.rank1 == 1.0
    assert found.tracks.chance == pytest.approx(1 / len(clips[1].order))
    assert found.tracks.queries == len(both)
    assert found.boxes.queries == sum(len(both.intersection(shot.people)) for shot in clips[0].shots)


def test_swapped_vectors_are_scored_as_wrong(clips: tuple[Clip, Clip], answers: Answers) -> None:
    """If a camera's model tells everybody for the next one, nobody is found: scores come from the truth."""
    for answer in answers[1]:
        answer.embeddings[:, :PEOPLE] = np.roll(answer.embeddings[:, :PEOPLE], 1, axis=1)
    found = identify(clips, answers)
    assert found.tracks.rank1 == found.boxes.rank1 == 0.0


def test_boxes_without_a_vector_are_left_out(clips: tuple[Clip, Clip], answers: Answers) -> None:
    """A box that was not embedded is no query and spoils no track's mean."""
    for answer in answers[0]:
        answer.valid[0] = False
        answer.embeddings[0] = 0
    found = identify(clips, answers)
    boxes = sum(len(shot.people) for shot in clips[0].shots)
    assert found.boxes.queries == boxes - len(clips[0].shots)
    assert found.boxes.rank1 == 1.0
