"""The measurement of retrieval runs, at a size that takes a moment."""

from __future__ import annotations

import pytest

from bench.retrieval.command import main
from bench.retrieval.crowds import SIZES, draw


def test_a_drawn_set_has_the_size_of_the_published_one() -> None:
    """Market-1501's."""
    benchmark, query, gallery = draw(SIZES["market"])
    assert (len(query), len(gallery), query.shape[1]) == (3368, 15913, 512)
    assert (len(benchmark.query), len(benchmark.gallery)) == (3368, 15913)


def test_each_step_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, with its figure."""
    assert main(["--sizes", "small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["small", step] for step in ("metrics", "intervals", "reranking")
    ]
    figures = [float(line.split()[5]) for line in lines[1:]]
    assert figures[0] == figures[1] != figures[2]
