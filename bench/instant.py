"""An engine that costs nothing, and a server with it: `python -m bench.instant`, with the server's own flags.

Why not the tests' fake engine: it hashes every picture, 0.6 ms for eight ready crops, which is about what their whole
transport costs. Here pictures are staged for real, and every crop gets the same vector: what remains is serving.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.fake import fake_spec
from reidstream_engines.protocol import Crop, Embeddings, EngineInfo, EngineLimits, Health
from reidstream_engines.spec import ModelSpec
from reidstream_server.app import serve
from reidstream_server.config import load_config
from reidstream_server.loading import Engines
from reidstream_server.logs import configure

DIM = 64


@dataclass(frozen=True, slots=True)
class InstantTicket:
    """Rows that are there already."""

    rows: Embeddings

    def result(self) -> Embeddings:
        """See `Ticket`."""
        return self.rows.copy()


class InstantEngine:
    """See `Engine`. Does not look at its crops."""

    def __init__(self, max_batch: int = 8, slots: int = 2) -> None:
        self.spec: ModelSpec = fake_spec("instant", DIM)
        self.limits = EngineLimits(max_batch=max_batch, slots=slots, cores=1)
        self.info = EngineInfo(engine="instant", device="none", precision="fp32")
        self._rows: Embeddings = np.full((max_batch, DIM), DIM**-0.5, np.float32)

    def health(self) -> Health:
        """See `Engine`."""
        return Health.SERVING

    def submit(self, crops: Sequence[Crop]) -> InstantTicket:
        """See `Engine`."""
        return InstantTicket(self._rows[: len(crops)])

    def close(self) -> None:
        """See `Engine`."""


def main() -> int:
    """Serve until told to stop."""
    config = load_config(sys.argv[1:], os.environ)
    configure(config.log.log_level, config.log.log_format)
    engine = InstantEngine(max_batch=config.engine.max_batch or 8, slots=config.engine.slots or 2)
    return asyncio.run(serve(config, Engines(engines=(engine,), stager=CpuStager()))).code


if __name__ == "__main__":
    sys.exit(main())
