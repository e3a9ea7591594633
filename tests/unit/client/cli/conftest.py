"""A sequence to stream, and the command pointed at a scripted server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
def run(served: ScriptedServer) -> Command:
    """The command, pointed at the scripted server."""
    return lambda *words: main([*map(str, words), "--server", served.target])
