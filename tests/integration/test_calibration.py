"""A threshold without labels is as good as one with them: on drawn cameras, and on frames of MOT17.

A stream is recorded through a real server, with the boxes of the ground truth and their ids as tracks. The threshold of
the recording lies within the interval of the one that knows all identities; and of people who were not in it, as large
a share is taken for one person as its own interval says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client.cli import main
from reidstream_client.evaluation.calibration import Groups, calibrate, from_labels, from_streams
from reidstream_client.evaluation.calibration.threshold import false_match_rate
from reidstream_synthetic import make_scene, write_motchallenge
from tests.support.process import server_process

RATE = 0.01


def labelled(recorded: Sequence[dict[str, npt.NDArray[np.generic]]]) -> Groups:
    """All identities of recordings, as labels; those of several cameras are the same people."""
    identities = [part["track_id"].astype(np.int64) + 1 for part in recorded]
    return from_labels(
        np.concatenate([part["embedding"] for part in recorded]).astype(np.float32),
        np.concatenate(identities),
        space_id=str(recorded[0]["space_id"]),
        model="",
    )


def arrays_of(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_on_drawn_cameras(tmp_path: Path) -> None:
    """Two cameras record a crowd, and another crowd is held out."""
    recordings = {}
    with server_process() as (_, address):
        for seed in (1, 2):
            scene = make_scene(seed, people=60, cameras=2, frames=24)
            for sequence in write_motchallenge(tmp_path, scene):
                out = tmp_path / f"{sequence.name}.npz"
                words = ["stream", str(sequence), "--output", str(out), "--min-visibility", "0.3", "--quiet"]
                assert main([*words, "--server", address]) == 0
                recordings[sequence.name] = out
    mine = [path for name, path in recordings.items() if name.startswith("synthetic-1-")]
    others = [path for name, path in recordings.items() if name.startswith("synthetic-2-")]
    out = tmp_path / "threshold.json"
    assert main(["calibrate", *map(str, mine), "--false-match-rate", str(RATE), "--output", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    known = calibrate(labelled([arrays_of(path) for path in mine]), RATE)
    assert known.low <= found["threshold"] <= known.high
    held_out = false_match_rate(labelled([arrays_of(path) for path in others]), found["threshold"])
    assert found["false_match_rate_low"] <= held_out <= found["false_match_rate_high"]


@pytest.mark.needs("shared-data")
def test_on_frames_of_mot17(shared_data: Path, tmp_path: Path) -> None:
    """A crowded square is recorded, and the people of five other sequences are held out."""
    model = shared_data / "models" / "osnet_x0_25_msmt17.onnx"
    recordings = {}
    with server_process(f"--model={model}", "--profile=torchreid") as (_, address):
        for number, sequence in enumerate(sorted((shared_data / "frames").glob("MOT17-*"))):
            out = tmp_path / f"{sequence.name}.npz"
            words = ["stream", str(sequence), "--output", str(out), "--min-visibility", "0.3", "--quiet"]
            assert main([*words, "--server", address]) == 0
            arrays = arrays_of(out)
            recordings[sequence.name] = {**arrays, "track_id": arrays["track_id"].astype(np.int64) + 1000 * number}
    recorded = recordings.pop("MOT17-04-FRCNN")
    found = calibrate(from_streams([tmp_path / "MOT17-04-FRCNN.npz"]), RATE)
    known = calibrate(labelled([recorded]), RATE)
    assert known.low <= found.threshold <= known.high
    rate = false_match_rate(labelled(list(recordings.values())), found.threshold)
    assert found.false_match_rate_low <= rate <= found.false_match_rate_high
