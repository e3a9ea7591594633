"""Small data sets of every layout. A picture is a whole JPEG of a few pixels, different for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Put = Callable[..., Path]


def jpeg(seed: int, *, size: tuple[int, int] = (8, 16)) -> bytes:
    """A picture that no other seed has."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    _, data = cv2.imencode(".jpg", pixels)
    return data.tobytes()


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Puts pictures under names in a folder of the test; each is another one."""
    made: list[int] = []

    def put(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            made.append(1)
            path.write_bytes(jpeg(len(made)))
        return tmp_path

    return put


@pytest.fixture
def market(put: Put) -> Path:
    """Two queries, a gallery of two people, a distractor and junk, and a training picture."""
    return (
        put(
            "Market/query/0001_c1s1_000001_00.jpg",
            "Market/query/0002_c2s1_000001_00.jpg",
            "Market/bounding_box_test/0001_c2s1_000002_01.jpg",
            "Market/bounding_box_test/0001_c1s1_000002_02.jpg",
            "Market/bounding_box_test/0002_c1s1_000003_01.jpg",
            "Market/bounding_box_test/0000_c1s1_000004_01.jpg",
            "Market/bounding_box_test/-1_c1s1_000005_01.jpg",
            "Market/bounding_box_train/0003_c1s1_000006_01.jpg",
        )
        / "Market"
    )
