"""The load of an HTTP server: connections that ask again as soon as they are answered. A process of its own.

It reads a `WebLoad` as JSON and prints what it measured. Trap: it shares no core with the server, and writes ready
bytes, or it would be what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from typing_extensions import override

from bench.machine.usage import usage_of

_HEAD_ENDS = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLoad:
    """`request`: a file with the bytes of one request. `server_pid`: whose CPU time is measured. `clients`: how many
    addresses of this machine the connections come from, in turn.
    """

    port: int
    server_pid: int
    request: str
    connections: int
    clients: int
    warmup_s: float
    measure_s: float


class _Client(asyncio.Protocol):
    """One connection. `count`: answers with 200. `answer_bytes`: of the body of the last one."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.WriteTransport | None = None
        self._said = b""
        self.count = self.answer_bytes = 0
        self.wrong = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(self._request)

    @override
    def data_received(self, data: bytes) -> None:
        self._said += data
        head, ends, body = self._said.partition(_HEAD_ENDS)
        if not ends:
            return
        at = head.index(_LENGTH) + len(_LENGTH)
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self.answer_bytes = len(body)
        if not head.startswith(b"HTTP/1.1 200"):
            self.wrong = self._said
        self._said = b""
        self.count += 1
        if self._transport is not None:
            self._transport.write(self._request)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.wrong = self.wrong or b"the connection was ended"


async def _run(load: WebLoad) -> dict[str, float]:
    request = Path(load.request).read_bytes()  # noqa: ASYNC240 - before anything is measured
    loop = asyncio.get_running_loop()
    clients = [
        (
            await loop.create_connection(
                lambda: _Client(request),
                "127.0.0.1",
                load.port,
                local_addr=(f"127.0.0.{1 + number % load.clients}", 0),
            )
        )[1]
        for number in range(load.connections)
    ]
    await asyncio.sleep(load.warmup_s)
    began, before = time.monotonic(), usage_of(load.server_pid)
    answered, own = sum(client.count for client in clients), time.process_time()
    await asyncio.sleep(load.measure_s)
    seconds, after = time.monotonic() - began, usage_of(load.server_pid)
    answered = sum(client.count for client in clients) - answered
    wrong = next((client.wrong for client in clients if client.wrong), b"")
    if wrong:
        raise SystemExit(f"a request was not answered: {wrong[:500]!r}")
    return {
        "answered": answered,
        "seconds": seconds,
        "server_cpu_s": after.cpu_s - before.cpu_s,
        "load_cpu_s": time.process_time() - own,
        "server_resident_bytes": after.resident_bytes,
        "answer_bytes": max(client.answer_bytes for client in clients),
    }


if __name__ == "__main__":
    json.dump(asyncio.run(_run(WebLoad(**json.load(sys.stdin)))), sys.stdout)
