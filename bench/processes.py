"""Starts what is measured: servers, ceilings and load generators, each a process on its own cores.

Traps: a child's affinity is inherited, not set afterwards, since it counts its cores when it starts. Whatever goes
wrong, nothing is left running.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from .ceiling import Ceiling, Task
from .load import Load, Seen, Used

_START_S, _STOP_S, _SLACK_S = 180.0, 20.0, 90.0
_LAST_LINES = 15


class BenchFailed(Exception):
    """A process did not do its part; the message holds its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The cores of the server (and the ceiling), and of the load generator."""

    server: tuple[int, ...]
    load: tuple[int, ...]

    @staticmethod
    def of(*, both: bool) -> Place:
        """Server on the first core and load on the second; `both`: all on both. With one core there is no choice."""
        cores = tuple(sorted(os.sched_getaffinity(0))[:2])
        return Place(server=cores, load=cores) if both else Place(server=cores[:1], load=cores[-1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `metrics_port` 0: it has none."""

    pid: int
    address: str
    metrics_port: int = 0


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Processes started by this thread inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def server(module: str, arguments: Sequence[str], cores: Sequence[int]) -> Iterator[Server]:
    """A server that logs JSON lines, until it is serving; stopped at the end. Raises BenchFailed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REIDSTREAM_")}
    with pinned(cores):
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", module, *arguments],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    found: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, lines, found), daemon=True)
    reader.start()
    try:
        with suppress(Empty):
            said = found.get(timeout=_START_S)
            if said is not None:
                port = said.get("metrics_port") or 0
                yield Server(pid=process.pid, address=said["address"], metrics_port=port)
                return
        raise BenchFailed(f"{module} does not serve:\n" + "".join(lines))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        process.kill()
        process.wait()
        reader.join()


def _read(process: subprocess.Popen[str], lines: deque[str], found: SimpleQueue[Mapping[str, Any] | None]) -> None:
    """Keep the log's end and find where it serves. Ends with the process."""
    if process.stderr is None:
        raise AssertionError("the log is piped")
    with process.stderr as stream:
        for line in stream:
            lines.append(line)
            with suppress(ValueError):
                event = json.loads(line)
                if event["event"] == "serving":
                    found.put(event["fields"])
    found.put(None)


def run_load(load: Load, cores: Sequence[int]) -> Seen:
    """Send a load from these cores. Raises BenchFailed."""
    answer = _run("bench.load", dataclasses.asdict(load), cores, load.warmup_s + load.measure_s)
    return Seen(**answer | {"used": Used(**answer["used"])})


def run_ceiling(task: Task, cores: Sequence[int]) -> Ceiling:
    """Run the in-process loop on these cores. Raises BenchFailed."""
    return Ceiling(**_run("bench.ceiling", dataclasses.asdict(task), cores, task.warmup_s + task.measure_s))


def _run(module: str, question: dict[str, object], cores: Sequence[int], seconds: float) -> dict[str, Any]:
    """One process that reads JSON and prints JSON."""
    with pinned(cores):
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        answer, complaint = process.communicate(json.dumps(question), timeout=seconds + _SLACK_S)
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"{module} did not end in time") from None
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise BenchFailed(f"{module} failed:\n{complaint}")
    parsed: dict[str, Any] = json.loads(answer)
    return parsed
