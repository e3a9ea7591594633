"""Rank-k, mAP, mINP and CMC, compared with their plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

from reidstream_client import FileError, InvalidRequest
from reidstream_client.evaluation import DISTRACTOR, JUNK, Distance, Method, Protocol, run
from reidstream_client.evaluation.metrics.distances import prepare
from reidstream_client.evaluation.metrics.neighbours import nearest
from reidstream_client.evaluation.metrics.ranking import plain_blocks, rank
from reidstream_client.evaluation.metrics.retrieval import cmc, figures_of, means
from reidstream_client.evaluation.running import digest_of
from tests.unit.client.evaluation.plain import benchmark, pictures, plain_distances, plain_figures

COSINE = Method(distance=Distance.COSINE)
SIGNS = np.array([[a, b, c, d] for a in (1, -1) for b in (1, -1) for c in (1, -1) for d in (1, -1)], np.float32)


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_the_definition(protocol: Protocol, distance: Distance, seed: int) -> None:
    """With junk, distractors, equal scores and queries that nothing matches. Vectors whose products are exact."""
    draw = np.random.default_rng(seed)
    query = pictures([*draw.integers(1, 8, 19), 9], draw.integers(1, 4, 20), prefix="q")
    gallery = pictures(draw.integers(JUNK, 8, 90), draw.integers(1, 4, 90), prefix="g")
    asked = benchmark(query, gallery, protocol)
    assert asked.junk == (gallery.identities == JUNK).sum() > 0
    kept = gallery.identities != JUNK
    # Of length 2 or of whole numbers: every product is exact, so what is equal is equal.
    draws = (
        (lambda n: SIGNS[draw.integers(0, 16, n)])
        if distance is Distance.COSINE
        else (lambda n: draw.integers(-2, 3, (n, 4)).astype(np.float32))
    )
    queries, galleries = draws(20), draws(90)[kept]
    ranks = rank(asked, plain_blocks(prepare(queries, distance), prepare(galleries, distance)))
    figures = figures_of(ranks)
    plain = plain_figures(asked, plain_distances(queries, galleries, cosine=distance is Distance.COSINE))
    assert (figures.first_rank + 1).tolist() == plain.first
    np.testing.assert_allclose(figures.average_precision, plain.precision, rtol=1e-12)
    np.testing.assert_allclose(figures.inverse_penalty, plain.penalty, rtol=1e-12)
    assert 0 in plain.first
    assert ranks.tied.any()
    matched = [first for first in plain.first if first]
    assert means(figures)["rank-5"] == pytest.approx(np.mean([first <= 5 for first in matched]))
    assert cmc(figures, 7).tolist() == pytest.approx([np.mean([f <= k for f in matched]) for k in range(1, 8)])


def test_a_query_does_not_find_itself() -> None:
    """It is in the gallery under the same name; all of its other pictures count."""
    everything = pictures([1, 1, 2, 2])
    asked = benchmark(everything, everything, Protocol.ALL_CAMERAS)
    out = run(asked, np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), COSINE)
    assert out.ranks.candidates.tolist() == [3, 3, 3, 3]
    assert out.queries.first_rank.tolist() == [0, 0, 1, 1] or out.ranks.tied.all()


def test_the_best_answers_are_nearest_first_without_hidden_ones() -> None:
    """As gallery rows; fewer than ten are filled up with -1."""
    gallery = pictures([1, 1, 2, 3], [1, 2, 1, 1], prefix="g")
    asked = benchmark(pictures([1], [1], prefix="q"), gallery)
    rows = np.array([[1, 0], [0.6, 0.8], [0.8, 0.6], [0, 1]], np.float32)
    out = run(asked, rows[:1], rows, COSINE)
    assert out.ranks.best[0].tolist() == [2, 1, 3] + [-1] * 7
    assert out.figures["rank-1"].value == 0
    assert out.figures["mAP"].value == 0.5


def test_a_distractor_is_wrong_and_junk_is_nobody() -> None:
    """The same ranking, with the nearest picture once as the one and once as the other."""
    rows = np.array([[1, 0.01], [1, 0.2]], np.float32)
    for label, precision in ((DISTRACTOR, 0.5), (JUNK, 1.0)):
        asked = benchmark(pictures([1], [1], prefix="q"), pictures([label, 1], [2, 2], prefix="g"))
        out = run(asked, np.array([[1, 0]], np.float32), rows[-len(asked.gallery) :], COSINE)
        assert out.figures["mAP"].value == precision


def test_what_has_no_figure_is_refused_by_name() -> None:
    """Before anything is compared: NaN, zero vectors, other lengths, too few vectors, nothing right to find."""
    query, gallery = pictures([1, 2], [1, 1], prefix="q"), pictures([1, 2, 3], [2, 2, 2], prefix="g")
    asked = benchmark(query, gallery)
    good, more = np.ones((2, 3), np.float32), np.ones((3, 3), np.float32)
    wrong = more.copy()
    wrong[1, 2] = np.nan
    with pytest.raises(FileError, match=r"of g1\.jpg has a number that is not finite"):
        run(asked, good, wrong, COSINE)
    wrong[1] = 0
    with pytest.raises(FileError, match=r"of g1\.jpg is zero, and has no cosine"):
        run(asked, good, wrong, COSINE)
    assert run(asked, good, wrong, Method(distance=Distance.EUCLIDEAN)).figures["rank-20"].value == 1
    with pytest.raises(FileError, match="vectors of 3 numbers and the gallery of 4"):
        run(asked, good, np.ones((3, 4), np.float32), COSINE)
    with pytest.raises(FileError, match="2 pictures in the queries, and 3 vectors"):
        run(asked, more, more, COSINE)
    with pytest.raises(FileError, match=r"q1\.jpg of the queries of test has no picture"):
        run(benchmark(query, pictures([1, 2], [2, 1], prefix="g")), good, good, COSINE)
    with pytest.raises(FileError, match="gallery of test is empty"):
        benchmark(query, pictures([JUNK], prefix="g"))
    with pytest.raises(FileError, match=r"q0\.jpg of the queries of test has identity 0 or -1"):
        benchmark(pictures([0, 1], prefix="q"), gallery)
    with pytest.raises(InvalidRequest, match="confidence must be"):
        Method(distance=Distance.COSINE, confidence=95)


def test_runs_are_alike_only_if_all_that_was_asked_is_alike() -> None:
    """Names, identities, cameras and protocol, of queries and of the gallery."""
    query, gallery = pictures([1, 2], [1, 1], prefix="q"), pictures([1, 2, 3], [2, 2, 2], prefix="g")
    others = [
        benchmark(query, gallery, Protocol.ALL_CAMERAS),
        benchmark(pictures([1, 1], [1, 1], prefix="q"), gallery),
        benchmark(query, pictures([1, 2, 2], [2, 2, 2], prefix="g")),
        benchmark(query, pictures([1, 2, 3], [2, 2, 3], prefix="g")),
        benchmark(query, pictures([1, 2, 3], [2, 2, 2], prefix="h")),
    ]
    assert digest_of(benchmark(query, gallery)) == digest_of(benchmark(query, gallery))
    assert len({digest_of(one) for one in [benchmark(query, gallery), *others]}) == 6


def test_blocks_do_not_change_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """One query at a time or all at once."""
    draw = np.random.default_rng(1)
    asked = benchmark(
        pictures(draw.integers(1, 5, 30), prefix="q"),
        pictures(draw.integers(0, 5, 70), prefix="g"),
        Protocol.ALL_CAMERAS,
    )
    rows = prepare(draw.normal(size=(100, 8)), Distance.COSINE)
    query, gallery = prepare(rows.values[:30], Distance.COSINE), prepare(rows.values[30:], Distance.COSINE)
    whole = rank(asked, plain_blocks(query, gallery))
    monkeypatch.setattr("reidstream_client.evaluation.metrics.ranking._BLOCK_BYTES", 1)
    done: list[int] = []
    single = rank(asked, plain_blocks(query, gallery), done.append)
    assert (whole.ranks == single.ranks).all()
    assert done == [1] * 30


@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize("rows", [30, 3000])
def test_the_nearest_are_those_of_a_stable_sort(distance: Distance, rows: int) -> None:
    """Of few rows and of many, where groups give the bound; with many equal scores."""
    draw = np.random.default_rng(rows)
    values = SIGNS[draw.integers(0, 16, rows)] if distance is Distance.COSINE else draw.integers(-2, 3, (rows, 4))
    prepared = prepare(values, distance)
    lists, farthest = nearest(prepared, 21)
    own = prepared.values.astype(np.float64)
    squared = (own**2).sum(axis=1)[:, None] + (own**2).sum(axis=1)[None] - 2 * own @ own.T
    assert (lists == np.argsort(squared, axis=1, kind="stable")[:, :21]).all()
    np.testing.assert_allclose(farthest, squared.max(axis=1), rtol=1e-6)
