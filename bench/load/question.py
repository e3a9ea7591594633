"""What the load generator is asked to send, and what it answers. Both travel as JSON between two processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from bench.machine.processes import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send, and where.

    `messages`: files of serialised requests without frame_id. `shared`: their raw pixels are put into shared memory.
    `frames_per_s`: of all connections together (open loop); None: each connection keeps `window` frames unanswered
    (closed loop). Resources of `server_pid` and `server_cores` are measured from the end of the warm-up on.
    """

    target: str
    server_pid: int
    server_cores: list[int]
    messages: list[str]
    warmup_s: float
    measure_s: float
    connections: int = 16
    window: int = 4
    shared: bool = False
    frames_per_s: float | None = None
    jitter: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What was used in `seconds`. `others_cpu_s`: CPU time that other processes took on the server's cores."""

    seconds: float
    server_cpu_s: float
    server_faults: int
    server_resident_bytes: int
    others_cpu_s: float
    load_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """Frames that were answered (closed loop) or sent (open loop) while it was measured.

    `began_s`: by this machine's clock (`time.perf_counter`). `sent_s`, since then, rises. `delays_s` (from sending to
    the answer) and `late_s` (from the planned moment to sending, 0 in a closed loop) are in the same order.
    """

    embedded: int
    began_s: float
    sent_s: list[float]
    delays_s: list[float]
    late_s: list[float]
    used: Resources


def run_load(load: Load, cores: Sequence[int]) -> LoadResult:
    """Send a load from a process on these cores. Raises BenchFailed."""
    answer = ask("bench.load.generator", dataclasses.asdict(load), cores, load.warmup_s + load.measure_s)
    return LoadResult(**answer | {"used": Resources(**answer["used"])})
