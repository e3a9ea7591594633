"""A sequence and a video to stream, and the command pointed at a scripted server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from reidstream_client.cli import main
from tests.unit.client.scripted_server import ScriptedServer

Command = Callable[..., int]


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Three frames; two boxes in the first, none in the second, one in the third."""
    images = tmp_path / "sequence" / "img1"
    images.mkdir(parents=True)
    for number in (1, 2, 5):
        (images / f"{number:06}.jpg").write_bytes(b"file %d" % number)
    (images.parent / "gt.txt").write_text("1,7,10,20,30,40,1,1,1\n1,9,50,60,70,80,1,1,1\n5,7,11,21,30,40,1,1,1\n")
    return images.parent


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of six frames, each of one level: 0, 40, ... 200."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(6):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    return path


@pytest.fixture
def run(served: ScriptedServer) -> Command:
    """The command, pointed at the scripted server."""
    return lambda *words: main([*map(str, words), "--server", served.target])
