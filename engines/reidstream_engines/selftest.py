"""Runs an engine before it serves: warms it up and checks its numbers.

Why: the first call of every batch size is slow (memory is laid out, kernels are chosen). And an engine can be wrong
without failing: it may mix up the rows of a batch, give NaN, or give one vector for everything. Random crops, sent the
whole way from pixels to rows, find this in a fraction of a second.

Trap: the test shows that an engine agrees with itself. It cannot show that the preprocessing is the one that the
network was trained with; golden vectors do that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import EngineFault
from .image import ColorMatrix, ColorRange, PixelBox, PixelFormat, RawImage
from .protocol import BoxCrop, Embeddings, Engine, Stager

DEFAULT_TOLERANCE = 1e-5
REDUCED_TOLERANCE = 1e-2
"""With fewer bits than float32, kernels for different batch sizes may round differently."""

_ONE_BY_ONE = (
    "crops one at a time work, batches do not: --max-batch 1 serves this file, more slowly; or export it with an open "
    "batch axis (docs/models.md)"
)

_SEED = 20_170
_FRAME_WIDTH, _FRAME_HEIGHT, _BLOCK = 640, 480, 16
_NORM_TOLERANCE = 1e-3
_TIMED_RUNS = 3  # the fastest counts: a runtime with several streams warms up each of them separately


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTiming:
    """How long a warm batch of `size` crops took, with the preparation of its crops."""

    size: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestReport:
    """A test that was passed.

    `max_difference`: between a crop's vector alone and in the largest batch, relative to its length. `min_cosine`:
    between the same two.
    """

    timings: tuple[BatchTiming, ...]
    max_difference: float
    min_cosine: float


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `max_batch` itself."""
    sizes = [1]
    while sizes[-1] * 2 < max_batch:
        sizes.append(sizes[-1] * 2)
    if max_batch > 1:
        sizes.append(max_batch)
    return tuple(sizes)


def self_test(
    engine: Engine,
    stager: Stager,
    *,
    tolerance: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> SelfTestReport:
    """Warm up every batch size, and compare the largest batch with the same crops alone.

    Raises EngineFault. If crops alone are right and only batches are not, it says that batches of one can be served.
    `tolerance`: how much a number of a vector may differ, relative to the vector's length. None: as the engine's
    precision allows.
    """
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCE if engine.info.precision == "fp32" else REDUCED_TOLERANCE
    limit = engine.limits.max_batch
    boxes = noise_boxes(max(2, limit))
    with stager.stage(noise(), boxes) as frame:
        crops = [BoxCrop(frame=frame, box=box) for box in boxes]
        alone = np.concatenate([_run(engine, [crop]) for crop in crops])
        lengths = np.linalg.norm(alone, axis=1)
        if (np.abs(alone - alone[0]).max(axis=1) <= tolerance * lengths).all():
            raise EngineFault("the network gives every crop the same vector")
        timings = [_timed(engine, crops[:1], clock)]
        try:
            timings += [_timed(engine, crops[:size], clock) for size in batch_sizes(limit)[1:]]
            batched = _run(engine, crops[:limit])
            difference = _difference(batched, alone[:limit], tolerance)
        except EngineFault as error:
            raise error if limit == 1 else EngineFault(f"{_ONE_BY_ONE}. The fault: {error}") from error
    cosine = _lowest_cosine(batched, alone[:limit])
    return SelfTestReport(timings=tuple(timings), max_difference=difference, min_cosine=cosine)


def _timed(engine: Engine, crops: Sequence[BoxCrop], clock: Callable[[], float]) -> BatchTiming:
    _run(engine, crops)
    seconds = []
    for _ in range(_TIMED_RUNS):
        start = clock()
        _run(engine, crops)
        seconds.append(clock() - start)
    return BatchTiming(size=len(crops), seconds=min(seconds))


def _difference(batched: Embeddings, alone: Embeddings, tolerance: float) -> float:
    """The largest difference of a row, relative to its length. Raises EngineFault if it is more than `tolerance`."""
    differences = np.abs(batched - alone).max(axis=1) / np.linalg.norm(alone, axis=1)
    worst = int(differences.argmax())
    if differences[worst] > tolerance:
        raise EngineFault(
            f"row {worst} of a batch of {len(batched)} differs from the same crop alone by {differences[worst]:.2g}, "
            f"more than {tolerance:.2g}"
        )
    return float(differences[worst])


def _lowest_cosine(batched: Embeddings, alone: Embeddings) -> float:
    """Of the vectors of the same crops. In float64: float32 would round to more than 1."""
    one, other = batched.astype(np.float64), alone.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).min().clip(-1.0, 1.0))


def _run(engine: Engine, crops: Sequence[BoxCrop]) -> Embeddings:
    rows = engine.submit(crops).result()
    output = engine.spec.output
    count = len(crops)
    if rows.shape != (count, output.dim) or rows.dtype != np.float32:
        raise EngineFault(
            f"a batch of {count} gave {rows.dtype} {rows.shape}; float32 ({count}, {output.dim}) is expected"
        )
    if not np.isfinite(rows).all():
        raise EngineFault(f"a batch of {count} gave numbers that are not finite")
    lengths = np.linalg.norm(rows, axis=1)
    if (lengths == 0.0).any():
        raise EngineFault(f"a batch of {count} gave the zero vector")
    if output.l2_normalize and np.abs(lengths - 1.0).max() > _NORM_TOLERANCE:
        raise EngineFault(f"a batch of {count} gave vectors of length {lengths.tolist()}, not 1")
    return rows


def noise() -> RawImage:
    """Blocks of random colours, so that crops differ in what a network sees."""
    rng = np.random.default_rng(_SEED)
    blocks = rng.integers(0, 256, (_FRAME_HEIGHT // _BLOCK, _FRAME_WIDTH // _BLOCK, 3), np.uint8)
    return RawImage(
        data=blocks.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1).tobytes(),
        format=PixelFormat.BGR,
        width=_FRAME_WIDTH,
        height=_FRAME_HEIGHT,
        stride=_FRAME_WIDTH * 3,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )


def noise_boxes(count: int) -> list[PixelBox]:
    """Upright boxes of 40 x 80 to 160 x 320 pixels, anywhere in the frame."""
    rng = np.random.default_rng(_SEED)
    boxes = []
    for _ in range(count):
        width = int(rng.integers(40, 161))
        x1 = int(rng.integers(0, _FRAME_WIDTH - width + 1))
        y1 = int(rng.integers(0, _FRAME_HEIGHT - 2 * width + 1))
        boxes.append(PixelBox(x1=x1, y1=y1, x2=x1 + width, y2=y1 + 2 * width))
    return boxes
