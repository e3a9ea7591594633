"""The results of the run, in words and a small table.

The stages are times that the server measured. `network` is the rest: the connection, and gRPC on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from reidstream_client import Timing

from .clips import Clip
from .identify import Identification, Score
from .streaming import WINDOW_FRAMES, Run

_PERCENTILES = (50, 95, 99)
_STAGES: tuple[tuple[str, Callable[[Timing], float | None], str], ...] = (
    ("decode", lambda timing: timing.decoded_s, "waiting for a decoder, and decoding"),
    ("queue", lambda timing: timing.queue_s, "until its first batch starts"),
    ("infer", lambda timing: timing.inference_s, "until its last batch ends"),
    ("reply", lambda timing: timing.reply_s, "until its answer is composed, in order"),
    ("server", lambda timing: timing.sent_s, "all of the above"),
    ("network", lambda timing: timing.network_s, "connection and gRPC, both ways"),
    ("total", lambda timing: timing.round_trip_s, "as the camera sees it"),
)


def performance(run: Run, clips: tuple[Clip, Clip]) -> str:
    """Throughput, and latency by stage."""
    answers = [answer for camera in run.answers for answer in camera]
    boxes = sum(len(answer.outcomes) for answer in answers)
    seconds = run.elapsed_s
    megabytes = sum(len(shot.jpeg) for clip in clips for shot in clip.shots) / 1e6 / seconds
    engine, model = run.model.engine, run.model.model
    lines = [
        f"model       {model.name}, {model.dim} numbers a vector, on {engine.engine} ({engine.device})",
        f"streamed    {len(answers)} frames and {boxes} boxes in {seconds:.1f} s, {WINDOW_FRAMES} a camera in flight",
        f"throughput  {len(answers) / seconds:.0f} frames/s, {boxes / seconds:.0f} boxes/s, {megabytes:.0f} MB/s",
        "",
        "latency, ms " + "".join(f"{f'p{percentile}':>8}" for percentile in _PERCENTILES),
    ]
    lines += _latency([answer.timing for answer in answers])
    return "\n".join(lines)


def matches(found: Identification, clips: tuple[Clip, Clip]) -> str:
    """Who was found again, and how that compares with guessing."""
    right = sum(found.right(pair) for pair in found.pairs)
    lines = [
        f"matched     {right} of {found.tracks.queries} people paired rightly across the cameras",
        f"rank-1      {_share(found.tracks, 'tracks')}, {_share(found.boxes, 'single boxes')}",
    ]
    first, second = clips
    words = [
        f"{first.label(int(found.queries[pair.row]))}={second.label(int(found.gallery[pair.column]))}"
        f"{'' if found.right(pair) else ' (wrong)'}"
        for pair in found.pairs
    ]
    return "\n".join([*lines, f"pairs       {'  '.join(words)}"])


def _share(score: Score, what: str) -> str:
    return f"{score.rank1:.0%} of {score.queries} {what} (guessing: {score.chance:.0%})"


def _latency(timings: list[Timing]) -> Iterator[str]:
    for name, stage, meaning in _STAGES:
        values = [seconds for timing in timings if (seconds := stage(timing)) is not None]
        if values:
            columns = "".join(f"{value * 1e3:>8.1f}" for value in np.percentile(values, _PERCENTILES))
            yield f"  {name:<10}{columns}   {meaning}"
