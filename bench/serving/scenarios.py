"""What is measured: the scenarios, and the steps of one, repeated.

    tiny        the embedded network, 8 boxes all over a frame: serving itself is the work
    tiny-band   the same, boxes in a band of 400 rows
    crops       8 ready crops, raw, and an engine that costs nothing: the messages are the work
    raw         raw frames of 1080p, 8 boxes, and an engine that costs nothing: bringing the pixels is the work
    shared      the same frames by handle, in shared memory
    model       a network of the caller's, boxes all over a frame: the network is the work

Each on one core; and those whose work is decoding and networks on all cores, too.

Trap: the steps of a repeat (ceilings, then server) follow each other closely, because what else the machine does
changes from minute to minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.ceilings.fifo import drawn_service, fifo_delays
from bench.ceilings.in_process import Ceiling, Task, run_ceiling
from bench.load.pictures import Content, Pictures
from bench.load.question import Load, LoadResult, run_load
from bench.machine.processes import BenchFailed, Place, Server, server

from .results import Figures, Row, Subject

Progress = Callable[[str, float], None]
"""Called after each step with its name and its seconds of measuring."""

_MIB = 2**20
_SERVER = ("--port", "0", "--metrics-port", "0", "--log-format", "json")
_HALF = 0.5
_ON_ALL_CORES = ", all cores"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`model` None: the embedded network. `instant`: an engine that costs nothing; half load is then not measured.

    `shared`: raw frames by handle. `all_cores`: server and load generator share every core; else each has its own.
    """

    name: str
    content: Content
    all_cores: bool = False
    dim: int = 64
    instant: bool = False
    shared: bool = False
    model: Path | None = None
    profile: str | None = None

    @property
    def title(self) -> str:
        """What people and files call it."""
        return f"{self.name}{_ON_ALL_CORES * self.all_cores}"

    @property
    def place(self) -> Place:
        """Where it runs."""
        return Place.together() if self.all_cores else Place.apart()

    def server(self) -> tuple[str, list[str]]:
        """Module and arguments."""
        arguments = list(_SERVER)
        if self.model is not None:
            arguments += ["--model", str(self.model)]
        if self.profile is not None:
            arguments += ["--profile", self.profile]
        return "bench.ceilings.instant" if self.instant else "reidstream_server.cli", arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured. Times are in seconds; `half_s` is longer, for the 99th percentile."""

    repeats: int
    warmup_s: float
    closed_s: float
    half_s: float
    connections: int = 16
    window: int = 4
    boxes: int = 8
    jitter: float = 0.1

    def seconds(self, scenario: Scenario) -> float:
        """How long a scenario is measured, without starting processes."""
        half = 0.0 if scenario.instant else self.warmup_s + self.half_s
        return self.repeats * (3 * (self.warmup_s + self.closed_s) + half)


def measure(scenario: Scenario, effort: Effort, folder: Path, progress: Progress) -> Iterator[Row]:
    """Measure a scenario; its messages are written into `folder`. Raises BenchFailed."""
    messages, place = _write(scenario, effort, folder), scenario.place
    found: dict[Subject, list[Figures]] = {}
    module, arguments = scenario.server()
    cores = len(place.server)
    with ExitStack() as stack:
        sizes = ["--boxes", str(effort.boxes), "--dim", str(scenario.dim)]
        echo = stack.enter_context(server("bench.ceilings.echo", sizes, place.server))
        served = stack.enter_context(server(module, arguments, place.server))
        step = _Steps(scenario, effort, place, messages, progress)
        for repeat in range(effort.repeats):
            ceiling = step.ceiling()
            found.setdefault(Subject.CEILING, []).append(_of_ceiling(ceiling))
            found.setdefault(Subject.ECHO, []).append(_of_load(step.load(echo, "echo"), cores))
            found.setdefault(Subject.SERVER, []).append(_of_load(step.load(served, "server"), cores))
            if not scenario.instant:
                rate = _HALF * len(ceiling.service_s) / ceiling.seconds
                seen = step.load(served, "half load", rate=rate, seed=repeat)
                found.setdefault(Subject.HALF_LOAD, []).append(_of_load(seen, None))
                service = drawn_service(ceiling.service_s, len(seen.sent_s), seed=repeat)
                delays = fifo_delays(seen.sent_s, service, ceiling.workers)
                found.setdefault(Subject.FIFO, []).append(_percentiles(delays.tolist()))
    for subject, repeats in found.items():
        yield Row(scenario=scenario.title, subject=subject, repeats=tuple(repeats))


@dataclass(frozen=True, slots=True)
class _Steps:
    """The measurements of one scenario."""

    scenario: Scenario
    effort: Effort
    place: Place
    messages: list[str]
    progress: Progress

    def ceiling(self) -> Ceiling:
        """The in-process loop."""
        effort, scenario = self.effort, self.scenario
        task = Task(
            messages=self.messages,
            warmup_s=effort.warmup_s,
            measure_s=effort.closed_s,
            instant=scenario.instant,
            model=None if scenario.model is None else str(scenario.model),
            profile=scenario.profile,
        )
        result = run_ceiling(task, self.place.server)
        self.progress(f"{scenario.title}: ceiling", effort.warmup_s + effort.closed_s)
        return result

    def load(self, target: Server, name: str, *, rate: float | None = None, seed: int = 0) -> LoadResult:
        """A closed loop, or an open one at this rate."""
        effort = self.effort
        measure_s = effort.closed_s if rate is None else effort.half_s
        load = Load(
            target=target.address,
            server_pid=target.pid,
            server_cores=list(self.place.server),
            messages=self.messages,
            warmup_s=effort.warmup_s,
            measure_s=measure_s,
            connections=effort.connections,
            window=effort.window,
            shared=self.scenario.shared,
            frames_per_s=rate,
            jitter=effort.jitter,
            seed=seed,
        )
        seen = run_load(load, self.place.load)
        self.progress(f"{self.scenario.title}: {name}", effort.warmup_s + measure_s)
        return seen


def _write(scenario: Scenario, effort: Effort, folder: Path) -> list[str]:
    names: list[str] = []
    for index, message in enumerate(Pictures(content=scenario.content, boxes=effort.boxes).messages()):
        path = folder / f"{scenario.name}-{index}.bin"
        path.write_bytes(message)
        names.append(str(path))
    return names


def _of_ceiling(ceiling: Ceiling) -> Figures:
    frames = len(ceiling.service_s)
    return Figures(
        frames_per_s=frames / ceiling.seconds,
        frames_per_core=frames / (ceiling.workers * ceiling.seconds - ceiling.others_cpu_s),
        crops_per_s=ceiling.embedded / ceiling.seconds,
        cpu_s_per_1000=1000 * ceiling.cpu_s / frames,
        faults_per_frame=ceiling.faults / frames,
        resident_mb=ceiling.resident_bytes / _MIB,
        others_cpu=ceiling.others_cpu_s / ceiling.seconds,
        **_delays(ceiling.service_s),
    )


def _of_load(seen: LoadResult, cores: int | None) -> Figures:
    """`cores`: the server's, if it was kept busy; else None. Raises BenchFailed if no frame was answered."""
    frames = len(seen.sent_s)
    if not frames:
        raise BenchFailed(f"no frame was answered in {seen.used.seconds:.1f} s; measure longer, on an idle machine")
    free_s = None if cores is None else max(cores * seen.used.seconds - seen.used.others_cpu_s, seen.used.server_cpu_s)
    return Figures(
        frames_per_s=frames / seen.used.seconds,
        frames_per_core=frames / free_s if free_s else None,
        crops_per_s=seen.embedded / seen.used.seconds,
        cpu_s_per_1000=1000 * seen.used.server_cpu_s / frames,
        faults_per_frame=seen.used.server_faults / frames,
        resident_mb=seen.used.server_resident_bytes / _MIB,
        load_cpu=seen.used.load_cpu_s / seen.used.seconds,
        others_cpu=seen.used.others_cpu_s / seen.used.seconds,
        late_p99_ms=float(np.percentile(seen.late_s, 99)) * 1000,
        **_delays(seen.delays_s),
    )


def _percentiles(delays_s: Sequence[float]) -> Figures:
    return Figures(**_delays(delays_s))


def _delays(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(seconds, (50, 95, 99)) * 1000
    return {"p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99)}
