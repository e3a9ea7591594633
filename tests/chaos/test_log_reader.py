"""Whoever reads the log stands still, or is gone: the server serves and ends as if it were read."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reidstream_proto.v1 import service_pb2_grpc
from tests.support.harness import RawStream, frame, stub_of
from tests.support.instant_server import PROGRAM, InstantServer, instant_server
from tests.support.patience import HANG_S

SESSIONS = 400


def lines_dropped(server: InstantServer) -> int:
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    text = urllib.request.urlopen(url, timeout=HANG_S).read().decode()
    found = re.search(r"^reidstream_log_lines_dropped_total (\S+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


@contextmanager
def standing_still(kind: str) -> Iterator[int]:
    """A descriptor to log to, which soon takes nothing, or never does."""
    match kind:
        case "pipe":
            ours, theirs = os.pipe()
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
            yield theirs
            os.close(ours)
            os.close(theirs)
        case "socket":
            one, two = socket.socketpair()
            two.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            with one, two:
                yield two.fileno()
        case "reader gone":
            ours, theirs = os.pipe()
            os.close(ours)
            yield theirs
            os.close(theirs)
        case _:
            full = os.open("/dev/full", os.O_WRONLY)
            yield full
            os.close(full)


async def one_session(stub: service_pb2_grpc.EmbeddingServiceAsyncStub, number: int) -> None:
    """Opened, answered, ended; two lines of the log."""
    stream = RawStream(stub.EmbedStream())
    await stream.open(camera_id=f"camera-{number}")
    await stream.call.write(frame(1))
    assert not (await stream.result()).HasField("error")
    await stream.call.done_writing()
    assert await stream.read() is None


@pytest.mark.parametrize(
    ("kind", "log_format"),
    [("pipe", "text"), ("pipe", "json"), ("socket", "json"), ("reader gone", "json"), ("disk full", "json")],
)
async def test_a_server_whose_log_nobody_reads_serves_and_ends(kind: str, log_format: str) -> None:
    """It answers hundreds of sessions, its probes and metrics, and ends with 0 when it is told to.

    Where nothing at all can be written, the metric says so.
    """
    with (
        standing_still(kind) as stderr,
        instant_server(stderr, "--log-format", log_format, "--log-level", "debug") as server,
    ):
        async with stub_of(server.port) as stub:
            for first in range(0, SESSIONS, 50):
                await asyncio.gather(*(one_session(stub, number) for number in range(first, first + 50)))
        dropped = await asyncio.to_thread(lines_dropped, server)
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, HANG_S) == 0
    assert (dropped >= SESSIONS) is (kind in ("reader gone", "disk full"))


def test_a_server_that_cannot_start_ends_though_nobody_reads_why() -> None:
    """The bounded wait for its last words is over, and the exit code says the rest."""
    with standing_still("pipe") as stderr:
        os.set_blocking(stderr, False)
        os.write(stderr, b"\n" * 4096)
        os.set_blocking(stderr, True)
        command = [sys.executable, "-m", "reidstream_server.cli", "--model", "/nowhere.onnx", "--port", "0"]
        assert subprocess.run(command, stderr=stderr, timeout=HANG_S, check=False).returncode == 1


def test_a_dry_run_can_be_stopped_while_nobody_reads_what_it_prints() -> None:
    """It waits for the reader as any command does, and a signal ends that."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, False)
    os.write(theirs, b"\n" * 4096)
    os.set_blocking(theirs, True)
    command = [sys.executable, "-c", PROGRAM, "--dry-run", "--port", "0", "--metrics-port", "0"]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("dry_run_passed" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 143
    os.close(ours)
    os.close(theirs)
