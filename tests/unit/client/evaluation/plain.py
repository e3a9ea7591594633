"""The definitions, written down as plainly as they can be: what the product's fast ways are compared with.

In float64, with whole matrices and loops, each figure by its own formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reidstream_client.evaluation import Benchmark, Pictures, Protocol, make_benchmark

Doubles = npt.NDArray[np.float64]


def pictures(identities: npt.ArrayLike, cameras: npt.ArrayLike | None = None, *, prefix: str = "p") -> Pictures:
    """Labelled pictures without files."""
    people = np.asarray(identities, np.int64)
    return Pictures(
        paths=tuple(f"{prefix}{row}.jpg" for row in range(len(people))),
        names=tuple(f"{prefix}{row}.jpg" for row in range(len(people))),
        files=np.arange(len(people)),
        boxes=None,
        identities=people,
        cameras=np.zeros(len(people), np.int64) if cameras is None else np.asarray(cameras, np.int64),
    )


def benchmark(query: Pictures, gallery: Pictures, protocol: Protocol = Protocol.CROSS_CAMERA) -> Benchmark:
    return make_benchmark("test", query, gallery, protocol)


@dataclass(frozen=True)
class PlainFigures:
    """Per query: rank of the first right answer from 1 (0: none), AP and INP (NaN: none)."""

    first: list[int]
    precision: list[float]
    penalty: list[float]


def plain_figures(asked: Benchmark, distances: Doubles) -> PlainFigures:
    """Walk each ranking from its beginning; of equal distances, the first picture of the gallery comes first."""
    query, gallery = asked.query, asked.gallery
    first, precision, penalty = [], [], []
    for q in range(len(query)):
        order = sorted(range(len(gallery)), key=lambda g, q=q: (distances[q, g], g))  # type: ignore[misc]
        seen, right, sums, at_first, at_last = 0, 0, 0.0, 0, 0
        for g in order:
            same = gallery.identities[g] == query.identities[q]
            if gallery.names[g] == query.names[q]:
                continue
            if asked.protocol is Protocol.CROSS_CAMERA and same and gallery.cameras[g] == query.cameras[q]:
                continue
            seen += 1
            if same:
                right += 1
                sums += right / seen
                at_first, at_last = at_first or seen, seen
        first.append(at_first)
        precision.append(sums / right if right else float("nan"))
        penalty.append(right / at_last if right else float("nan"))
    return PlainFigures(first=first, precision=precision, penalty=penalty)


def plain_distances(query: npt.ArrayLike, gallery: npt.ArrayLike, *, cosine: bool) -> Doubles:
    """1 - cosine, or the squared euclidean distance, number by number."""
    first, second = np.asarray(query, np.float64), np.asarray(gallery, np.float64)
    found = np.zeros((len(first), len(second)))
    for q, one in enumerate(first):
        for g, other in enumerate(second):
            if cosine:
                found[q, g] = 1 - one @ other / np.sqrt((one @ one) * (other @ other))
            else:
                found[q, g] = ((one - other) ** 2).sum()
    return found


def plain_reranking(query: Doubles, gallery: Doubles, k1: int, k2: int, weight: float) -> Doubles:
    """Zhong et al. (2017) with whole matrices: the final distance of each query to each gallery row."""
    everything = np.concatenate([query, gallery])
    total = len(everything)
    squared = ((everything[:, None] - everything[None]) ** 2).sum(axis=2)
    scaled = squared / squared.max(axis=1, keepdims=True)
    nearest = np.argsort(squared, axis=1, kind="stable")

    def mutual(row: int, k: int) -> set[int]:
        return {int(j) for j in nearest[row, : k + 1] if row in nearest[j, : k + 1]}

    encoded = np.zeros((total, total))
    for row in range(total):
        own = mutual(row, k1)
        members = set(own)
        for member in own:
            theirs = mutual(member, int(np.around(k1 / 2)))
            if len(theirs & own) > 2 / 3 * len(theirs):
                members |= theirs
        columns = sorted(members)
        weights = np.exp(-scaled[row, columns])
        encoded[row, columns] = weights / weights.sum()
    if k2 > 1:
        encoded = np.stack([encoded[nearest[row, :k2]].mean(axis=0) for row in range(total)])
    final = np.zeros((len(query), len(gallery)))
    for q in range(len(query)):
        for g in range(len(gallery)):
            least = np.minimum(encoded[q], encoded[len(query) + g]).sum()
            jaccard = 1 - least / (2 - least)
            final[q, g] = (1 - weight) * jaccard + weight * scaled[q, len(query) + g]
    return final
