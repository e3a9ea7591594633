"""The server as a process on the newest Python that it is tested with; the oldest is the one that tests it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from reidstream_client import FrameEmbeddings, ReidClient
from tests.golden.wire import MIN_COSINE, MODELS, golden_frames, lowest_cosine
from tests.support.harness import JPEG
from tests.support.patience import HANG_S
from tests.support.process import server_process

pytestmark = pytest.mark.needs("newest-server")

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-newest-server/bin/python"
BOXES = np.array([[10, 10, 60, 120], [100, 20, 160, 200]], np.float32)


def streamed(address: str) -> list[FrameEmbeddings]:
    with ReidClient(address) as client:
        return list(client.embed_many([(JPEG, BOXES)] * 20))


def test_it_embeds_as_the_oldest_does_and_stops_in_order() -> None:
    """A stream of frames by the embedded model, to the last bit of float32's rounding; SIGTERM ends it with 0."""
    with server_process() as (_, address):
        expected = streamed(address)[0].embeddings
    with server_process(python=PYTHON) as (server, address):
        answers = streamed(address)
        server.terminate()
        assert server.wait() == 0
    assert [answer.frame_id for answer in answers] == list(range(20))
    for answer in answers:
        np.testing.assert_allclose(answer.embeddings, expected, atol=1e-6)
    assert not [event for event in server.log if event["event"] == "text"]  # a warning of Python's, or a traceback


@pytest.mark.needs("shared-data")
def test_it_meets_the_golden_vectors(shared_data: Path) -> None:
    """All frames of the smaller model, over the wire."""
    frames = golden_frames(shared_data, MODELS[0])
    model = shared_data / "models" / f"{MODELS[0]}.onnx"
    with (
        server_process("--model", str(model), "--profile", "torchreid", python=PYTHON) as (_, address),
        ReidClient(address) as client,
    ):
        answers = list(client.embed_many([(frame.path.read_bytes(), frame.boxes) for frame in frames]))
    for answer, frame in zip(answers, frames, strict=True):
        assert lowest_cosine(answer.embeddings, frame.vectors) >= MIN_COSINE


def test_its_unit_tests_pass() -> None:
    """Of all rooms, in one process; what starts processes or needs other programs is tested on the oldest."""
    command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/server", "-m", "not needs"]
    command += ["--ignore-glob=*/test_gpu.py", "--ignore-glob=*/test_runtime_process.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
