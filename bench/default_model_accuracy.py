"""How well the default model tells people apart: the figures of its model card.

    python -m bench.default_model_accuracy DATA

DATA holds `frames/MOT17-*/{img1,gt.txt}` and `crops/market_style/PPPP_cC...jpg`. Three questions are asked:

- MOT17: first crop of each person against all later crops of all sequences (considered, a person, visibility >= 0.3).
- market_style: the labelled person across cameras; her crops of the query's own camera are left out.
- Changes: each MOT17 query, changed, against all unchanged queries.

Each is also asked of a yardstick, the pixels themselves.

Why through the engine: decoding, cutting and resizing are part of what is measured. Trap: neighbouring frames of one
camera are easy, so a high score on MOT17 says little; the answers to the changes say more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from reidstream_engines.boxes import resolve
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.default_model import NAME, PATH
from reidstream_engines.image import ColorMatrix, ColorRange, PixelBox, PixelFormat, RawImage
from reidstream_engines.protocol import BoxCrop
from reidstream_engines.spec import CropRule

Bgr: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]

MIN_VISIBILITY = 0.3
JITTER = 0.1
GREY = 127
WANTED = "0001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How well queries find their person in a gallery. A chance is the expectation over random rankings."""

    name: str
    queries: int
    gallery: int
    rank1: float
    rank1_chance: float
    mean_ap: float
    mean_ap_chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How near a changed query is to itself unchanged and to other people: cosines, and how often it is nearest."""

    name: str
    own: float
    others: float
    others_p95: float
    rank1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was measured."""

    retrievals: tuple[Retrieval, ...]
    separations: tuple[Separation, ...]

    def markdown(self) -> str:
        """Two tables, as in the model card."""
        lines = ["| set | queries | gallery | rank-1 | chance | mAP | chance |", "|---|---|---|---|---|---|---|"]
        lines += [
            f"| {r.name} | {r.queries} | {r.gallery} | {r.rank1:.3f} | {r.rank1_chance:.3f} | {r.mean_ap:.3f} "
            f"| {r.mean_ap_chance:.3f} |"
            for r in self.retrievals
        ]
        lines += ["", "| change | cosine to itself | to others | to others, 95th percentile | rank-1 |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {s.name} | {s.own:.3f} | {s.others:.3f} | {s.others_p95:.3f} | {s.rank1:.3f} |"
            for s in self.separations
        ]
        return "\n".join(lines) + "\n"


class Embedder:
    """The default model, from pictures to unit rows."""

    def __init__(self) -> None:
        self._stager = CpuStager()
        self._engine = load_onnx(PATH, name=None, profile=None, options=OnnxOptions())

    def embed(self, crops: Sequence[Bgr]) -> Floats:
        """(n, dim) float32 of n crops (H, W, 3) uint8."""
        return np.concatenate([self._embed_one(crop) for crop in crops])

    def _embed_one(self, crop: Bgr) -> Floats:
        height, width = crop.shape[:2]
        image = RawImage(
            data=crop.tobytes(),
            format=PixelFormat.BGR,
            width=width,
            height=height,
            stride=3 * width,
            offset=0,
            chroma_stride=0,
            chroma_offset=0,
            color_matrix=ColorMatrix.BT601,
            color_range=ColorRange.FULL,
        )
        box = PixelBox(x1=0, y1=0, x2=width, y2=height)
        with self._stager.stage(image, [box]) as frame:
            return self._engine.submit([BoxCrop(frame=frame, box=box)]).result()


def random_average_precision(candidates: int, hits: int) -> float:
    """Expected average precision of a random ranking of `candidates`, of which `hits` are right.

    A right one is equally likely at every rank k, and each of the k - 1 before it is right with the same chance.
    """
    before = (hits - 1) / (candidates - 1)
    return float(np.mean([(1 + (rank - 1) * before) / rank for rank in range(1, candidates + 1)]))


def retrieval(name: str, similarity: Floats, same: Flags, allowed: Flags) -> Retrieval:
    """Score (queries, gallery) cosines; `same` marks the right answers, `allowed` what a query may find."""
    first, precision, first_chance, precision_chance = [], [], [], []
    for scores, right, candidates in zip(similarity, same, allowed, strict=True):
        hits = right[candidates][np.argsort(-scores[candidates], kind="stable")]
        ranks = np.flatnonzero(hits) + 1
        first.append(hits[0])
        precision.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
        first_chance.append(hits.mean())
        precision_chance.append(random_average_precision(len(hits), len(ranks)))
    return Retrieval(
        name=name,
        queries=len(similarity),
        gallery=int(allowed.sum(axis=1).max()),
        rank1=float(np.mean(first)),
        rank1_chance=float(np.mean(first_chance)),
        mean_ap=float(np.mean(precision)),
        mean_ap_chance=float(np.mean(precision_chance)),
    )


def separation(name: str, changed: Floats, unchanged: Floats) -> Separation:
    """Compare row i of the one with all rows of the other."""
    similarity = changed @ unchanged.T
    others = similarity[~np.eye(len(similarity), dtype=bool)]
    return Separation(
        name=name,
        own=float(np.diag(similarity).mean()),
        others=float(others.mean()),
        others_p95=float(np.quantile(others, 0.95)),
        rank1=float((similarity.argmax(axis=1) == np.arange(len(similarity))).mean()),
    )


def mot17(folder: Path) -> tuple[list[Bgr], list[str]]:
    """Crops and the person's name ("sequence/id") of all usable boxes, frame by frame."""
    crops: list[Bgr] = []
    people: list[str] = []
    for sequence in sorted(folder.glob("MOT17-*")):
        rows = np.loadtxt(sequence / "gt.txt", delimiter=",", ndmin=2)
        rows = rows[(rows[:, 6] == 1) & (rows[:, 7] == 1) & (rows[:, 8] >= MIN_VISIBILITY)]
        for number in np.unique(rows[:, 0]):
            frame = _read(sequence / "img1" / f"{int(number):06d}.jpg")
            for _, person, left, top, width, height, *_ in rows[rows[:, 0] == number].tolist():
                rect = (left, top, left + width, top + height)
                box = resolve(rect, width=frame.shape[1], height=frame.shape[0], rule=CropRule.EXACT, min_px=1)
                if isinstance(box, PixelBox):
                    crops.append(frame[box.y1 : box.y2, box.x1 : box.x2].copy())
                    people.append(f"{sequence.name}/{int(person)}")
    return crops, people


def market_style(folder: Path) -> tuple[list[Bgr], list[str], list[str]]:
    """Crops, the person's label and the camera's number, from names `PPPP_cC...jpg`."""
    paths = sorted(folder.glob("*.jpg"))
    return [_read(path) for path in paths], [path.name[:4] for path in paths], [path.name[6] for path in paths]


def perturbations() -> dict[str, Callable[[Bgr], Bgr]]:
    """Changes of a crop, by name. The jitter is drawn from one seeded generator, so order matters."""
    random = np.random.default_rng(0)

    def times(*factors: float) -> Callable[[Bgr], Bgr]:
        return lambda crop: np.clip(np.round(crop * np.array(factors)), 0, 255).astype(np.uint8)

    def jitter(crop: Bgr) -> Bgr:
        height, width = crop.shape[:2]
        top, bottom = (random.uniform(0, JITTER, 2) * height).astype(int)
        left, right = (random.uniform(0, JITTER, 2) * width).astype(int)
        return crop[top : height - bottom, left : width - right]

    def covered(crop: Bgr) -> Bgr:
        return np.concatenate([crop[: len(crop) // 2], np.full_like(crop[len(crop) // 2 :], GREY)])

    return {
        "none": lambda crop: crop,
        "brightness x 0.7": times(0.7),
        "brightness x 1.4": times(1.4),
        "light: blue x 0.8, red x 1.2": times(0.8, 1.0, 1.2),
        "each side cut by 0 to 10 %": jitter,
        "lower half covered by grey": covered,
        "lower half cut off": lambda crop: crop[: max(1, len(crop) // 2)],
        "mirrored": lambda crop: crop[:, ::-1],
    }


def pixels(crops: Sequence[Bgr]) -> Floats:
    """The yardstick: the crops themselves, 32 x 64, about middle grey, as unit rows."""
    small = np.stack([cv2.resize(crop, (32, 64), interpolation=cv2.INTER_AREA).ravel() for crop in crops])
    rows = small.astype(np.float32) - GREY
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def measure(data: Path) -> Report:
    """Run everything. Raises OSError for a picture or a table that is missing."""
    describers = {NAME: Embedder().embed, "pixels": pixels}
    crops, people = mot17(data / "frames")
    names = np.array(people)
    _, firsts, counts = np.unique(names, return_index=True, return_counts=True)
    queries = np.sort(firsts[counts > 1])
    gallery = np.setdiff1d(np.arange(len(names)), queries)
    same = names[queries, None] == names[None, gallery]
    retrievals: list[Retrieval] = []
    for name, describe in describers.items():
        rows = describe(crops)
        everything = np.ones_like(same)
        retrievals.append(retrieval(f"MOT17, {name}", rows[queries] @ rows[gallery].T, same, everything))

    unchanged = [crops[i] for i in queries]
    separations: list[Separation] = []
    for change, perturb in perturbations().items():
        changed = [perturb(crop) for crop in unchanged]
        for name, describe in describers.items():
            separations.append(separation(f"{change}, {name}", describe(changed), describe(unchanged)))

    crops, people, cameras = market_style(data / "crops" / "market_style")
    wanted = np.array([person == WANTED for person in people])
    same = np.tile(wanted, (wanted.sum(), 1))
    elsewhere = np.array(cameras)[wanted, None] != np.array(cameras)[None]
    for name, describe in describers.items():
        rows = describe(crops)
        retrievals.append(retrieval(f"market_style, {name}", rows[wanted] @ rows.T, same, ~same | elsewhere))
    return Report(retrievals=tuple(retrievals), separations=tuple(separations))


def _read(path: Path) -> Bgr:
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f"no picture at {path}")
    return np.asarray(picture, np.uint8)


def main() -> None:
    """Print the tables."""
    if len(sys.argv) != 2:  # noqa: PLR2004  # the program and its argument
        sys.exit(__doc__)
    sys.stdout.write(measure(Path(sys.argv[1])).markdown())


if __name__ == "__main__":
    main()
