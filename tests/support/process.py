"""The server as people run it: a process, its log, its exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

from tests.support.patience import HANG_S

PATIENT = [f"--{name}-timeout-s={HANG_S}" for name in ("batch", "stall", "open", "drain")]
"""Flags of a server whose time-outs are for hangs only."""


@dataclass(slots=True, eq=False)
class ServerProcess:
    """A running `reidstream-server`. `log` holds its events so far."""

    process: subprocess.Popen[str]
    log: list[dict[str, object]] = field(default_factory=list)
    events: Queue[dict[str, object] | None] = field(default_factory=Queue)

    def read_log(self) -> None:
        """Take events as they come; runs in a thread, so that the pipe never fills."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            event: dict[str, object] = (
                _flat(json.loads(line)) if line.startswith("{") else {"event": "text", "text": line.rstrip()}
            )
            self.log.append(event)
            self.events.put(event)
        self.events.put(None)

    def wait_for(self, name: str) -> dict[str, object]:
        """The next event of that name. Fails with the log if the process ends before."""
        while (event := self.events.get(timeout=HANG_S)) is not None:
            if event["event"] == name:
                return event
        raise AssertionError(f"the server ended without {name!r}: {self.log}")

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=HANG_S)


def _flat(event: dict[str, object]) -> dict[str, object]:
    """An event with its fields beside its name."""
    fields = event.pop("fields")
    assert isinstance(fields, dict)
    return event | fields


@contextmanager
def server_process(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    python: str | Path = sys.executable,
    detached: bool = False,
) -> Iterator[tuple[ServerProcess, str]]:
    """A started server and its address; killed at the end if it still runs. Later arguments win over ours.

    `python`: of the environment that serves. `detached`: without the terminal that the tests may have.
    """
    command = [str(python), "-m", "reidstream_server.cli", "--port", "0", "--metrics-port", "0", "--tune-seconds", "0"]
    command += ["--log-format", "json", *PATIENT, *arguments]
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and a child inherits that
    try:
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=detached
        )
    finally:
        signal.signal(signal.SIGHUP, hangup)
    server = ServerProcess(process)
    reader = threading.Thread(target=server.read_log)
    reader.start()
    try:
        yield server, str(server.wait_for("serving")["address"])
    finally:
        process.kill()
        process.wait()
        reader.join()
        if process.stderr is not None:
            process.stderr.close()
