"""The threshold at a wanted false-match rate, and how sure it is.

The threshold lies between two scores of impostor pairs, so that the share of pairs at or above it is the wanted rate,
or less. People are drawn again, with replacement, and each pair counts as often as both of its people were drawn. Each
draw gives a threshold, and their percentiles are its interval; the share that each of these thresholds lets through of
all pairs gives the interval of the rate.

Trap: pairs are not independent. One person in black who looks like ten others makes ten high scores. A threshold of a
million pairs of 50 people is as sure as 50 people are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError
from reidstream_client.evaluation.metrics.intervals import drawn

from .file import Threshold
from .groups import Groups
from .pairs import Impostors, genuine, impostor_scores, impostors

DRAWS: Final = 1000
_LEAST_PEOPLE: Final = 10
_LEAST_MATCHES: Final = 10

Doubles = npt.NDArray[np.float64]


def calibrate(groups: Groups, rate: float, *, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Threshold:
    """A threshold at which a share `rate` of the pairs of two people count as one. Raises FileError if there are too
    few people or pairs for that rate.
    """
    people = int(groups.different.any(axis=1).sum())
    if people < _LEAST_PEOPLE:
        raise FileError(
            f"only {people} people are known to differ from another one, and at least {_LEAST_PEOPLE} are needed: "
            "record for longer, or where more people meet"
        )
    pairs = impostors(groups, rate)
    if rate * pairs.total < _LEAST_MATCHES:
        raise FileError(
            f"{pairs.total} pairs of two people cannot tell a false-match rate of {rate:g}: the lowest that they can "
            f"is {_LEAST_MATCHES / pairs.total:.2g}; use more pictures, or a higher rate"
        )
    everybody = np.ones(len(groups.different))
    threshold = _at_rate(pairs, everybody, rate)
    thresholds = _thresholds(pairs, len(groups.different), rate, draws, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(thresholds, [tail, 1 - tail])
    rates = np.array([_rate_at(pairs, value) for value in (high, low)])
    same = genuine(groups)
    return Threshold(
        space_id=groups.space_id,
        model=groups.model,
        distance="cosine",
        threshold=threshold,
        low=float(low),
        high=float(high),
        confidence=confidence,
        wanted_rate=rate,
        false_match_rate=_rate_at(pairs, threshold),
        false_match_rate_low=float(rates[0]),
        false_match_rate_high=float(rates[1]),
        false_non_match_rate=float(np.searchsorted(same, threshold) / len(same)) if len(same) else None,
        people=people,
        impostor_pairs=pairs.total,
        genuine_pairs=len(same),
        origin=groups.origin,
    )


def false_match_rate(groups: Groups, threshold: float) -> float:
    """The share of pairs of two people whose score is at least `threshold`."""
    return float((impostor_scores(groups)[2] >= threshold).mean())


def _thresholds(pairs: Impostors, people: int, rate: float, draws: int, seed: int) -> Doubles:
    """The threshold of each draw of people."""
    generator = np.random.default_rng(seed)
    return np.array([_at_rate(pairs, drawn(generator, 1, people)[0], rate) for _ in range(draws)])


def _at_rate(pairs: Impostors, times: Doubles, rate: float) -> float:
    """The threshold, if each person counts so many times. Where all pairs that were kept would pass, the lowest."""
    total = float(times @ pairs.counts @ times)
    passed = np.cumsum(times[pairs.first] * times[pairs.second])
    over = int(np.searchsorted(passed, rate * total, "right"))  # the first pair that is one too many
    if over >= len(passed):
        return float(pairs.scores[-1])
    if over == 0:
        return float(np.nextafter(pairs.scores[0], 2))
    return float((pairs.scores[over - 1] + pairs.scores[over]) / 2)


def _rate_at(pairs: Impostors, threshold: float) -> float:
    return float(np.searchsorted(-pairs.scores, -threshold, "right") / max(1, pairs.total))
