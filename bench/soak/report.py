"""What a soak found, as a table and as JSON, and which targets it missed.

Trap: the memory that counts is what stays after trimming, and what is allocated of it (see `trimmed`). Untrimmed, it
changes by tens of megabytes from one sample to the next. The counts of frames say little by themselves: whatever was
wrong with a single frame is in the book's faults.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

from .footprint import Footprint
from .growth import PER_FRAMES, difference, slope
from .run import CAMERAS, Soak

MOST_GROWTH = 1_000_000
_JUDGED = 10_000
_JUDGED_MEMORY = ("allocated", "trimmed")
_POOL_THREADS = 4  # gRPC's own pool grows and shrinks by itself; a thread for each stream would be hundreds
_MB = 1e6


def as_json(run: Soak) -> dict[str, object]:
    """The same for programs."""
    book = run.book
    return {
        "frames": run.frames,
        "warmup": run.warmup,
        "seconds": run.seconds,
        "scrapes": run.scrapes,
        "growth_bytes": growth(run),
        "samples": [
            {"frames": one.frames, "trimmed": dataclasses.asdict(one.memory), **dataclasses.asdict(one.footprint)}
            for one in run.samples
        ],
        "cameras": [dataclasses.asdict(one) for one in run.own],
        "held": run.held,
        "sent": book.sent,
        "frames_answered": book.frames_answered,
        "boxes_answered": book.boxes_answered,
        "sessions": book.streams,
    }


def growth(run: Soak) -> dict[str, tuple[float, float]]:
    """Bytes per 10,000 frames, by name: the slope through all samples, and the difference from first to last."""
    frames = [sample.frames for sample in run.samples]
    measures = {
        "allocated": [sample.memory.allocated_bytes for sample in run.samples],
        "trimmed": [sample.memory.resident_bytes for sample in run.samples],
        "resident": [sample.footprint.resident_bytes for sample in run.samples],
    }
    return {name: (slope(frames, sizes), difference(frames, sizes)) for name, sizes in measures.items()}


def misses(run: Soak) -> list[str]:
    """The targets that were missed, in words. Memory is judged only in runs of 10,000 frames or more."""
    found = list(run.book.faults)
    if run.book.sent.total() != run.book.frames_answered.total():
        found.append(f"{run.book.sent.total()} frames were sent, but {run.book.frames_answered.total()} came to an end")
    if run.frames >= _JUDGED:
        found += [
            f"{name} memory grows by {size / _MB:.2f} MB per {PER_FRAMES:,} frames"
            for name, (size, _) in growth(run).items()
            if name in _JUDGED_MEMORY and size >= MOST_GROWTH
        ]
    first, last = run.samples[0].footprint, run.samples[-1].footprint
    found += _left("the server", first, last) + _left("the cameras' process", run.own[0], run.own[1])
    found += [f"the server still holds something: {name} is {value:g}" for name, value in run.held.items() if value]
    return found


def _left(who: str, first: Footprint, last: Footprint) -> list[str]:
    found = [
        f"{who} has {after} {name}, {before} after the warm-up"
        for name, slack in (("descriptors", 0), ("threads", _POOL_THREADS))
        if (after := getattr(last, name)) > (before := getattr(first, name)) + slack
    ]
    return found + [f"{who} has {last.segments} segments of shared memory"] * bool(last.segments)


def table(run: Soak) -> str:
    """The whole run as text."""
    how = f"{run.frames / run.seconds:.0f}/s, {CAMERAS} cameras at a time and one with single calls"
    lines = [
        f"{run.frames:,} frames after {run.warmup:,} to warm up, {how}; {run.scrapes} scrapes",
        "",
        "  frames  resident MB  trimmed  allocated  Python's blocks  descriptors  segments  threads",
    ]
    for sample in run.samples:
        held, memory = sample.footprint, sample.memory
        sizes = f"{held.resident_bytes / _MB:>11.1f}  {memory.resident_bytes / _MB:>7.1f}"
        used = f"{memory.allocated_bytes / _MB:>9.2f}  {memory.blocks:>15,}"
        counts = f"{held.descriptors:>11}  {held.segments:>8}  {held.threads:>7}"
        lines.append(f"{sample.frames:>8}  {sizes}  {used}  {counts}")
    lines += ["", f"growth in MB per {PER_FRAMES:,} frames    by the slope    from first to last"]
    for name, (by_slope, by_difference) in growth(run).items():
        lines.append(f"  {name:<35}{by_slope / _MB:>+12.2f}{by_difference / _MB:>+22.2f}")
    book = run.book
    for title, found in (
        ("sent", book.sent),
        ("frames answered", book.frames_answered),
        ("boxes answered", book.boxes_answered),
        ("sessions", book.streams),
    ):
        lines += ["", f"{title}: {found.total():,}", *_counted(found)]
    return "\n".join(lines)


def _counted(counts: Counter[str]) -> list[str]:
    width = max(map(len, counts), default=0)
    return [f"  {name:<{width}}  {number:>7,}" for name, number in counts.most_common()]
