"""Pictures that EXIF turns, from a file to its vectors: what cv2.imread and raw pixels would give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from reidstream_client import AsyncReidClient, Crops
from reidstream_engines.image import Orientation
from tests.support.harness import picture, real_engine, serving
from tests.unit.engines.test_exif import EXIF, record, segment


def turned_file(number: int) -> bytes:
    data = cv2.imencode(".jpg", picture(320, 200))[1].tobytes()
    return data[:2] + segment(EXIF + record(number)) + data[2:]


@pytest.mark.parametrize("turn", Orientation)
async def test_a_turned_file_has_the_vectors_of_what_cv2_reads(turn: Orientation) -> None:
    """Streamed, in a single call, and as a ready crop; bit for bit, since the pixels are the same."""
    data = turned_file(turn.value)
    seen = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    height, width = seen.shape[:2]
    boxes = [[10, 20, 70, 140], [width - 90, height - 120, width - 5, height]]
    async with serving(real_engine()) as server:
        target = f"127.0.0.1:{server.port}"
        async with AsyncReidClient(target) as plain, AsyncReidClient(target, apply_exif_orientation=True) as upright:
            expected = await plain.embed(seen, boxes)
            single = await upright.embed(data, boxes)
            async with upright.stream() as session:
                await session.send(data, boxes)
                await session.finish()
                (streamed,) = [result async for result in session]
            crops = await upright.embed(Crops([data, data], inner_boxes=boxes))
            ignored = await plain.embed(data, boxes)
    assert expected.valid.all()
    for found in (single, streamed, crops):
        np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    assert np.array_equal(ignored.embeddings, expected.embeddings) is (turn is Orientation.AS_STORED)
