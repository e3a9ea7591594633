"""Which frames are recorded: what their client decided, else a share of them.

The words are those of OpenTelemetry's variable OTEL_TRACES_SAMPLER. Trap: the share is taken of the trace id, as
OpenTelemetry's own sampler does, so that every program with the same share decides alike about one trace.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .traceparent import TraceParent

DEFAULT_RATIO = 0.01
_TRACE_BITS, _SPAN_BITS, _SHARE_BITS = 128, 64, 64
_LOW = 2**_SHARE_BITS - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """`ratio`: the share of frames whose client did not decide. `heeds_clients`: a client's decision counts."""

    ratio: float = DEFAULT_RATIO
    heeds_clients: bool = True

    def trace_id(
        self, parent: TraceParent | None, random_bits: Callable[[int], int] = random.getrandbits
    ) -> int | None:
        """The trace that a frame is recorded in; None if it is not."""
        if parent is not None and self.heeds_clients:
            return parent.trace_id if parent.sampled else None
        if parent is not None:
            return parent.trace_id if self._chosen(parent.trace_id & _LOW) else None
        low = random_bits(_SHARE_BITS)
        if not self._chosen(low):
            return None
        return random_bits(_TRACE_BITS - _SHARE_BITS) << _SHARE_BITS | low or 1

    def _chosen(self, low: int) -> bool:
        return low < int(self.ratio * (_LOW + 1))


def new_span_id() -> int:
    """Random, and never 0, which means none."""
    return random.getrandbits(_SPAN_BITS) or 1


SAMPLERS: dict[str, Callable[[float], Sampler]] = {
    "always_on": lambda _: Sampler(ratio=1.0, heeds_clients=False),
    "always_off": lambda _: Sampler(ratio=0.0, heeds_clients=False),
    "traceidratio": lambda ratio: Sampler(ratio=ratio, heeds_clients=False),
    "parentbased_always_on": lambda _: Sampler(ratio=1.0),
    "parentbased_always_off": lambda _: Sampler(ratio=0.0),
    "parentbased_traceidratio": lambda ratio: Sampler(ratio=ratio),
}
"""By the words of OTEL_TRACES_SAMPLER, made of OTEL_TRACES_SAMPLER_ARG."""
