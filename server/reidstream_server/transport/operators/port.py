"""The operators' port: it listens from before the models load until the process ends, in a thread of its own.

Why a thread: models load on the main thread, for minutes where a GPU's plan is built, and a probe should hear of it.
And an event loop that stands still could not say so. Why one event loop in it, and no thread for each connection:
whatever reaches the port can open connections, so they cost little, their number is bounded, and each has its time.

Trap: a page of metrics waits for the server's event loop, so it is made in a worker (see `scrapes`). Trap: whoever
connects again and again has the thread compute for as long as it likes, so the thread rests (see `resting`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from types import TracebackType
from typing import Self

from reidstream_server.logs import get_logger
from reidstream_server.transport.addresses import OPERATORS, listening, stop_listening

from .health import Health, Verdict
from .http import MAX_HEAD_BYTES, BadRequest, Page, Request, read_request, rendered
from .resting import RestingSelector
from .scrapes import Form, Scrapes

log = get_logger(__name__)

MAX_CONNECTIONS = 512
REQUEST_S = 10.0
"""How long a connection may take, from its opening to its end."""

LINGER_BYTES = 2**16
"""What is read of a caller that goes on sending after its answer. Then its connection is cut off."""

_BACKLOG = 512
_AT_ONCE = 16  # connections that are taken in one turn
_LOADING = Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body=b"the models are loading\n")
_NOT_HERE = Page(status=HTTPStatus.NOT_FOUND, body=b"this port has /metrics, /healthz and /readyz\n")
_FAILED = Page(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=b"the server's log has the details\n")


class OperatorsPort:
    """A `with` block is its life. `number`: of the port. `health`: what its probes are told.

    Raises StartupError where the port cannot be taken.
    """

    def __init__(self, host: str, number: int, *, health: Health, request_s: float = REQUEST_S) -> None:
        self.health = health
        self._request_s = request_s
        self._socket = listening(host, number, OPERATORS, _BACKLOG, buffer_bytes=2 * MAX_HEAD_BYTES)
        self.number = int(self._socket.getsockname()[1])
        self._scrapes: Scrapes | None = None
        self._connections: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scrape")
        self._loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop(RestingSelector())
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="operators", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def show_metrics(self, forms: Sequence[Form]) -> None:
        """What /metrics answers from now on; the first form to whoever does not choose."""
        self._scrapes = Scrapes(forms, self._worker)

    # In the thread.

    def _run(self) -> None:
        with self._worker, asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=MAX_HEAD_BYTES, backlog=_AT_ONCE)
        self._socket.listen(_BACKLOG)  # asyncio has one number for both
        await self._stop.wait()
        await stop_listening(server, self._socket)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("the callback of a connection is a task")
        if len(self._connections) >= MAX_CONNECTIONS:  # the newest may be a probe; the oldest had its time
            oldest = next(iter(self._connections))
            del self._connections[oldest]  # it ends a turn later; another one that comes now ends another one
            oldest.cancel()
        self._connections[task] = None
        try:
            async with asyncio.timeout(self._request_s):
                await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):  # the caller is gone, too slow, or has to give way
            pass  # Python 3.11's streams would log a task that was cancelled
        finally:
            self._connections.pop(task, None)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        with_body = True
        try:
            request = await read_request(reader)
            if request is None:
                return
            with_body = request.method != "HEAD"
            page = await self._page(request)
        except BadRequest as error:
            page = error.page
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller is told
            log.failure("page_failed", error)
            page = _FAILED
        writer.write(rendered(page, with_body=with_body))
        writer.write_eof()
        await writer.drain()
        await _read_over(reader)

    async def _page(self, request: Request) -> Page:
        match request.path:
            case "/metrics":
                return _LOADING if self._scrapes is None else await self._scrapes.page(request)
            case "/healthz":
                return _told((await self.health.look()).alive)
            case "/readyz":
                return _told((await self.health.look()).ready)
            case _:
                return _NOT_HERE


async def _read_over(reader: asyncio.StreamReader) -> None:
    """What is left unread when we close would destroy the answer. Whoever sends without end has none to lose."""
    left = LINGER_BYTES
    while left > 0 and (part := await reader.read(MAX_HEAD_BYTES)):
        left -= len(part)


def _told(verdict: Verdict) -> Page:
    status = HTTPStatus.OK if verdict.good else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(status=status, body=f"{verdict.why}\n".encode())
