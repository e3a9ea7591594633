"""Takes the connections of the HTTP port: a few in one turn of the event loop, and so many a second.

Why not asyncio's own server: it takes all that wait in one turn. A client that opens thousands, and comes back when
they are ended, would so have most of the event loop's time, and a frame passes several turns on its way. Here a
connection has a price in time. A burst is free; beyond it the port rests, and those that come wait in the kernel's
queue.

Trap: a connection that was taken and whose transport is not made yet is known to nobody else. So its task is kept until
then.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

AT_ONCE = 4
"""Connections that are taken in one turn: half a millisecond, with the ends of those that give way."""

BURST = 64
"""So many may come at once and are all taken without a rest."""

PRICE_S = 0.001
"""Beyond a burst, the time for each of them. To take one and to end another takes the event loop a tenth of that."""

HANDSHAKE_S = 10.0
_LAST_HANDSHAKES_S = 0.5
_NO_DESCRIPTORS_S = 1.0


class Listener:
    """`taken`: a socket that listens. `made`: for each connection. Event loop only."""

    def __init__(self, taken: socket.socket, made: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None) -> None:
        self._socket = taken
        self._made = made
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._paid_until_s = 0.0
        self._resting: asyncio.TimerHandle | None = None
        self._coming: set[asyncio.Task[None]] = set()
        taken.setblocking(False)
        self._loop.add_reader(taken, self._come)

    async def close(self) -> None:
        """Take nothing more, and let go of the socket. Those that were taken have their transports then, or are ended
        in the middle of a handshake.
        """
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._coming:
            _, late = await asyncio.wait(self._coming, timeout=None if self._tls is None else _LAST_HANDSHAKES_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _come(self) -> None:
        """Some wait."""
        taken = 0
        while taken < AT_ONCE and self._take():
            taken += 1
        now = self._loop.time()
        self._paid_until_s = max(self._paid_until_s, now) + taken * PRICE_S
        ahead = self._paid_until_s - now - BURST * PRICE_S
        if ahead > 0 and self._resting is None:
            self._rest(ahead)

    def _take(self) -> bool:
        """One that waits; False if there is none, or none can be taken."""
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # no descriptors are left, for example
            self._loop.call_exception_handler({"message": "the HTTP port took no connection", "exception": error})
            self._rest(_NO_DESCRIPTORS_S)
            return False
        task = self._loop.create_task(self._begin(connection))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)
        return True

    async def _begin(self, connection: socket.socket) -> None:
        """Its transport, and over TLS its handshake, whose failure is its client's business alone."""
        tls, within_s = self._tls, None if self._tls is None else HANDSHAKE_S
        with suppress(OSError):
            await self._loop.connect_accepted_socket(self._made, connection, ssl=tls, ssl_handshake_timeout=within_s)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._socket)
        self._resting = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        self._loop.add_reader(self._socket, self._come)
