"""A server whose engine costs nothing: `python -m bench.ceilings.instant`, with the server's own flags.

With `--undecoded` pictures are staged without a look at them. With `--crop-ms 2` the engine sleeps 2 ms for each crop:
a device with a known capacity, for the overload run.

Why not the tests' fake engine: it hashes every picture, which takes 0.6 ms for eight ready crops, about as much as
their whole transport. Here pictures are really staged, and every crop gets the same vector: what remains is serving.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from typing_extensions import Self, override

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.fake import fake_spec
from reidstream_engines.image import Image, PixelBox, RawImage
from reidstream_engines.protocol import (
    Crop,
    DeviceUsage,
    Embeddings,
    EngineInfo,
    EngineLimits,
    Health,
    StagedFrame,
    Stager,
)
from reidstream_engines.spec import ModelSpec
from reidstream_server.app import operators_port, serve
from reidstream_server.bounds import scheduler_limits
from reidstream_server.config import load_config
from reidstream_server.loading import Engines
from reidstream_server.logs import configure
from reidstream_server.memory.allocator import keep_freed_memory
from reidstream_server.memory.collector import leave_out_what_is_there
from reidstream_server.stopping import stoppable

DIM = 64


@dataclass(frozen=True, slots=True)
class InstantTicket:
    """Rows that are ready, or will be after `seconds` of sleep."""

    rows: Embeddings
    seconds: float

    def result(self) -> Embeddings:
        """See `Ticket`."""
        if self.seconds:
            time.sleep(self.seconds)
        return self.rows.copy()


class InstantEngine:
    """See `Engine`. Ignores its crops. With `seconds_per_crop` it sleeps, as if a device computed: it needs no core."""

    def __init__(self, max_batch: int = 8, slots: int = 2, seconds_per_crop: float = 0.0) -> None:
        self.spec: ModelSpec = fake_spec("instant", DIM)
        self.limits = EngineLimits(max_batch=max_batch, slots=slots, cores=0 if seconds_per_crop else 1)
        self.info = EngineInfo(engine="instant", device="none", precision="fp32")
        self._seconds_per_crop = seconds_per_crop
        drawn = np.random.default_rng(0).standard_normal(DIM)  # as long in JSON as any
        self._rows: Embeddings = np.tile((drawn / np.linalg.norm(drawn)).astype(np.float32), (max_batch, 1))

    def health(self) -> Health:
        """See `Engine`."""
        return Health.SERVING

    def submit(self, crops: Sequence[Crop]) -> InstantTicket:
        """See `Engine`."""
        return InstantTicket(self._rows[: len(crops)], self._seconds_per_crop * len(crops))

    def close(self) -> None:
        """See `Engine`."""


class InstantFrame(StagedFrame):
    """A picture at which nobody looks."""

    __slots__ = ("image_size",)

    def __init__(self, image: Image) -> None:
        self.image_size = (image.width, image.height)

    @override
    def close(self) -> None:
        """Nothing is held."""

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Nothing is held."""


class InstantStager(Stager):
    """Stages without decoding, in the threads that would decode."""

    @override
    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> InstantFrame:
        return InstantFrame(image)

    @override
    def instant(self, image: Image) -> bool:
        return isinstance(image, RawImage)

    @override
    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        return image.width * image.height * 3

    @override
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        return 0

    @override
    def devices(self) -> tuple[DeviceUsage, ...]:
        return ()


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--crop-ms", type=float, default=0.0)
    parser.add_argument("--undecoded", action="store_true")
    own, flags = parser.parse_known_args()
    config = load_config(flags, os.environ)
    configure(config.log.log_level, config.log.log_format)
    keep_freed_memory(scheduler_limits(config).cores)  # as the server's own start does
    engine = InstantEngine(
        max_batch=config.engine.max_batch or 8, slots=config.engine.slots or 2, seconds_per_crop=own.crop_ms / 1000
    )
    stager = InstantStager() if own.undecoded else CpuStager()
    leave_out_what_is_there()
    with stoppable() as stop, operators_port(config) as operators:
        return asyncio.run(serve(config, Engines(engines=(engine,), stager=stager), stop, operators)).code


if __name__ == "__main__":
    sys.exit(main())
