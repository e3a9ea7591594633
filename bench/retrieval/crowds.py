"""Drawn vectors of people, as many as published sets have.

Trap: independent random vectors have no neighbours in common, so re-ranking would have less to do than with people. So
each identity has a direction, and each picture some noise; what nobody looks for has directions of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.evaluation import DISTRACTOR, Benchmark, Pictures, Protocol, make_benchmark

DIM: Final = 512
_NOISE: Final = 2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many pictures, people and cameras; `distractors` are of the gallery."""

    queries: int
    gallery: int
    identities: int
    cameras: int
    distractors: int


SIZES: Final[Mapping[str, Size]] = {
    "small": Size(queries=300, gallery=1500, identities=75, cameras=6, distractors=200),
    "market": Size(queries=3368, gallery=15913, identities=750, cameras=6, distractors=2798),
    "msmt17": Size(queries=11659, gallery=82161, identities=3060, cameras=15, distractors=0),
}


def draw(size: Size, seed: int = 0) -> tuple[Benchmark, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A benchmark, with the vectors of its queries and of its gallery."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((size.identities + 1, DIM), np.float32)

    def vectors(who: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        rows = _NOISE * generator.standard_normal((len(who), DIM), np.float32)
        rows += np.where((who > DISTRACTOR)[:, None], centres[who], 0)
        return rows

    query = np.sort(generator.integers(1, size.identities + 1, size.queries))
    labelled = size.gallery - size.distractors
    gallery = np.concatenate(
        [np.full(size.distractors, DISTRACTOR), np.sort(generator.integers(1, size.identities + 1, labelled))]
    )
    benchmark = make_benchmark(
        "drawn",
        _pictures("q", query, generator.integers(1, size.cameras + 1, size.queries)),
        _pictures("g", gallery, generator.integers(1, size.cameras + 1, size.gallery)),
        Protocol.CROSS_CAMERA,
    )
    return benchmark, vectors(query), vectors(gallery)


def _pictures(prefix: str, who: npt.NDArray[np.int64], cameras: npt.NDArray[np.int64]) -> Pictures:
    names = tuple(f"{prefix}{row}" for row in range(len(who)))
    return Pictures(paths=names, names=names, files=np.arange(len(who)), boxes=None, identities=who, cameras=cameras)
