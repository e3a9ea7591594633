"""Rapid reset: the calls of one connection, reset or not, do not take the place of others.

The event loop stands still while the attacker writes, as a slow machine's does: no call is taken meanwhile, so what
waits is what gRPC itself let in, and no clock decides.
"""

from __future__ import annotations

import logging
import socket
import struct

import pytest

from tests.attacks.attackers.http2 import (
    ACK,
    CANCEL,
    END_HEADERS,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    header_block,
)
from tests.attacks.attackers.target import EMBED_STREAM, HEALTH_CHECK
from tests.support.harness import serving, stream_to, until
from tests.support.patience import HANG_S

SESSIONS = 4
STREAMS = 8000
REFUSED_STREAM = 7


class Attacker:
    """A connection without an event loop. Counts the streams that the server refused."""

    def __init__(self, port: int) -> None:
        self.refused = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=HANG_S)
        self._from = self._socket.makefile("rb")
        self.send(PREFACE + frame(SETTINGS, 0, 0))
        self.wait_until_all_is_read()

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def open_and_reset(self, streams: int, block: bytes) -> None:
        """All at once, from stream 1 on."""
        reset = struct.pack(">I", CANCEL)
        for number in range(1, 2 * streams, 2):
            self.send(frame(HEADERS, END_HEADERS, number, block) + frame(RST_STREAM, 0, number, reset))
        self.wait_until_all_is_read()

    def wait_until_all_is_read(self) -> None:
        """Twice there and back: what the server says to the frames before the first ping comes before the second."""
        for number in range(2):
            asked = bytes((number,) * 8)
            self.send(frame(PING, 0, 0, asked))
            while self._next() != (PING, asked):
                pass

    def _next(self) -> tuple[int, bytes]:
        head = self._from.read(9)
        assert len(head) == 9, "the server has closed the connection"
        kind, flags, payload = head[3], head[4], self._from.read(int.from_bytes(head[:3], "big"))
        if kind == RST_STREAM:
            self.refused += int.from_bytes(payload, "big") == REFUSED_STREAM
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        return kind, payload

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("path", [EMBED_STREAM, HEALTH_CHECK])
async def test_reset_calls_of_one_connection_do_not_end_calls_of_others(path: str) -> None:
    """GRPC refuses those beyond the bound of the connection, and the next caller's stream opens behind the rest."""
    async with serving(max_sessions=SESSIONS) as server:
        attacker = Attacker(server.port)
        attacker.open_and_reset(STREAMS, header_block(path))
        assert attacker.refused >= STREAMS - 2 * (SESSIONS + 512)
        for _ in range(3):
            async with stream_to(server) as stream:
                assert (await stream.open()).models
        attacker.close()
        await until(lambda: not server.embedding.open_streams)


async def test_a_connection_carries_every_session_and_more() -> None:
    """An operator has all cameras on one connection; and one that is too many is told so, and not left to wait."""
    async with serving(max_sessions=300) as server:
        attacker = Attacker(server.port)
        block = header_block(EMBED_STREAM)
        for number in range(1, 2 * 600, 2):
            attacker.send(frame(HEADERS, END_HEADERS, number, block))
        attacker.wait_until_all_is_read()
        assert not attacker.refused
        attacker.close()


async def test_headers_that_are_no_text_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """GRPC would log each with a traceback; the call itself is answered as any other."""
    block = header_block(HEALTH_CHECK) + b"\x10\x01x\x04v\xbe\xbe\xbe"
    with caplog.at_level(logging.DEBUG):
        async with serving() as server:
            attacker = Attacker(server.port)
            attacker.open_and_reset(20, block)
            async with stream_to(server) as stream:  # behind them
                assert (await stream.open()).models
            attacker.close()
    assert "Invalid encoding" not in caplog.text
