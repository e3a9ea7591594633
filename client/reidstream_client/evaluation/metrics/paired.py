"""Whether two runs over the same queries can be told apart.

The test: if the two were equally good, each identity's difference could as well have had the other sign. So signs are
drawn at random, and the share of draws in which the difference is at least as large as the one that was seen is p. It
takes identities as they are, and assumes no distribution. At p of 0.05 and more, the runs are not distinguishable.

Trap: two intervals that overlap do not say that two runs are alike, since both ran over the same queries. Only the
differences do. And with few identities nothing can be told: with five, no p is below 0.06.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import Integers

from .intervals import Clusters, Doubles, cluster, standard_errors, student

DRAWS: Final = 10_000
LEVEL: Final = 0.05
_BLOCK: Final = 1000
_EQUAL: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`value`: the second run's figure minus the first one's, with the interval `low` to `high` (None for one
    identity). `p`: how often chance alone gives as much.
    """

    value: float
    low: float | None
    high: float | None
    p: float

    @property
    def distinguishable(self) -> bool:
        """Whether chance alone would give it less than once in twenty times."""
        return self.p < LEVEL

    def words(self) -> str:
        """The finding, as a sentence says it."""
        if not self.distinguishable:
            return "not distinguishable"
        return "the second is better" if self.value > 0 else "the first is better"


def compare(
    identities: Integers,
    first: Mapping[str, Doubles],
    second: Mapping[str, Doubles],
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Mapping[str, Difference]:
    """The difference of each figure. `identities` (Q,); columns (Q,) of the same queries in the same order. Raises
    FileError if the runs have different figures.
    """
    if first.keys() != second.keys() or not len(identities):
        raise FileError(f"the two runs have different figures: {', '.join(first)}, and {', '.join(second)}")
    clusters = cluster(identities, {name: second[name] - first[name] for name in first})
    values = clusters.sums.sum(axis=0) / clusters.counts.sum()
    chances = _chances(clusters, draws=draws, seed=seed)
    count = len(clusters.counts)
    found = {}
    errors = standard_errors(clusters, draws=2000, seed=seed) if count > 1 else np.zeros(len(values))
    half = errors * (student(1 - (1 - confidence) / 2, count - 1) if count > 1 else 0.0)
    for at, name in enumerate(first):
        value = float(values[at])
        found[name] = Difference(
            value=value,
            low=value - float(half[at]) if count > 1 else None,
            high=value + float(half[at]) if count > 1 else None,
            p=float(chances[at]),
        )
    return found


def _chances(clusters: Clusters, *, draws: int, seed: int) -> Doubles:
    """(M,) p of each figure."""
    generator = np.random.default_rng(seed)
    seen = np.abs(clusters.sums.sum(axis=0))
    more = np.zeros(len(seen))
    for start in range(0, draws, _BLOCK):
        shape = (min(_BLOCK, draws - start), len(clusters.counts))
        signs = generator.integers(0, 2, size=shape, dtype=np.int8).astype(np.float64) * 2 - 1
        more += (np.abs(signs @ clusters.sums) >= seen - _EQUAL * (1 + seen)).sum(axis=0)
    chances: Doubles = (1 + more) / (1 + draws)
    return chances
