"""Starts what is measured: servers, ceilings and load generators, each a process on its own cores.

Traps: a child inherits its cores, because it counts them when it starts; setting them afterwards would be too late.
Whatever goes wrong, nothing may be left running.
"""

from __future__ import annotations

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

_START_S, _STOP_S, _SLACK_S = 180.0, 20.0, 90.0
_LAST_LINES = 15


class BenchFailed(Exception):
    """A process failed; the message ends with what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The cores of the server (and the ceiling), and of the load generator."""

    server: tuple[int, ...]
    load: tuple[int, ...]

    @staticmethod
    def apart() -> Place:
        """Server on the first core, load on the second; on a machine of one core, both on that one."""
        cores = sorted(os.sched_getaffinity(0))
        return Place(server=tuple(cores[:1]), load=tuple(cores[:2][-1:]))

    @staticmethod
    def together() -> Place:
        """Server and load on all cores. The load takes its share of them."""
        cores = tuple(sorted(os.sched_getaffinity(0)))
        return Place(server=cores, load=cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `metrics_port` is 0 if it has no metrics, and `http_port` if it has none."""

    pid: int
    address: str
    metrics_port: int = 0
    http_port: int = 0


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Inside, processes that this thread starts run on these cores."""
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
                ports = {name: said.get(name) or 0 for name in ("metrics_port", "http_port")}
                yield Server(pid=process.pid, address=said["address"], **ports)
                return
        raise BenchFailed(f"{module} did not start serving; its last lines:\n" + "".join(lines))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        process.kill()
        process.wait()
        reader.join()


def _read(process: subprocess.Popen[str], lines: deque[str], found: SimpleQueue[Mapping[str, Any] | None]) -> None:
    """Keep the last lines of the log, and find the address. Ends with the process."""
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


def ask(module: str, question: dict[str, object], cores: Sequence[int], seconds: float) -> dict[str, Any]:
    """Run `python -m module` on these cores: it reads `question` and prints its answer, both JSON.

    `seconds`: how long it works, without starting and ending. Raises BenchFailed.
    """
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
        raise BenchFailed(f"{module} did not end within {seconds + _SLACK_S:.0f} s") from None
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise BenchFailed(f"{module} failed:\n{complaint}")
    parsed: dict[str, Any] = json.loads(answer)
    return parsed
