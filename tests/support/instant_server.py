"""A server process with the deterministic fake engine: it starts at once, and tells its ports on stdout.

Why beside `process.server_process`: that one reads the log. Here a test decides who reads it, or nobody does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PROGRAM = """
import sys
from contextlib import contextmanager
from reidstream_engines.fake import FakeEngine, FakeStager
from reidstream_server import app, cli, running
from reidstream_server.loading import Engines

@contextmanager
def loaded(config):
    yield Engines(engines=(FakeEngine(),), stager=FakeStager())

start = app.RunningServer.start

async def start_and_tell(self):
    await start(self)
    print(self.port, self.metrics_port, flush=True)

running.loaded_engines = loaded
app.RunningServer.start = start_and_tell
sys.exit(cli.main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantServer:
    """A running one, and its ports."""

    process: subprocess.Popen[str]
    port: int
    metrics_port: int


@contextmanager
def instant_server(stderr: int, *arguments: str) -> Iterator[InstantServer]:
    """Killed at the end if it still runs. `stderr`: where its log goes."""
    command = [sys.executable, "-c", PROGRAM, "--port", "0", "--metrics-port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            assert process.stdout is not None
            port, metrics_port = map(int, process.stdout.readline().split())
            yield InstantServer(process=process, port=port, metrics_port=metrics_port)
        finally:
            process.kill()
