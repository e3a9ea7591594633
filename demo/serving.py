"""A server of our own, for as long as the demonstration runs.

It gets an operating system session of its own: Ctrl-C reaches every process of a terminal's group, but the server must
be asked to stop only once, at the end. Trap: whatever goes wrong here, nothing may be left running, and if the server
ends early, the error must contain its last log lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread

from reidstream_client import Health, ReidClient, ReidError

COMMAND = (
    *(sys.executable, "-m", "reidstream_server.cli"),
    *("--port", "0", "--metrics-port", "0", "--tune-seconds", "0"),  # the default plan is enough for two cameras
)
START_S, STOP_S = 60.0, 30.0
_LAST_LINES = 20
_SERVING = re.compile(r"\S+ info serving address=(\S+)")


class ServerFailed(Exception):
    """The server did not start, or did not stop in order. The message ends with its last log lines."""


class Server:
    """A running server process and what it has logged. Made by `started`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._address: SimpleQueue[str | None] = SimpleQueue()
        self._reader = Thread(target=self._read, name="server log", daemon=True)
        self._reader.start()

    def address(self, timeout_s: float = START_S) -> str:
        """Where it listens ("host:port"), once it serves. Raises ServerFailed. Call once."""
        try:
            address = self._address.get(timeout=timeout_s)
        except Empty:
            raise self.failed(f"the server was not ready within {timeout_s:.0f} s") from None
        if address is None:
            self.process.wait()
            raise self.failed(f"the server ended with exit code {self.process.returncode} instead of serving")
        return address

    def failed(self, what: str) -> ServerFailed:
        """An error with the last log lines."""
        log = "\n".join(f"  {line}" for line in self._lines) or "  (nothing)"
        return ServerFailed(f"{what}; its last log lines:\n{log}")

    def stop(self) -> int:
        """Stop the process, or kill it after STOP_S seconds; returns its exit code."""
        self.process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        finally:  # also when waiting is interrupted; both are harmless to a process that has ended
            self.process.kill()
            self.process.wait()
        self._reader.join(STOP_S)
        return self.process.returncode

    def _read(self) -> None:
        """Keep the last lines, and find the address that is served. Ends with the process."""
        stream = self.process.stderr
        if stream is None:
            raise AssertionError("the log is piped")
        with stream:
            for line in stream:
                self._lines.append(line.rstrip())
                address = serving_address(line)
                if address is not None:
                    self._address.put(address)
        self._address.put(None)


@contextmanager
def started(command: Sequence[str] = COMMAND) -> Iterator[Server]:
    """Start a server; stop it at the end. Raises ServerFailed if it then does not exit with code 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REIDSTREAM_")}
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        command,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
        env=environment,
    )
    server = Server(process)
    try:
        yield server
    except BaseException:
        server.stop()
        raise
    code = server.stop()
    if code != 0:
        raise server.failed(f"the server ended with exit code {code}, not 0")


def serving_address(line: str) -> str | None:
    """The address in the server's log line that says it serves; None for every other line."""
    found = _SERVING.match(line)
    return found[1] if found else None


def wait_until_healthy(target: str, timeout_s: float = START_S) -> None:
    """Wait until the server at "host:port" says SERVING; 0 seconds: ask only once. Raises ServerFailed."""
    deadline = time.monotonic() + timeout_s
    with ReidClient(target, timeout_s=5) as client:
        while True:
            try:
                said = client.ping().health.name
                if said == Health.SERVING.name:
                    return
            except ReidError as error:
                said = str(error)
            if time.monotonic() > deadline:
                raise ServerFailed(f"no server is ready at {target} (waited {timeout_s:.0f} s): {said}")
            time.sleep(0.1)
