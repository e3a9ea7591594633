"""The drawn picture is a picture, for a decoder that nobody here has written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from reidstream_client.cli.doctor.gather.picture import boxes_in, jpeg, pixels


@pytest.mark.parametrize(("width", "height"), [(64, 64), (333, 77), (1920, 1080)])
def test_a_decoder_reads_the_blocks_that_were_drawn(width: int, height: int) -> None:
    """Every level, to the last pixel, also where a side is no multiple of a block."""
    decoded = cv2.imdecode(np.frombuffer(jpeg(width, height), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    rows, columns = -(-height // 8), -(-width // 8)
    levels = np.random.default_rng(0).integers(0, 256, (rows, columns), dtype=np.int16)
    assert (decoded == levels.repeat(8, 0).repeat(8, 1)[:height, :width]).all()
    assert len(np.unique(levels)) > 40


def test_pixels_and_boxes_fit_each_other() -> None:
    """Boxes of people's shape lie within the picture, and do not overlap."""
    image, boxes = pixels(640, 360), boxes_in(640, 360)
    assert image.shape == (360, 640, 3)
    assert image.dtype == np.uint8
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 640).all()
    assert (boxes[:, 3] <= 360).all()
    assert (boxes[1:, 0] > boxes[:-1, 2]).all()
