"""A run: a benchmark, the vectors of its pictures, and how they are compared; out come figures with their intervals.

Everything that can be wrong is found before the long part: vectors of other lengths, NaN, zero vectors under cosine,
queries with nothing to find.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError, InvalidRequest

from .metrics.distances import Distance, Rows, prepare
from .metrics.expansion import expanded
from .metrics.intervals import DRAWS, Figure, intervals
from .metrics.ranking import Ranks, plain_blocks, rank
from .metrics.reranking import Reranking, reranked_blocks
from .metrics.retrieval import QueryFigures, cmc, figures_of
from .metrics.separation import Separation, separation
from .pictures import Benchmark, Pictures, some, unmatched

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How vectors are compared and figures are made.

    distance         cosine or euclidean; there is no default, since figures depend on it
    reranking        k-reciprocal re-ranking; None: the distance alone
    query_expansion  how many gallery pictures a query is averaged with; 0: none
    confidence       of the intervals
    draws, seed      of the bootstrap
    """

    distance: Distance
    reranking: Reranking | None = None
    query_expansion: int = 0
    confidence: float = 0.95
    draws: int = DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:  # noqa: PLR2004 - less than a coin is no confidence
            raise InvalidRequest(f"confidence must be 0.5 to below 1, such as 0.95, not {self.confidence:g}")
        if self.draws < 100:  # noqa: PLR2004 - fewer give no standard error
            raise InvalidRequest(f"draws must be 100 or more, not {self.draws}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What came out. `figures` by name: rank-1, rank-5, rank-10, rank-20, mAP, mINP. `curve`: CMC from rank 1 on."""

    benchmark: Benchmark
    method: Method
    model: str
    space_id: str
    figures: Mapping[str, Figure]
    curve: npt.NDArray[np.float64]
    queries: QueryFigures
    ranks: Ranks = field(repr=False)
    separation: Separation | None


def run(
    benchmark: Benchmark,
    query_vectors: Floats,
    gallery_vectors: Floats,
    method: Method,
    *,
    model: str = "",
    space_id: str = "",
    on_rows: Callable[[int], object] | None = None,
) -> Run:
    """Evaluate. `on_rows` is told of rows as they are done: of all pictures, if they are re-ranked, and of queries.
    Raises FileError and InvalidRequest, before the long part.
    """
    query, gallery = _prepared(benchmark, query_vectors, gallery_vectors, method.distance)
    left = unmatched(benchmark)
    if len(left):
        names = [benchmark.query.names[row] for row in left]
        raise FileError(
            f"{some(names)} of the queries of {benchmark.name} {'has' if len(names) == 1 else 'have'} no picture in "
            "the gallery that would be right; take such queries out"
        )
    asked = query if not method.query_expansion else expanded(query, gallery, method.query_expansion)
    blocks = plain_blocks(asked, gallery)
    if method.reranking is not None:
        blocks = reranked_blocks(asked, gallery, method.reranking, on_rows)
    ranks = rank(benchmark, blocks, on_rows)
    figures = figures_of(ranks)
    return Run(
        benchmark=benchmark,
        method=method,
        model=model,
        space_id=space_id,
        figures=intervals(
            benchmark.query.identities,
            figures.columns(),
            confidence=method.confidence,
            draws=method.draws,
            seed=method.seed,
        ),
        curve=cmc(figures),
        queries=figures,
        ranks=ranks,
        separation=separation(benchmark, query, gallery, seed=method.seed),
    )


def digest_of(benchmark: Benchmark) -> str:
    """What was asked of whom, in 64 letters: two runs with the same digest can be compared query by query."""
    found = hashlib.sha256(benchmark.protocol.value.encode())
    for pictures in (benchmark.query, benchmark.gallery):
        found.update("\n".join(pictures.names).encode())
        found.update(pictures.identities.tobytes() + pictures.cameras.tobytes())
    return found.hexdigest()


def _prepared(benchmark: Benchmark, query: Floats, gallery: Floats, distance: Distance) -> tuple[Rows, Rows]:
    for what, pictures, vectors in (("queries", benchmark.query, query), ("gallery", benchmark.gallery, gallery)):
        if len(vectors) != len(pictures):
            raise FileError(f"there are {len(pictures)} pictures in the {what}, and {len(vectors)} vectors")
    if query.shape[1:] != gallery.shape[1:]:
        raise FileError(
            f"the queries have vectors of {query.shape[1]} numbers and the gallery of {gallery.shape[1]}; they are of "
            "different models"
        )
    return _rows(query, benchmark.query, distance), _rows(gallery, benchmark.gallery, distance)


def _rows(vectors: Floats, pictures: Pictures, distance: Distance) -> Rows:
    return prepare(vectors, distance, pictures.names)
