"""Golden vectors, and the network inputs that they belong to.

Why inputs are made apart: preprocessing is the same for every backend, so it is left out of comparisons and times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_engines.boxes import resolve
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.preprocess import Preprocessor, Scratch
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_engines.protocol import TensorCrop
from reidstream_engines.spec import CropRule, InputSpec

Floats: TypeAlias = npt.NDArray[np.float32]

BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Network inputs (n, C, H, W) with their golden vectors (n, dim)."""

    tensors: Floats
    vectors: Floats


class Reader:
    """Makes the inputs of one model from boxes of pictures."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._preprocessor = Preprocessor(spec)
        self._scratch = Scratch(spec)
        self._stager = CpuStager()

    def read(self, path: Path, boxes: Sequence[Sequence[float]] | None) -> list[Floats]:
        """A tensor for each box (xyxy); None: one of the whole picture. Raises OSError and what the stager raises."""
        image = parse_encoded(path.read_bytes())
        cut: list[PixelBox] = []
        for x1, y1, x2, y2 in boxes or [(0, 0, image.width, image.height)]:
            box = resolve((x1, y1, x2, y2), width=image.width, height=image.height, rule=CropRule.EXACT, min_px=1)
            if not isinstance(box, PixelBox):
                raise TypeError(f"{path}: box {(x1, y1, x2, y2)} is {box}")
            cut.append(box)
        tensors = []
        with self._stager.stage(image, cut) as frame:
            for box in cut:
                slot: Floats = np.empty((3, self._spec.height, self._spec.width), np.float32)
                self._preprocessor.write(frame, box, slot, self._scratch)
                tensors.append(slot)
        return tensors

    def golden(self, data: Path, name: str, model: str, keep: Callable[[str], bool] = lambda _: True) -> Crops:
        """A golden file: its boxes in frames that `keep` accepts, or all of its crops."""
        with np.load(data / "golden" / f"{name}_{model}.npz") as file:
            vectors: Floats = file["embedding"]
            if "frame" not in file:
                folder = data / "crops" / name
                return Crops(tensors=self._stack((folder / crop, None) for crop in file["name"]), vectors=vectors)
            frames, boxes = file["frame"], file["box_xyxy"]
        kept = np.array([keep(frame) for frame in frames])
        pairs = zip(frames[kept], boxes[kept], strict=True)
        tensors = self._stack((data / "frames" / frame, [box.tolist()]) for frame, box in pairs)
        return Crops(tensors=tensors, vectors=vectors[kept])

    def _stack(self, items: Iterator[tuple[Path, list[Sequence[float]] | None]]) -> Floats:
        return np.stack([tensor for path, boxes in items for tensor in self.read(path, boxes)])


def embed(engine: OnnxEngine, tensors: Floats) -> Floats:
    """The rows (n, dim) of n tensors."""
    batches = [tensors[at : at + BATCH] for at in range(0, len(tensors), BATCH)]
    return np.concatenate([engine.submit([TensorCrop(tensor=item) for item in batch]).result() for batch in batches])
