"""The row of a box: whoever embeds it, and however often, it is the same. Trap: rows have the length 1 in float32."""

from __future__ import annotations

import math

import numpy as np

from reidstream_server.tracks.rows import Vector

from .plan import DIMS

_STEPS = np.arange(1, 1 + max(DIMS), dtype=np.float32)


def row_of(client: int, frame_id: int, index: int, model: int) -> Vector:
    """(dim,) float32, of the `index`-th box of a frame."""
    mixed = (frame_id * 2_654_435_761 + index * 40_503 + client * 97 + model) & 0xFFFF
    angle = 2 * math.pi * mixed / 0x10000
    row = np.cos(angle * _STEPS[: DIMS[model]], dtype=np.float32)
    return np.asarray(row / np.linalg.norm(row), np.float32)
