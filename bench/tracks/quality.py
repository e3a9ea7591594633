"""Whether quality tells which crops to trust, before anything is embedded.

- Rejection: crops are compared in pairs; the equal error rate (EER) is where as many pairs of one person are refused as
  pairs of two people are taken for one. A fifth of the crops, those of the least quality, are left out, and the EER
  that is left is compared with that of a fifth left out at random.
- Rank correlation (Spearman) of the quality with the visibility that the truth tells.

Both are asked of several ways to guess what is hidden, and of the truth's visibility, as a bound. Trap: pairs of one
person in neighbouring frames look alike, also where he is hidden; what hidden crops spoil is that they look like
whoever is in front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from reidstream_server.tracks.sighting import geometry

from .assignment import Doubles
from .clips import Clip, Ids, Moment
from .vectors import Rows

REJECTED = 0.2
_RANDOM_TRIES = 50
Hidden: TypeAlias = Callable[[Moment, int, int], Doubles]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """`eer_all`: with every crop. `eer_random`: with a fifth left out at random, on average. `correlation`: with the
    visibility.
    """

    name: str
    crops: int
    eer_all: float
    eer_random: float
    eer: float
    correlation: float

    @property
    def gain(self) -> float:
        """By which share the EER is lower than with a fifth left out at random."""
        return 1 - self.eer / self.eer_random if self.eer_random > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crops:
    """All crops of people (nobody's boxes left out). `people`: unique over all clips. `scores`: by name of the way."""

    rows: Rows
    people: Ids
    visibility: Doubles
    scores: Mapping[str, Doubles]


def rejections(crops: Crops) -> list[Rejection]:
    """One for each way."""
    rng = np.random.default_rng(0)
    count = len(crops.people)
    kept = round(count * (1 - REJECTED))
    everything = eer(crops.rows, crops.people)
    tries = [rng.permutation(count)[:kept] for _ in range(_RANDOM_TRIES)]
    at_random = float(np.mean([eer(crops.rows[some], crops.people[some]) for some in tries]))
    found = []
    for name, scores in crops.scores.items():
        best = np.argsort(-scores, kind="stable")[:kept]
        found.append(
            Rejection(
                name=name,
                crops=count,
                eer_all=everything,
                eer_random=at_random,
                eer=eer(crops.rows[best], crops.people[best]),
                correlation=spearman(scores, crops.visibility),
            )
        )
    return found


def eer(rows: Rows, people: Ids) -> float:
    """The equal error rate of all pairs of rows, by cosine; 0 to 1."""
    upper = np.triu_indices(len(people), 1)
    similarity = (rows @ rows.T)[upper]
    same = (people[:, None] == people[None])[upper]
    order = np.argsort(similarity, kind="stable")
    refused = np.cumsum(same[order]) / max(same.sum(), 1)  # of one person, up to this similarity
    taken = 1 - np.cumsum(~same[order]) / max((~same).sum(), 1)
    at = int(np.argmax(refused >= taken))
    return float((refused[at] + taken[at]) / 2)


def spearman(one: Doubles, other: Doubles) -> float:
    """The correlation of the ranks; equal values share theirs."""
    first, second = _ranks(one), _ranks(other)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def crops_of(clips: Sequence[Clip], every_ns: int = 0) -> Crops:
    """The crops of all clips, of frames at least `every_ns` apart."""
    rows, people, visibility = [], [], []
    scores: dict[str, list[Doubles]] = {}
    for index, clip in enumerate(clips):
        last_ns = -1 << 62
        for moment in clip.moments:
            if moment.taken_ns - last_ns < every_ns:
                continue
            last_ns = moment.taken_ns
            of_people = moment.owners > 0
            rows.append(moment.rows[of_people])
            people.append(moment.owners[of_people] + 1_000_000 * index)
            visibility.append(moment.seen[of_people])
            for name, score in _ways(moment, clip).items():
                scores.setdefault(name, []).append(score[of_people])
    return Crops(
        rows=np.concatenate(rows),
        people=np.concatenate(people),
        visibility=np.concatenate(visibility),
        scores={name: np.concatenate(parts) for name, parts in scores.items()},
    )


def _ways(moment: Moment, clip: Clip) -> dict[str, Doubles]:
    """Every way to score a frame's boxes."""
    covers = _covers(moment.rects, clip.width, clip.height)
    ways = {
        "quality": moment.quality * (1 - geometry(moment.rects, width=clip.width, height=clip.height).hidden),
        "without what is hidden": moment.quality,
        "the largest cover": moment.quality * (1 - covers.max(axis=1, initial=0.0)),
        "the union of covers": moment.quality * (1 - _union(moment.rects, covers > 0)),
        "also those behind": moment.quality * (1 - moment.overlap),
        "the truth's visibility": moment.seen,
    }
    return {name: np.asarray(score, np.float64) for name, score in ways.items()}


def _covers(rects: Doubles, width: int, height: int) -> Doubles:
    """(n, n): which share of box i box j covers, if it is in front."""
    seen = np.clip(rects, 0, [width, height, width, height])
    sides = np.minimum(seen[:, None, 2:], seen[None, :, 2:]) - np.maximum(seen[:, None, :2], seen[None, :, :2])
    common = np.prod(np.maximum(sides, 0), axis=2)
    areas = np.prod(seen[:, 2:] - seen[:, :2], axis=1)
    sizes = np.prod(rects[:, 2:] - rects[:, :2], axis=1)
    bottoms = rects[:, 3]
    front = (bottoms[None] > bottoms[:, None]) | ((bottoms[None] == bottoms[:, None]) & (sizes[None] > sizes[:, None]))
    return np.where(front, common / np.maximum(areas[:, None], 1e-9), 0.0)


def _union(rects: Doubles, covering: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Doubles:
    """The share of each box that lies under any box that covers a part of it, counted on 32 x 32 points."""
    steps = (np.arange(32) + 0.5) / 32
    found = np.zeros(len(rects))
    for index, (x1, y1, x2, y2) in enumerate(rects.tolist()):
        xs, ys = x1 + steps * (x2 - x1), y1 + steps * (y2 - y1)
        under = np.zeros((32, 32), bool)
        for left, top, right, bottom in rects[covering[index]].tolist():
            under |= ((ys >= top) & (ys < bottom))[:, None] & ((xs >= left) & (xs < right))[None]
        found[index] = under.mean()
    return found


def _ranks(values: Doubles) -> Doubles:
    _, of, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[of], np.float64)
