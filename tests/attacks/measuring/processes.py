"""The processes of an attack: the server as people start it, its victims, and the attacker.

Traps: whatever goes wrong, nothing may be left running. A server whose log nobody reads is a case of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from .records import Attempt

_START_S, _STOP_S, _SLACK_S = 120.0, 40.0, 25.0
_SAY_S = 3.0
_SMALLEST_PIPE = 4096
_PORTS = ("--port", "0", "--metrics-port", "0", "--http-port", "0")
_FLAGS = (*_PORTS, "--kserve", "--log-format", "json", "--tune-seconds", "0")


class Failed(Exception):
    """A process of ours did not do what it is for; the message says what it said last."""


@dataclass(slots=True, kw_only=True)
class ServerUnderAttack:
    """A running server. `lines`: the end of its log."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    http_port: int
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    log_is_left: threading.Event = field(default_factory=threading.Event)
    """Set it, and nobody reads the log any more."""

    @property
    def address(self) -> str:
        """As clients want it."""
        return f"127.0.0.1:{self.port}"

    def stop(self, *, repeat: bool) -> tuple[int | None, float]:
        """SIGTERM, ten times a second if `repeat`; its exit code, None if it had to be killed, and the seconds."""
        began = time.monotonic()
        self.process.terminate()
        while time.monotonic() < began + _STOP_S:
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(0.1), time.monotonic() - began
            if repeat:
                self.process.terminate()
        self.process.kill()
        self.process.wait()
        return None, time.monotonic() - began


@contextmanager
def server_under_attack(arguments: Sequence[str]) -> Iterator[ServerUnderAttack]:
    """A server with default settings; killed at the end if it still runs. Raises Failed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REIDSTREAM_")}
    command = [sys.executable, "-m", "reidstream_server.cli", *_FLAGS, *arguments]
    process = subprocess.Popen(  # without a terminal, whose end SIGHUP would mean
        command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    lines: deque[str] = deque(maxlen=40)
    found: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    left = threading.Event()
    reader = threading.Thread(target=_read, args=(process, lines, found, left), daemon=True)
    reader.start()
    try:
        with suppress(Empty):
            said = found.get(timeout=_START_S)
            if said is not None:
                port = int(str(said["address"]).rpartition(":")[2])
                yield ServerUnderAttack(
                    process=process,
                    port=port,
                    metrics_port=said["metrics_port"],
                    http_port=said["http_port"],
                    lines=lines,
                    log_is_left=left,
                )
                return
        raise Failed("the server did not start; its last lines:\n" + "".join(lines))
    finally:
        process.kill()
        process.wait()
        reader.join(_SAY_S)


def _read(
    process: subprocess.Popen[bytes],
    lines: deque[str],
    found: SimpleQueue[dict[str, Any] | None],
    left: threading.Event,
) -> None:
    """Read the log until it is left alone, with a pipe as small as there is."""
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.decode(errors="replace"))
        with suppress(ValueError):
            event = json.loads(line)
            if event["event"] == "serving":
                found.put(event["fields"])
        if left.is_set():
            fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, _SMALLEST_PIPE)
            return
    found.put(None)


@contextmanager
def victim(address: str, kind: str, rate: float) -> Iterator[subprocess.Popen[str]]:
    """A victim that is ready. Raises Failed."""
    command = [sys.executable, "-m", "tests.attacks.measuring.victim", address, kind, str(rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise Failed(f"the {kind} did not start")
        yield process
    finally:
        process.kill()
        process.wait()


def attempts_of(process: subprocess.Popen[str]) -> list[Attempt]:
    """Tell a victim to stop, and take its attempts. Raises Failed."""
    try:
        said, _ = process.communicate("", timeout=_SLACK_S)
        return [Attempt(**one) for one in json.loads(said)]
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise Failed(f"a victim did not report: {error}") from None


@contextmanager
def attacker(name: str, server: ServerUnderAttack) -> Iterator[subprocess.Popen[str]]:
    """An attacker that has begun; gone at the end of the block. Raises Failed."""
    where = [str(server.port), str(server.metrics_port), str(server.http_port), str(server.process.pid)]
    command = [sys.executable, "-m", "tests.attacks.attackers", name, *where]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "begun\n":
            raise Failed(f"the attacker {name} did not begin")
        yield process
    finally:
        process.kill()
        process.wait()


def became_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """Tell an attacker to stop; what became of its attempts. One that does not answer is killed."""
    process.send_signal(signal.SIGTERM)
    try:
        said, _ = process.communicate(timeout=_SAY_S)
        found: dict[str, int] = json.loads(said)
    except (subprocess.TimeoutExpired, ValueError):
        process.kill()
        found = {"the attacker did not say": 1}
    return found
