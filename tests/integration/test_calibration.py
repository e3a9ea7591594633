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


def halves(path: Path) -> tuple[Path, Groups]:
    """A recording of every other track, and the labelled pictures of the others."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    odd = arrays["track_id"] % 2 == 1
    part = path.with_suffix(".odd.npz")
    np.savez(part, **{name: rows[odd] if rows.ndim else rows for name, rows in arrays.items()})
    return part, labelled([{name: rows[~odd] if rows.ndim else rows for name, rows in arrays.items()}])


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
    """Half of the people of a crowded square are recorded, and the other half is held out."""
    model = shared_data / "models" / "osnet_x0_25_msmt17.onnx"
    out = tmp_path / "04.npz"
    with server_process(f"--model={model}", "--profile=torchreid") as (_, address):
        sequence = shared_data / "frames" / "MOT17-04-FRCNN"
        words = ["stream", str(sequence), "--output", str(out), "--min-visibility", "0.3", "--quiet"]
        assert main([*words, "--server", address]) == 0
    recorded, held_out = halves(out)
    found = calibrate(from_streams([recorded]), RATE)
    known = calibrate(labelled([arrays_of(recorded)]), RATE)
    assert known.low <= found.threshold <= known.high
    assert found.false_match_rate_low <= false_match_rate(held_out, found.threshold) <= found.false_match_rate_high
