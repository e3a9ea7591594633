"""How long things take: clocks, the round trip, a frame's stages, and the uplink of raw frames.

Trap: times are of this moment and of a few tries. So they are told, and the worst that they can be is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning
from reidstream_client.cli.doctor.seen import Seen
from reidstream_client.cli.summary import STAGES
from reidstream_client.errors import ReidError
from reidstream_client.types import Timing

from .words import milliseconds, number, raw_was_late, silence

CLOCKS_APART_S: Final = 1.0
FAR_S: Final = 0.1
"""A round trip that is longer leaves little of a camera's time to the server."""

_P99_TIMES: Final = 5
_JPEG: Final = "Send JPEG (`stream --jpeg-quality 90`, or the camera's own files), or fewer frames a second."


def clock(seen: Seen) -> Finding:
    """Both machines have the same time."""
    read = None if seen.calls is None else seen.calls.clock
    if read is None:
        return unseen("clock", silence(seen) or "The server tells its clock only where `top` is allowed (--admin).")
    ahead = f"The server's clock is {abs(read.ahead_s):.3f} s {'ahead of' if read.ahead_s > 0 else 'behind'} mine"
    told = f"{ahead}, give or take {read.within_s:.3f} s"
    if abs(read.ahead_s) - read.within_s > CLOCKS_APART_S:
        return warning(
            "clock",
            f"{told}. Ages and latency budgets do not suffer, since no clocks are compared for them.",
            "Set both clocks (NTP): capture_unix_ns, the logs of both sides and certificates' dates go by them.",
            ahead_s=read.ahead_s,
        )
    return ok("clock", f"{told}.", ahead_s=read.ahead_s)


def round_trip(seen: Seen) -> Finding:
    """The way to the server and back, without its own work."""
    pings = () if seen.calls is None else seen.calls.pings
    if not pings:
        return unseen("round trip", silence(seen) or "Health was not answered.")
    p50, p99 = _percentiles(pings)
    told = f"{len(pings)} health checks took {milliseconds(p50)} in the median, and {milliseconds(p99)} at the 99th"
    told += " percentile"
    figures = {"p50_s": p50, "p99_s": p99}
    timings = _timings(seen)
    network = _median(timings, lambda timing: timing.network_s)
    server = _median(timings, lambda timing: timing.sent_s)
    if network is not None and server is not None:
        told += f"; of a frame, the server's part was {milliseconds(server)}, and the rest {milliseconds(network)}"
        figures |= {"network_p50_s": network, "server_p50_s": server}
    if p50 > FAR_S:
        return warning(
            "round trip",
            f"{told}. The server is far away, or the way to it is slow.",
            "Use a server that is nearer, or a larger window, so that more frames are on their way at a time.",
            **figures,
        )
    if p99 > FAR_S and p99 > _P99_TIMES * p50:
        return warning(
            "round trip",
            f"{told}. Now and then the way takes far longer.",
            "Look for lost packets (a radio link, a full uplink); a latency budget keeps old frames from piling up.",
            **figures,
        )
    return ok("round trip", f"{told}.", **figures)


def stages(seen: Seen) -> Finding:
    """Where a frame's time goes."""
    timings = _timings(seen)
    found: Mapping[str, float | None] = {name: _median(timings, stage) for name, stage in STAGES.items()}
    parts = {name: value for name, value in found.items() if value is not None}
    if not parts:
        return unseen("stages", silence(seen) or "No frame was answered.")
    told = ", ".join(f"{name} {milliseconds(value)}" for name, value in parts.items())
    return ok("stages", f"In the median: {told}.", **{f"{name.replace(' ', '_')}_s": parts[name] for name in parts})


def uplink(seen: Seen) -> Finding:
    """Raw frames at the camera's rate fit through the line."""
    frames = seen.frames
    answer = None if frames is None else frames.embed
    if frames is not None and raw_was_late(frames):
        return warning(
            "uplink",
            f"A raw frame of {number(frames.raw_bytes)} bytes was not answered within {seen.asked.timeout_s:g} s.",
            f"{_JPEG} To see how long it takes, give it more time (--timeout).",
        )
    if frames is None or answer is None or isinstance(answer, ReidError) or frames.embed_bytes != frames.raw_bytes:
        fits = "No raw frame was answered." if frames is None or not frames.too_large else "A raw frame does not fit."
        return unseen("uplink", silence(seen) or fits)
    took = answer.timing.network_s
    if not took:
        return unseen("uplink", "The server does not say how long its own part took.")
    fps = 1 / took
    told = f"A raw frame of {number(frames.raw_bytes)} bytes took {milliseconds(took)} on its way"
    if fps < seen.asked.fps:
        return warning(
            "uplink",
            f"{told}, so at most {fps:.1f} of them fit through the line in a second, of {seen.asked.fps:g}.",
            _JPEG,
            raw_fps=fps,
        )
    return ok("uplink", f"{told}.", raw_fps=fps)


def _timings(seen: Seen) -> Sequence[Timing]:
    """Of the stream's frames that came back with vectors."""
    frames = seen.frames
    if frames is None:
        return ()
    return [one.timing for one in frames.answers if one.error is None and not one.local]


def _median(timings: Sequence[Timing], part: Callable[[Timing], float | None]) -> float | None:
    values = [value for timing in timings if (value := part(timing)) is not None]
    return float(np.median(values)) if values else None


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(np.asarray(values), [50, 99]).tolist()
    return p50, p99
