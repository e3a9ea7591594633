"""What a track keeps of its rows: exact sums, a vector that one wrong row does not turn, rows that stand for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_server.tracks.rows import LEAST_WEIGHT, MAX_KEPT, TrackRow, TrackRows, Vector
from reidstream_server.tracks.terms import TrackVector

DIM = 64
seeds = st.integers(0, 2**32 - 1)


def unit(vector: npt.ArrayLike) -> Vector:
    array = np.asarray(vector, np.float32)
    return np.asarray(array / np.linalg.norm(array), np.float32)


def person(seed: int) -> Vector:
    return unit(np.random.default_rng(seed).normal(size=DIM))


def rows_near(centre: Vector, count: int, seed: int, *, spread: float = 0.5) -> list[Vector]:
    """Unit rows of one person: the centre, and noise of a length of about `spread`."""
    noise = np.random.default_rng((seed, 1)).normal(size=(count, DIM)) * spread / DIM**0.5
    return [unit(centre + one) for one in noise]


def track(vectors: Sequence[Vector], qualities: Sequence[float] | None = None, **options: object) -> TrackRows:
    rows = TrackRows(dim=DIM, unit=True, vector_of=TrackVector.ROBUST)
    for name, value in options.items():
        setattr(rows, name, value)
    return fed(rows, vectors, qualities)


def fed(rows: TrackRows, vectors: Sequence[Vector], qualities: Sequence[float] | None = None) -> TrackRows:
    for number, vector in enumerate(vectors):
        quality = 0.5 if qualities is None else qualities[number]
        rows.add(TrackRow(vector=vector, frame_id=rows.count + 1, quality=quality, taken_ns=rows.count))
    return rows


@given(seeds, st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30))
def test_the_sum_is_that_of_rows_times_weights(seed: int, qualities: list[float]) -> None:
    """The weight is the quality, and never nothing."""
    vectors = rows_near(person(seed), len(qualities), seed)
    rows = track(vectors, qualities)
    weights = [max(quality, LEAST_WEIGHT) for quality in qualities]
    assert rows.count == len(qualities)
    assert rows.weight == pytest.approx(sum(weights), rel=1e-6)
    expected = np.sum([w * v.astype(np.float64) for w, v in zip(weights, vectors, strict=True)], axis=0)
    assert rows.total == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert rows.latest is not None
    assert (rows.latest.frame_id, rows.latest.quality) == (len(qualities), qualities[-1])
    assert rows.latest.vector.tolist() == vectors[-1].tolist()


@settings(deadline=None)
@given(seeds, st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20), st.data())
def test_a_track_that_moves_to_another_server_ends_with_the_same_bits(
    seed: int, qualities: list[float], data: st.DataObject
) -> None:
    """Wherever it is cut: sum, weight, vector and representatives are those of an unbroken track."""
    vectors = [*rows_near(person(seed), len(qualities) - 1, seed), person(seed + 1)]
    whole = track(vectors, qualities)
    cut = data.draw(st.integers(1, len(vectors) - 1))
    before = track(vectors[:cut], qualities[:cut])
    after = TrackRows(
        dim=DIM,
        unit=True,
        vector_of=TrackVector.ROBUST,
        total=np.frombuffer(before.total.tobytes(), "<f4").copy(),
        weight=before.weight,
        count=before.count,
        latest=before.latest,
        kept=tuple(replace(row, weight=float(np.float32(row.weight))) for row in before.kept),
    )
    fed(after, vectors[cut:], qualities[cut:])
    assert after.total.tobytes() == whole.total.tobytes()
    assert (after.weight, after.count) == (whole.weight, whole.count)
    assert after.vector().tobytes() == whole.vector().tobytes()
    assert [row.frame_id for row in after.kept] == [row.frame_id for row in whole.kept]
    assert [row.frame_id for row in after.representatives(3)] == [row.frame_id for row in whole.representatives(3)]


def test_a_row_is_copied() -> None:
    """So a frame's array is not kept alive, and nobody changes a track's row."""
    array = np.stack(rows_near(person(1), 2, 1))
    rows = track([array[0]])
    first = array[0].copy()
    array[:] = 0
    assert rows.latest is not None
    assert rows.latest.vector.tolist() == first.tolist() == rows.kept[0].vector.tolist()
    assert rows.latest.vector.base is None


@given(seeds, st.integers(5, 40), st.data())
def test_one_wrong_row_hardly_turns_the_vector(seed: int, count: int, data: st.DataObject) -> None:
    """Another person's crop, of the best quality, wherever in the track it comes: it is left out, wholly."""
    right = rows_near(person(seed), count, seed)
    place = data.draw(st.integers(0, count))
    qualities = [0.5] * count
    wrong = track(
        [*right[:place], person(seed + 1), *right[place:]], [*qualities[:place], 1.0, *qualities[place:]]
    ).vector()
    clean = track(right, qualities)
    odd = clean.left_out()
    expected = clean.vector() if odd is None else unit(clean.total)
    assert float(wrong @ expected) > 0.99999


def test_the_plain_mean_does_turn() -> None:
    """What the robust vector is for: the same wrong row moves a mean of six rows by a good deal."""
    vectors = [*rows_near(person(3), 5, 3), person(4)]
    clean = unit(np.sum(vectors[:5], axis=0))
    mean, robust = track(vectors, vector_of=TrackVector.MEAN), track(vectors)
    assert float(mean.vector() @ clean) < 0.99
    assert float(robust.vector() @ clean) > 0.99999


def test_a_mean_counts_each_row_the_same() -> None:
    """Whatever their quality; and nothing is left out."""
    vectors = [*rows_near(person(3), 5, 3), person(4)]
    rows = track(vectors, [0.1, 0.9, 0.4, 1.0, 0.3, 0.2], vector_of=TrackVector.MEAN)
    assert (rows.weight, rows.count) == (6.0, 6)
    assert rows.vector() == pytest.approx(unit(np.sum(vectors, axis=0)), abs=1e-6)


def test_rows_that_belong_together_are_all_in_the_vector() -> None:
    """The least fitting of a hundred rows of one person is left out in few tracks."""
    left_out = [track(rows_near(person(seed), 100, seed)).left_out() is not None for seed in range(50)]
    assert sum(left_out) <= 2


def test_two_people_in_equal_shares_are_no_odd_row() -> None:
    """A track that swapped people in the middle has no odd row: nobody can say which half is wrong."""
    vectors = [*rows_near(person(1), 10, 1, spread=0.2), *rows_near(person(2), 10, 2, spread=0.2)]
    assert track(vectors).left_out() is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_rows_are_all_counted(count: int) -> None:
    """Of three rows nobody can say that one is odd."""
    vectors = [*rows_near(person(1), count - 1, 1), person(2)]
    assert track(vectors).vector() == pytest.approx(unit(np.sum(vectors, axis=0)), abs=1e-6)


def test_rows_of_any_length_have_a_mean_of_any_length() -> None:
    """A model whose rows are not normalised: the weighted mean, with every row."""
    vectors = [np.asarray(5 * vector, np.float32) for vector in rows_near(person(1), 9, 1)]
    rows = track(vectors, [0.1, *[0.9] * 8], unit=False)
    expected = (0.1 * vectors[0] + 0.9 * np.sum(vectors[1:], axis=0)) / (0.1 + 0.9 * 8)
    assert rows.vector() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_rows_that_cancel_out_leave_the_newest_one() -> None:
    """A vector of length 0 has no direction."""
    one = unit([1.0] + [0.0] * (DIM - 1))
    assert track([one, -one]).vector().tolist() == (-one).tolist()


def test_a_track_without_a_row_has_no_vector() -> None:
    """Its end says so, without a block."""
    rows = track([])
    assert rows.representatives(3) == ()
    with pytest.raises(LookupError, match="no row"):
        rows.vector()


@given(seeds, st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40))
def test_at_most_four_rows_are_kept_and_the_best_is_among_them(seed: int, qualities: list[float]) -> None:
    """However many came: memory is bounded, and the best row is the first representative, unless it is odd."""
    vectors = rows_near(person(seed), len(qualities), seed)
    rows = track(vectors, qualities)
    assert len(rows.kept) == min(len(qualities), MAX_KEPT)
    assert max(row.weight for row in rows.kept) == pytest.approx(max(*qualities, LEAST_WEIGHT))
    assert rows.nbytes == 4 * DIM * (2 + len(rows.kept))
    if rows.left_out() is None:
        assert rows.representatives(1)[0].weight == max(row.weight for row in rows.kept)


def test_representatives_are_a_front_a_side_and_a_back() -> None:
    """Somebody turned round twice, most of the time seen from the front: each view has its row, the best one first."""
    front, side, back = (unit(person(1) + 0.8 * person(seed)) for seed in (2, 3, 4))
    views = [front] * 20 + [side] * 12 + [front] * 10 + [back] * 12 + [front] * 10
    rng = np.random.default_rng(0)
    vectors = [unit(view + rng.normal(size=DIM) * 0.15 / DIM**0.5) for view in views]
    qualities = [0.6] * len(vectors)
    qualities[35] = 0.9
    chosen = track(vectors, qualities).representatives(3)
    assert chosen[0].frame_id == 36
    nearest = {int(np.argmax([row.vector @ view for view in (front, side, back)])) for row in chosen}
    assert nearest == {0, 1, 2}


def test_a_wrong_row_is_no_representative() -> None:
    """It differs from all others most, which is why it must be looked for."""
    wrong = person(9)
    rows = track([*rows_near(person(1), 12, 1), wrong, *rows_near(person(1), 12, 2)])
    assert any(np.array_equal(row.vector, wrong) for row in rows.kept)
    chosen = rows.representatives(3)
    assert len(chosen) == 3
    assert not any(np.array_equal(row.vector, wrong) for row in chosen)


def test_as_many_representatives_as_asked_for_and_there_are() -> None:
    rows = track(rows_near(person(1), 2, 1))
    assert [len(rows.representatives(most)) for most in (0, 1, 2, 3)] == [0, 1, 2, 2]


def test_weights_are_those_that_a_snapshot_can_hold() -> None:
    """Its weights are floats of 32 bits; a double would make another sum on the next server."""
    rows = track(rows_near(person(1), 3, 1), [0.1, 0.2, 0.7])
    weights = [row.weight for row in rows.kept]
    assert weights == [float(np.float32(weight)) for weight in weights]
    assert weights[0] != 0.1
