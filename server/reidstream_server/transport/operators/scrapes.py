"""Pages of metrics: made one at a time in a worker, once for all who ask meanwhile, and with a rest after each.

Why a rest: whatever can reach the port may ask, as often as it likes, and what pages and their answers take is lost to
frames. After a page there is a rest, nine times as long as the port has computed since the page before. So scrapers
cost about a tenth of a core, however many they are. One that comes every few seconds does not notice.

Trap: a page must not be older than its request, so whoever asks while one is made gets that one only if it has not
begun. And callers choose only among the forms that there are, so there is no end of callers, but one of pages.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from .http import Page, Request
from .negotiation import chosen, reads_gzip

RESTS = 9
"""So many times as long as it computed."""

MOST_REST_S = 1.0
"""Whatever else is asked of the port: a scraper has a time-out of its own."""

_GZIP_LEVEL = 1  # a tenth of the size, in a fraction of the time of higher levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A page in one form. `write` makes it; it is called in a worker, one call at a time, and may block."""

    content_type: str
    write: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which of the few pages it is."""

    form: Form
    zipped: bool


class Scrapes:
    """Awaited on the port's event loop only."""

    def __init__(self, forms: Sequence[Form], worker: Executor) -> None:
        self._forms = forms
        self._worker = worker
        self._turn = asyncio.Lock()
        self._coming: dict[_Wanted, asyncio.Task[Page]] = {}
        self._computed_s = 0.0  # by the worker, for the page that was made last
        self._port_s: float | None = None  # the CPU time of the port's thread when that was made
        self._rests_until_s = 0.0

    async def page(self, request: Request) -> Page:
        """The page in the form that the caller reads. Raises whatever making it does."""
        place = chosen(request.header("accept"), [form.content_type for form in self._forms])
        wanted = _Wanted(self._forms[place], reads_gzip(request.header("accept-encoding")))
        coming = self._coming.get(wanted)
        if coming is None:
            coming = self._coming[wanted] = asyncio.create_task(self._made(wanted))
        return await asyncio.shield(coming)

    async def _made(self, wanted: _Wanted) -> Page:
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(self._rests_until_s - loop.time())
            del self._coming[wanted]  # whoever asks from now on gets the next one
            before_s, self._port_s = self._port_s, time.thread_time()
            answering_s = 0.0 if before_s is None else self._port_s - before_s
            try:
                return await loop.run_in_executor(self._worker, self._make, wanted)
            finally:
                self._rests_until_s = loop.time() + min(RESTS * (self._computed_s + answering_s), MOST_REST_S)

    # In the worker.

    def _make(self, wanted: _Wanted) -> Page:
        began = time.thread_time()
        try:
            return _page(wanted)
        finally:
            self._computed_s = time.thread_time() - began


def _page(wanted: _Wanted) -> Page:
    body = wanted.form.write()
    headers: tuple[tuple[str, str], ...] = (
        ("Content-Type", wanted.form.content_type),
        ("Vary", "Accept, Accept-Encoding"),
    )
    if wanted.zipped:
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        headers = (*headers, ("Content-Encoding", "gzip"))
    return Page(headers=headers, body=body)
