"""`reidstream-client doctor` as a test calls it: beside a server of this event loop, with its findings as JSON.

Why metrics are named always: the usual port of this machine may be some other server's. Nobody listens at port 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from reidstream_client.cli import main
from tests.support.patience import HANG_S

NO_METRICS = "http://127.0.0.1:1/metrics"
SHORT_S = "2"
"""A time for looks at what never answers."""

OF_TIME = frozenset({"round trip", "window", "uplink", "cores", "event loop", "penalty", "paused clients"})
"""Checks whose warnings depend on how fast the machine is: on a slow one, reading a frame costs more than usual."""

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What doctor said."""

    status: int
    verdict: str
    findings: dict[str, dict[str, Any]]

    def all_that_are(self, verdict: str) -> set[str]:
        """The checks with this verdict."""
        return {name for name, finding in self.findings.items() if finding["verdict"] == verdict}

    @property
    def wrong(self) -> set[str]:
        return self.all_that_are("wrong")

    @property
    def warnings(self) -> set[str]:
        """But for those of a slow machine, and that there are no metrics where a test gives none."""
        ignored = OF_TIME | ({"metrics"} if NO_METRICS in self.findings["metrics"]["seen"] else set())
        return self.all_that_are("warning") - ignored

    def said(self, check: str) -> str:
        """What was seen, and what to change."""
        finding = self.findings[check]
        return f"{finding['seen']} {finding['change']}"


async def diagnose(
    target: str, *words: str, metrics: str | None = NO_METRICS, timeout_s: str = str(HANG_S)
) -> Diagnosis:
    """Run it in a thread, since servers are on this event loop. `metrics`: None for the usual port."""
    flags = ["--json", "--interval", "0", "--timeout", timeout_s, *words]
    flags += [] if metrics is None else ["--metrics", metrics]
    printed = io.StringIO()

    def run() -> int:
        with contextlib.redirect_stdout(printed):
            return main(["doctor", target, *flags])

    status = await asyncio.to_thread(run)
    record = json.loads(printed.getvalue())
    findings = {finding["check"]: finding for finding in record["findings"]}
    assert len(findings) == len(record["findings"])
    assert all(finding["seen"] for finding in findings.values())
    assert all(bool(one["change"]) == (one["verdict"] in {"warning", "wrong"}) for one in findings.values())
    return Diagnosis(status, record["verdict"], findings)


@asynccontextmanager
async def answering(answer: Answering) -> AsyncIterator[int]:
    """A socket that answers each connection as told; its port."""
    writers = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError):
            await answer(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


def saying(data: bytes, *, close: bool = True) -> Answering:
    """Says this to whoever has sent something, and closes."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return say


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the connection and never says a word."""
    while await reader.read(1 << 16):
        pass
    writer.close()


def web(page: str, status: str = "200 OK") -> Answering:
    """A web server with one page at every path."""
    body = page.encode()
    return saying(
        b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status.encode(), len(body)) + body
    )
