"""Overload: what is judged, and live cameras against a real server that cannot keep up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.machine.processes import Place, server
from bench.overload.live import LiveCamera, Terms, watch
from bench.overload.report import misses, table
from bench.overload.run import message
from reidstream_proto.v1 import session_pb2

GOOD: dict[str, Any] = {
    "policy": "reject",
    "cameras": "one sends 10 x the boxes",
    "answer_p99_ms": 499.0,
    "of_peak": 0.98,
    "jain": 0.99,
    "others_kept": 0.96,
    "frames": {"embedded": 5},
}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("answer_p99_ms", 501.0, "p99 age at the answer is 501 ms, the budget 500"),
        ("of_peak", 0.96, "0.960 of the peak are embedded"),
        ("jain", 0.97, "Jain's index is 0.9700"),
        ("others_kept", 0.94, "the others have 0.940 of what they had"),
    ],
)
def test_every_target_can_be_missed(name: str, value: float, said: str) -> None:
    assert misses([GOOD]) == []
    (missed,) = misses([GOOD | {name: value}])
    assert missed.startswith("reject, one sends 10 x the boxes: ")
    assert said in missed
    assert "5 embedded" in table([GOOD])


def test_live_cameras_send_on_while_their_frames_are_given_up() -> None:
    """Every frame is answered, with vectors or a reason; a crop of the paced engine takes its time."""
    place = Place.apart()
    flags = ["--port", "0", "--metrics-port", "0", "--log-format", "json", "--slots", "1", "--crop-ms", "5"]
    cameras = [LiveCamera(message=message(2), frames_per_s=100)] * 2
    terms = Terms(policy=session_pb2.OVERLOAD_POLICY_REJECT, window=2, budget_ms=500)
    with server("bench.ceilings.instant", flags, place.server) as served:
        got = asyncio.run(watch(served.address, cameras, terms, warmup_s=0.1, measure_s=1.0))
    for camera in got:
        assert camera.frames["embedded"] * 2 == camera.boxes > 0
        assert camera.frames["window_full"] > 0
        assert len(camera.started_s) == len(camera.delays_s) == camera.frames["embedded"]
    assert sum(camera.boxes for camera in got) <= 1.2 * 1.1 / 0.005
