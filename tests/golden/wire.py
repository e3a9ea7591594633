"""Golden vectors as a client sees them: which picture, which boxes, which vectors must come back.

The files and how they were made are described beside them; what matters here is that they were made outside this
project, with OpenCV and onnxruntime alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

MODELS = ("osnet_x0_25_msmt17", "osnet_x0_5_msmt17")
MIN_COSINE = 0.9999

SMALLER = MODELS[:1]
"""For what does not depend on the network: kinds of images, batches, cameras."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFrame:
    """One picture, (N, 4) float32 boxes, (N, D) float32 vectors of norm 1."""

    path: Path
    boxes: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]


def golden_frames(data: Path, model: str) -> list[GoldenFrame]:
    """The 60 boxes of mot17mini and the 10 edge cases, by picture."""
    frames = []
    for name in ("mot17mini", "edgeboxes"):
        with np.load(data / "golden" / f"{name}_{model}.npz") as file:
            paths, boxes, vectors = file["frame"], file["box_xyxy"], file["embedding"]
        for path in dict.fromkeys(paths.tolist()):
            rows = paths == path
            frames.append(GoldenFrame(path=data / "frames" / path, boxes=boxes[rows], vectors=vectors[rows]))
    return frames


def golden_crops(data: Path, model: str) -> list[GoldenFrame]:
    """The 72 crops of market_style; each is a whole picture."""
    with np.load(data / "golden" / f"market_style_{model}.npz") as file:
        names, vectors = file["name"].tolist(), file["embedding"]
    folder = data / "crops" / "market_style"
    empty = np.empty((0, 4), np.float32)
    return [
        GoldenFrame(path=folder / name, boxes=empty, vectors=row[None])
        for name, row in zip(names, vectors, strict=True)
    ]


def lowest_cosine(found: npt.NDArray[np.float32], golden: npt.NDArray[np.float32]) -> float:
    """Of (N, D) rows to (N, D) rows, all of norm 1."""
    assert found.shape == golden.shape
    return float(np.einsum("ij,ij->i", found.astype(np.float64), golden.astype(np.float64)).min())


def retrieval_scores(vectors: npt.NDArray[np.float32], identities: Sequence[str]) -> tuple[int, int, float, float]:
    """Queries, gallery size, rank-1 and mAP of the protocol "within-sequence, pooled".

    Query: the first crop of each identity that has at least two; gallery: all other crops of those and of every
    identity. AP is the mean precision at the hits.
    """
    first: dict[str, int] = {}
    for index, identity in enumerate(identities):
        first.setdefault(identity, index)
    queries = [index for identity, index in first.items() if identities.count(identity) > 1]
    gallery = np.array([index for index in range(len(identities)) if index not in set(queries)])
    names = np.array(identities)
    hits_at_1, precisions = 0, []
    for query in queries:
        order = gallery[np.argsort(-(vectors[gallery] @ vectors[query]), kind="stable")]
        hits = names[order] == names[query]
        hits_at_1 += bool(hits[0])
        ranks = np.flatnonzero(hits) + 1
        precisions.append(float((np.arange(1, len(ranks) + 1) / ranks).mean()))
    return len(queries), len(gallery), hits_at_1 / len(queries), float(np.mean(precisions))
