"""What junk before restart markers costs: a decoder does not stop at each of thousands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.restarts import check_scan
from reidstream_engines.errors import InvalidImage
from reidstream_engines.headers import parse_encoded


def blocks_between_restarts(side: int) -> bytes:
    """Of 8 x 8 pixels each."""
    noise = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8)
    return cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()


def each_restart(data: bytes, junk: Callable[[int], bytes]) -> bytes:
    """With junk before each restart marker, by its number."""
    numbers, start = itertools.count(), data.index(b"\xff\xda")
    return data[:start] + re.sub(rb"\xff[\xd0-\xd7]", lambda mark: junk(next(numbers)) + mark[0], data[start:])


def test_a_decoder_does_not_stop_at_the_same_junk_again_and_again() -> None:
    """Eight pieces are decoded at a time, where junk that was seen before is taken away."""
    calls: list[int] = []

    def decode(data: bytes, width: int, height: int) -> None:
        calls.append(height)
        JpegDecoder(None)._check(data, width, height)

    odd = each_restart(blocks_between_restarts(320), lambda number: b"\x55" * (20 + number % 3))
    check_scan(odd, decode)
    assert 1600 / 8 <= len(calls) <= 1600 / 8 * 1.5
    at = odd.index(b"\xff\xd7", len(odd) // 2)
    with pytest.raises(InvalidImage, match="121 extraneous bytes"):
        check_scan(odd[:at] + b"\x99" * 100 + odd[at:], decode)
    with pytest.raises(InvalidImage, match="JPEG"):
        check_scan(odd[: at - 70] + odd[at:], decode)


def test_different_junk_before_so_many_markers_is_not_looked_at() -> None:
    """It would stop a decoder at each; fewer are looked at."""

    def junk(number: int) -> bytes:
        return bytes([1 + number % 250, 1 + number // 250]) * 20

    for side, markers in ((240, 899), (512, 4095)):
        image = parse_encoded(each_restart(blocks_between_restarts(side), junk))
        if markers <= 1024:
            CpuStager().stage(image, ()).close()
            continue
        with pytest.raises(InvalidImage, match="different junk before more than 1024 restart markers"):
            CpuStager().stage(image, ())
