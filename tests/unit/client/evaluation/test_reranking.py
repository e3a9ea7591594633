"""Re-ranking, compared with the paper's definition in whole matrices, and query expansion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reidstream_client import FileError, InvalidRequest
from reidstream_client.evaluation import Distance, Method, Protocol, Reranking, read_spec, run
from reidstream_client.evaluation.metrics.distances import prepare
from reidstream_client.evaluation.metrics.expansion import expanded
from reidstream_client.evaluation.metrics.reranking import reranked_blocks
from tests.unit.client.evaluation.plain import benchmark, pictures, plain_reranking

SETTINGS = [(20, 6, 0.3), (7, 1, 0.0), (5, 9, 0.1), (9, 2, 0.0), (3, 2, 1.0), (1, 1, 0.3)]


def people(seed: int, count: int, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of `count` pictures of a dozen people, and who they are."""
    draw = np.random.default_rng(seed)
    who = draw.integers(1, 13, count)
    return draw.normal(size=(13, dim))[who] + 0.6 * draw.normal(size=(count, dim)), who


@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize(("k1", "k2", "weight"), SETTINGS)
def test_it_is_the_papers(distance: Distance, k1: int, k2: int, weight: float) -> None:
    """To 1e-6, for usual and for unusual settings."""
    vectors, _ = people(k1 + k2, 130)
    query, gallery = prepare(vectors[:25], distance), prepare(vectors[25:], distance)
    blocks = reranked_blocks(query, gallery, Reranking(k1=k1, k2=k2, weight=weight))
    found = np.concatenate([-scores for _, scores in blocks(7)])
    plain = plain_reranking(query.values.astype(np.float64), gallery.values.astype(np.float64), k1, k2, weight)
    np.testing.assert_allclose(found, plain, atol=1e-6)


def test_it_helps_where_neighbours_agree() -> None:
    """And is named in the run; the plain figures stay what they were."""
    vectors, who = people(3, 400, dim=6)
    asked = benchmark(pictures(who[:60], prefix="q"), pictures(who[60:], prefix="g"), Protocol.ALL_CAMERAS)
    rows = vectors.astype(np.float32)
    plain = run(asked, rows[:60], rows[60:], Method(distance=Distance.COSINE))
    done: list[int] = []
    better = run(
        asked, rows[:60], rows[60:], Method(distance=Distance.COSINE, reranking=Reranking()), on_rows=done.append
    )
    assert better.figures["mAP"].value > plain.figures["mAP"].value
    assert sum(done) == 400 + 60


def test_pictures_that_are_all_alike_have_no_nan() -> None:
    """A network that collapsed gives the same vector for all."""
    rows = np.ones((30, 4), np.float32)
    blocks = reranked_blocks(prepare(rows[:5], Distance.COSINE), prepare(rows[5:], Distance.COSINE), Reranking())
    assert np.isfinite(np.concatenate([scores for _, scores in blocks(2)])).all()


def test_settings_that_make_no_sense_are_refused() -> None:
    """With what would."""
    for wrong in ({"k1": 0}, {"k2": 0}, {"weight": 1.5}):
        with pytest.raises(InvalidRequest, match="must be"):
            Reranking(**wrong)
    few = prepare(np.eye(4), Distance.COSINE)
    with pytest.raises(InvalidRequest, match="need 21 pictures, and there are 8"):
        reranked_blocks(few, few, Reranking())


def test_a_query_is_averaged_with_its_nearest() -> None:
    """Of length 1 again under cosine."""
    query = prepare(np.array([[1.0, 0.0]]), Distance.COSINE)
    gallery = prepare(np.array([[0.0, 1.0], [0.8, 0.6], [-1.0, 0.0]]), Distance.COSINE)
    found = expanded(query, gallery, 1).values[0]
    np.testing.assert_allclose(found, np.array([0.9, 0.3]) / np.hypot(0.9, 0.3), rtol=1e-6)
    plain = expanded(prepare([[1.0, 0.0]], Distance.EUCLIDEAN), prepare([[3.0, 1.0]], Distance.EUCLIDEAN), 1)
    assert plain.values.tolist() == [[2.0, 0.5]]
    with pytest.raises(InvalidRequest, match="must be 1 to 3"):
        expanded(query, gallery, 4)


def test_the_block_of_an_experiment_file_is_read(tmp_path: Path) -> None:
    """And only this block; what is unknown in it is named."""
    pytest.importorskip("yaml")
    spec = tmp_path / "experiment.yaml"
    text = "model:\n  backbone: resnet_50\nre_ranking:\n  re_ranking: True\n  k1: 25\n  k2: 7\n  lambda_value: 0.4\n"
    spec.write_text(text, encoding="utf-8")
    assert read_spec(spec) == Reranking(k1=25, k2=7, weight=0.4)
    spec.write_text("re_ranking:\n  k1: 25\n", encoding="utf-8")
    assert read_spec(spec) == Reranking(k1=25)
    spec.write_text(text.replace("re_ranking: True", "re_ranking: False"), encoding="utf-8")
    assert read_spec(spec) is None
    for wrong, said in (
        (text.replace("k1: 25", "k1: many"), "k1 and k2 must be whole numbers, not 'many'"),
        (text.replace("k1: 25", "k3: 25"), "has k3; known are k1, k2, lambda_value, re_ranking"),
        (text.replace("lambda_value: 0.4", "lambda_value: 4"), "lambda must be 0 to 1"),
        ("model: {}\n", "has no block re_ranking"),
        ("a: [1\n", "is no YAML"),
    ):
        spec.write_text(wrong, encoding="utf-8")
        with pytest.raises(FileError, match=said):
            read_spec(spec)
