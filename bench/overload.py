"""`python -m bench overload`: half as much again as the server can do, and who gets what of it.

The engine takes 2 ms for a crop, asleep, one batch at a time: a capacity that is known, on a device that takes no core.
What it really gives is measured first, by a closed loop; the cameras then send 1.5 times that, live, all alike, and
then with one among them that is greedy: ten times the frames, or frames of ten times the boxes.

Trap: a camera's fair share is the same 32nd with and without a greedy one, since that one is one camera too. So what
the others get is compared with what they got among equals.
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

from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2

from .fairness import jain, kept
from .live import Got, LiveCamera, Terms, watch
from .load import Load, LoadFailed
from .pictures import draw_scene
from .processes import BenchFailed, Place, Server, pinned, run_load, server

CAMERAS, BOXES, WINDOW, BUDGET_MS, LOAD, GREED = 32, 2, 3, 500, 1.5, 10
_WARMUP_S, _PEAK_S = 3.0, 8.0
_WIDTH, _HEIGHT = 320, 240
_SERVER = ("--port", "0", "--metrics-port", "0", "--log-format", "json", "--slots", "1", "--crop-ms", "2")

Progress = Callable[[str, float], None]
"""Is told what was just done, and how many seconds it was worth."""


class Policy(Enum):
    """What becomes of frames for which there is no room; the values are the contract's."""

    DROP_OLDEST = session_pb2.OVERLOAD_POLICY_DROP_OLDEST
    REJECT = session_pb2.OVERLOAD_POLICY_REJECT


class Greed(Enum):
    """What the first camera does."""

    NONE = "32 equal"
    RATE = "one sends 10 x the frames"
    BOXES = "one sends 10 x the boxes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One policy, one kind of greed. `offered`: boxes/s that the cameras were to send."""

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
        """What the cameras but the first have, as a share of what they had among equals: together, and the worst."""
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
    with server("bench.instant", _SERVER, place.server) as served:
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
        raise BenchFailed("not every frame was answered in time") from error


def _cameras(boxes_per_s: float, greed: Greed) -> list[LiveCamera]:
    """All alike but the first; together, without greed, they send so many boxes/s."""
    rate = boxes_per_s / CAMERAS / BOXES
    alike = LiveCamera(message=message(BOXES), frames_per_s=rate)
    first = {
        Greed.NONE: alike,
        Greed.RATE: LiveCamera(message=alike.message, frames_per_s=GREED * rate),
        Greed.BOXES: LiveCamera(message=message(GREED * BOXES), frames_per_s=rate),
    }
    return [first[greed], *[alike] * (CAMERAS - 1)]


def message(boxes: int) -> bytes:
    """A small JPEG with so many boxes, serialised, without frame_id."""
    scene = cv2.resize(draw_scene(np.random.default_rng(0)), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    frame = frame_pb2.Frame()
    frame.encoded.data = cv2.imencode(".jpg", scene)[1].tobytes()
    for index in range(boxes):
        left = 10 + 9 * (index % 20)
        frame.boxes.add().rect.CopyFrom(image_pb2.Rect(x1=left, y1=20, x2=left + 60, y2=180))
    return service_pb2.EmbedStreamRequest(frame=frame).SerializeToString()


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """In milliseconds; of nothing it is 0."""
    return float(np.percentile(seconds, share)) * 1000 if seconds else 0.0
