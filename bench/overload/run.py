"""1.5 times what the server can do, and what each camera gets of it.

The engine sleeps 2 ms for each crop, one batch at a time: a device with a known capacity that needs no core. A closed
loop first measures what it really gives (the peak). Then live cameras send 1.5 times that: first all alike, then with
one greedy camera that sends ten times the frames, or frames with ten times the boxes.

Trap: with and without a greedy camera, a fair share is 1/32, since the greedy one counts as one camera. So what the
others get is compared with what they got when all were alike.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import cv2
import grpc
import numpy as np

from bench.load.generator import LoadFailed
from bench.load.pictures import draw_scene
from bench.load.question import Load, run_load
from bench.machine.processes import BenchFailed, Place, Server, pinned, server
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2

from .fairness import jain, kept
from .live import Got, LiveCamera, Terms, watch

CAMERAS, BOXES, WINDOW, BUDGET_MS, LOAD, GREED = 32, 2, 3, 500, 1.5, 10
_WARMUP_S, _PEAK_S = 3.0, 8.0
_WIDTH, _HEIGHT = 320, 240
_SERVER = ("--port", "0", "--metrics-port", "0", "--log-format", "json", "--slots", "1", "--crop-ms", "2")

Progress = Callable[[str, float], None]
"""Called after each step with its name and its seconds."""


class Policy(Enum):
    """What happens to frames for which there is no room; the values are the contract's."""

    DROP_OLDEST = session_pb2.OVERLOAD_POLICY_DROP_OLDEST
    REJECT = session_pb2.OVERLOAD_POLICY_REJECT


class Greed(Enum):
    """What the first camera does."""

    NONE = "32 equal"
    RATE = "one sends 10 x the frames"
    BOXES = "one sends 10 x the boxes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One policy with one kind of greed. `offered`: boxes/s that the cameras were told to send."""

    policy: Policy
    greed: Greed
    seconds: float
    offered: float
    got: tuple[Got, ...]

    def rates(self) -> list[float]:
        """Embedded boxes/s of each camera, the greedy one first."""
        return [got.boxes / self.seconds for got in self.got]

    def fairness(self) -> float:
        """Jain's index of them."""
        return jain(self.rates())

    def others_kept(self, equal: Stretch) -> tuple[float, float]:
        """What all cameras but the first have, as a share of what they had in `equal`: together, and the worst one."""
        return kept(self.rates()[1:], equal.rates()[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """A whole run. `peaks`: embedded boxes/s in a closed loop, right before a policy's stretches."""

    peaks: dict[Policy, float]
    stretches: tuple[Stretch, ...]

    def equal(self, policy: Policy) -> Stretch:
        """The stretch without greed."""
        return next(one for one in self.stretches if one.policy is policy and one.greed is Greed.NONE)


def duration_s(seconds: float) -> float:
    """How long a run takes, without starting processes."""
    return len(Policy) * (_WARMUP_S + _PEAK_S + len(Greed) * (_WARMUP_S + seconds))


def overload(seconds: float, place: Place, progress: Progress) -> Overload:
    """Measure; `seconds` for each stretch. Raises BenchFailed."""
    with server("bench.ceilings.instant", _SERVER, place.server) as served:
        peaks: dict[Policy, float] = {}
        stretches: list[Stretch] = []
        for policy in Policy:
            peak = peaks[policy] = _peak(served, place)
            progress("peak", _WARMUP_S + _PEAK_S)
            for greed in Greed:
                cameras = _cameras(LOAD * peak, greed)
                terms = Terms(policy=policy.value, window=WINDOW, budget_ms=BUDGET_MS)
                got = _watch(served, cameras, terms, seconds, place)
                offered = LOAD * peak * (1 if greed is Greed.NONE else (CAMERAS - 1 + GREED) / CAMERAS)
                stretches.append(Stretch(policy=policy, greed=greed, seconds=seconds, offered=offered, got=tuple(got)))
                progress(f"{policy.name.lower()}: {greed.value}", _WARMUP_S + seconds)
    return Overload(peaks=peaks, stretches=tuple(stretches))


def _peak(served: Server, place: Place) -> float:
    with tempfile.TemporaryDirectory(prefix="reidstream-bench-") as folder:
        path = Path(folder) / "frame.bin"
        path.write_bytes(message(BOXES))
        load = Load(
            target=served.address,
            server_pid=served.pid,
            server_cores=list(place.server),
            messages=[str(path)],
            warmup_s=_WARMUP_S,
            measure_s=_PEAK_S,
            connections=CAMERAS,
            window=WINDOW,
        )
        seen = run_load(load, place.load)
    return seen.embedded / seen.used.seconds


def _watch(served: Server, cameras: Sequence[LiveCamera], terms: Terms, seconds: float, place: Place) -> list[Got]:
    try:
        with pinned(place.load):
            return asyncio.run(watch(served.address, cameras, terms, warmup_s=_WARMUP_S, measure_s=seconds))
    except (LoadFailed, grpc.aio.AioRpcError) as error:
        raise BenchFailed(f"the load failed: {error!r}") from error
    except TimeoutError as error:
        raise BenchFailed("some frames were not answered in time") from error


def _cameras(boxes_per_s: float, greed: Greed) -> list[LiveCamera]:
    """All alike except the first one. Without greed they send `boxes_per_s` together."""
    rate = boxes_per_s / CAMERAS / BOXES
    alike = LiveCamera(message=message(BOXES), frames_per_s=rate)
    first = {
        Greed.NONE: alike,
        Greed.RATE: LiveCamera(message=alike.message, frames_per_s=GREED * rate),
        Greed.BOXES: LiveCamera(message=message(GREED * BOXES), frames_per_s=rate),
    }
    return [first[greed], *[alike] * (CAMERAS - 1)]


def message(boxes: int) -> bytes:
    """A small JPEG with this number of boxes, serialised, without frame_id."""
    scene = cv2.resize(draw_scene(np.random.default_rng(0)), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    frame = frame_pb2.Frame()
    frame.encoded.data = cv2.imencode(".jpg", scene)[1].tobytes()
    for index in range(boxes):
        left = 10 + 9 * (index % 20)
        frame.boxes.add().rect.CopyFrom(image_pb2.Rect(x1=left, y1=20, x2=left + 60, y2=180))
    return service_pb2.EmbedStreamRequest(frame=frame).SerializeToString()


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """A percentile in milliseconds; 0 if there are no values."""
    return float(np.percentile(seconds, share)) * 1000 if seconds else 0.0
