"""How well the default model tells people apart: three questions.

- MOT17: the first crop of each person against all later crops of all sequences.
- market_style: the labelled person across cameras; her crops of the query's own camera are left out.
- Changes: each MOT17 query, changed, against all unchanged queries.

Each question is also put to a yardstick, the pixels themselves. Crops go through the engine, because cutting and
resizing are part of what is measured. Trap: MOT17 is easy (see `data`); the changes say more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.default_model import NAME, PATH
from reidstream_engines.image import ColorMatrix, ColorRange, PixelBox, PixelFormat, RawImage
from reidstream_engines.protocol import BoxCrop

from .data import Bgr, first_against_later, market_style, mot17
from .retrieval import Floats, Retrieval, retrieval

JITTER = 0.1
GREY = 127
WANTED = "0001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """Cosines of a changed query to itself unchanged, and to other people; `rank1`: how often itself is the nearest."""

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


def separation(name: str, changed: Floats, unchanged: Floats) -> Separation:
    """Compare each row of `changed` with all rows of `unchanged`; row i of both is the same crop."""
    similarity = changed @ unchanged.T
    others = similarity[~np.eye(len(similarity), dtype=bool)]
    return Separation(
        name=name,
        own=float(np.diag(similarity).mean()),
        others=float(others.mean()),
        others_p95=float(np.quantile(others, 0.95)),
        rank1=float((similarity.argmax(axis=1) == np.arange(len(similarity))).mean()),
    )


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
    """Ask all questions. Raises OSError if a picture or a table is missing."""
    describers = {NAME: Embedder().embed, "pixels": pixels}
    crops, people = mot17(data / "frames")
    split = first_against_later(people)
    everything = np.ones_like(split.same)
    retrievals: list[Retrieval] = []
    for name, describe in describers.items():
        rows = describe(crops)
        retrievals.append(
            retrieval(f"MOT17, {name}", rows[split.queries] @ rows[split.gallery].T, split.same, everything)
        )

    unchanged = [crops[i] for i in split.queries]
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
