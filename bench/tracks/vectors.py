"""Boxes of a frame to rows, as a server computes them: the same cuts, the same network, the same quality.

Trap: crops are cut out of the whole frame, not out of ready crops, so boxes that stick out are clipped as there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_engines.boxes import Rect, quality, resolve
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.image import ColorMatrix, ColorRange, PixelBox, PixelFormat, RawImage
from reidstream_engines.protocol import BoxCrop
from reidstream_engines.spec import CropRule

from .assignment import Doubles

Pixels: TypeAlias = npt.NDArray[np.uint8]
Rows: TypeAlias = npt.NDArray[np.float32]

MIN_BOX_PX = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """The boxes (n, 4) of a frame that can be embedded, their rows (n, dim), and their quality without other boxes."""

    kept: npt.NDArray[np.int64]
    rows: Rows
    quality: Doubles


def cut(rect: Rect, pixels: Pixels) -> PixelBox | None:
    """The pixels of a box; None if it is too small, or outside."""
    height, width = pixels.shape[:2]
    found = resolve(rect, width=width, height=height, rule=CropRule.EXACT, min_px=MIN_BOX_PX)
    return found if isinstance(found, PixelBox) else None


class Embedder:
    """A model on one thread. `path`: an ONNX file; `profile`: its preprocessing, None if the file says it. `digest`: of
    the file, with its name.
    """

    def __init__(self, path: Path, profile: str | None) -> None:
        self.name = path.stem
        self.digest = f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
        self._stager = CpuStager()
        self._engine = load_onnx(path, name=None, profile=profile, options=OnnxOptions(slots=1))
        self._spec = self._engine.spec.input

    def look(self, pixels: Pixels, boxes: Sequence[Rect]) -> Seen:
        """Embed the boxes of a frame (H, W, 3) BGR."""
        found = [(index, rect, box) for index, rect in enumerate(boxes) if (box := cut(rect, pixels)) is not None]
        cuts = [box for _, _, box in found]
        rows: list[Rows] = []
        if cuts:
            most = self._engine.limits.max_batch
            with self._stager.stage(_raw(pixels), cuts) as frame:
                for start in range(0, len(cuts), most):
                    batch = [BoxCrop(frame=frame, box=box) for box in cuts[start : start + most]]
                    rows.append(self._engine.submit(batch).result().copy())
        return Seen(
            kept=np.array([index for index, _, _ in found], np.int64),
            rows=np.concatenate(rows) if rows else np.zeros((0, self._engine.spec.output.dim), np.float32),
            quality=np.array([quality(rect, box, self._spec) for _, rect, box in found]),
        )


def _raw(pixels: Pixels) -> RawImage:
    height, width = pixels.shape[:2]
    return RawImage(
        data=pixels.tobytes(),
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
