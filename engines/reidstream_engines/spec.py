"""What a network expects and answers: data only.

Why: the same weights are in use with half a dozen preprocessings, and vectors made in different ways must not be
compared. Everything that changes a vector is in here, and `space_id` is a digest of it. Trap: a field added here
changes every space id, unless the canonical form (see `space.py`) leaves it out at its default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ColorOrder(Enum):
    """Order of the network's input channels."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


class Resize(Enum):
    """How a crop is brought to the network's size."""

    OPENCV_BILINEAR = "opencv_bilinear"
    OPENCV_BICUBIC = "opencv_bicubic"
    PIL_BILINEAR = "pil_bilinear"
    PIL_BICUBIC = "pil_bicubic"


class Fit(Enum):
    """What happens to a crop whose shape is not the network's. Padding is black, before normalisation."""

    STRETCH = "stretch"
    LETTERBOX_CENTER = "letterbox_center"
    LETTERBOX_CORNER = "letterbox_corner"


class CropRule(Enum):
    """Which pixels a box takes (`boxes.resolve`)."""

    EXACT = "exact"
    EVEN_ALIGNED = "even_aligned"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How a crop becomes the network's input: y = (x * scale - mean[c]) / std[c], x in 0..255, NCHW float32.

    `mean` and `std` have one number per channel (3, or 1 for GRAY), in the network's channel order. `jpeg_scale` N (1,
    2, 4 or 8): JPEG pictures are decoded at 1/N of their size before crops are cut; other pictures are not scaled. The
    server chooses it, not the model.
    """

    name: str
    width: int
    height: int
    color_order: ColorOrder
    resize: Resize
    fit: Fit
    crop_rule: CropRule
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    jpeg_scale: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """What the network answers: float32 [batch, dim]."""

    name: str
    dim: int
    l2_normalize: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as it is served. `space_id`: "1:" and 64 hex digits (`space.space_id`). `artifact_sha256`: the original
    file's. `set_aside`: what the file beside the model, or its metadata, say about preprocessing and the named profile
    replaces; empty if it replaces nothing.
    """

    name: str
    profile: str
    artifact_sha256: str
    space_id: str
    input: InputSpec
    output: OutputSpec
    set_aside: str = ""

    @property
    def version(self) -> str:
        """The first 12 hex digits of the artifact's sha256."""
        return self.artifact_sha256[:12]
