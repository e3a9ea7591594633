"""The HTTP port: whose requests are let in, what they may hold, and how connections end."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_server import doors
from reidstream_server.app import RunningServer
from reidstream_server.transport.entrance.entrance import RECEIVING_PLACES
from reidstream_server.transport.http_server import connection
from tests.support.certificates import authority, signed
from tests.support.gate import Gate
from tests.support.harness import JPEG, until
from tests.support.http import RawHttp, door_of, form, http_serving, http_to, request

BODY, HEADERS = form(JPEG)
RAW = {"Content-Type": "image/jpeg"}
OTHER = "127.0.0.2"


# Who is let in.


async def test_a_token_is_asked_for_as_on_the_stream_and_descriptions_are_everybodys(tmp_path: Path) -> None:
    """Without one: 401, which says what to send. Probes and descriptions are answered to strangers."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(b'right').hexdigest()}\n")
    async with http_serving(tokens_file=tokens) as server, http_to(server) as http:
        for given in ({}, {"Authorization": "Bearer wrong"}):
            answer = await http.ask("POST", "/embed", BODY, HEADERS | given)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.json["reason"] == "unauthenticated"
        answer = await http.ask("POST", "/embed", BODY, HEADERS | {"Authorization": "Bearer right"})
        assert answer.status == 200
        for path in ("/docs", "/docs.js", "/openapi.json", "/healthz", "/readyz"):
            assert (await http.ask("GET", path)).status == 200
            assert (await http.ask("HEAD", path)).body == b""


async def test_paths_and_methods_that_are_not_there() -> None:
    """With those that are."""
    async with http_serving() as server, http_to(server) as http:
        answer = await http.ask("GET", "/embeds")
        assert (answer.status, "GET /docs" in answer.detail) == (404, True)
        answer = await http.ask("DELETE", "/docs")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_while_the_server_leaves_new_calls_go_elsewhere_and_probes_say_so() -> None:
    """What was accepted is answered."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine) as server, http_to(server) as first, http_to(server) as second:
        first.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: gate.entered == 1)
        draining = asyncio.create_task(server.drain())
        await until(lambda: server.runtime.leaving)
        answer = await second.ask("POST", "/embed", BODY, HEADERS)
        assert (answer.status, answer.json["reason"]) == (503, "going_away")
        assert (await second.ask("GET", "/readyz")).status == 503
        assert (await second.ask("GET", "/healthz")).status == 200
        gate.opened.set()
        assert (await first.answer()).status == 200
        assert await draining
        await first.closed()


async def test_connections_of_one_address_are_one_client_where_nobody_has_a_name() -> None:
    """HTTP clients open connections as they like: together they get half of the calls, and others find room."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine, max_calls=8) as server, AsyncExitStack() as stack:
        many = [await stack.enter_async_context(http_to(server)) for _ in range(8)]
        for one in many:
            one.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: door_of(server).ended.counts["POST /embed", "429"] == 4)
        assert server.parts.entrance.places.taken == 4
        other = await stack.enter_async_context(http_to(server, address=OTHER))
        other.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: server.parts.entrance.places.taken == 5)
        gate.opened.set()
        assert (await other.answer()).status == 200
        assert sorted([(await one.answer()).status for one in many]) == [200] * 4 + [429] * 4


# Bodies.


async def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    """By its length, or when it has become too long; the connection is good for another request."""
    async with http_serving(max_message_bytes=2**20) as server, http_to(server) as http:
        answer = await http.ask(
            "POST", "/embed", BODY, HEADERS | {"Content-Length": str(2**40), "Expect": "100-continue"}
        )
        assert (answer.status, "(max_message_bytes)" in answer.detail) == (413, True)
    async with http_serving(max_message_bytes=2**20) as server, http_to(server) as http:
        http.send(request("POST", "/embed", b"", RAW | {"Transfer-Encoding": "chunked"}))
        piece = b"10000\r\n" + bytes(2**16) + b"\r\n"
        for _ in range(2**20 // 2**16 + 1):
            http.send(piece)
        assert (await http.answer()).status == 413
        http.send(b"0\r\n\r\n")
        assert (await http.ask("POST", "/embed", BODY, HEADERS)).status == 200


async def test_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its answer it is dropped for a moment, and then the connection is ended."""
    monkeypatch.setattr(connection, "LINGER_S", 0.2)
    async with http_serving(max_message_bytes=2**20) as server, http_to(server) as http:
        http.send(request("POST", "/embed", b"", RAW | {"Transfer-Encoding": "chunked"}))

        async def pour() -> None:
            while True:
                http.send(b"10000\r\n" + bytes(2**16) + b"\r\n")
                await http.writer.drain()

        pouring = asyncio.create_task(pour())
        assert (await http.answer()).status == 413
        with pytest.raises(ConnectionError):
            await pouring
        await until(lambda: len(door_of(server).crowd) == 0)


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """408; its place is free."""
    async with http_serving(receive_timeout_s=0.2) as server, http_to(server) as http:
        http.send(request("POST", "/embed", BODY[:100], HEADERS | {"Content-Length": str(len(BODY))}))
        answer = await http.answer()
        assert (answer.status, answer.json["reason"]) == (408, "too_slow")
        http.writer.close()
        await until(lambda: server.parts.entrance.reception.taken == server.parts.entrance.places.taken == 0)


async def test_unfinished_bodies_hold_places_and_others_are_served() -> None:
    """A bounded number is received at a time, and one address has at most half of it."""
    async with http_serving() as server, AsyncExitStack() as stack:
        reception = server.parts.entrance.reception
        for _ in range(3 * RECEIVING_PLACES):
            http = await stack.enter_async_context(http_to(server))
            http.send(request("POST", "/embed", BODY[:100], HEADERS | {"Content-Length": str(len(BODY))}))
        await until(lambda: reception.taken == RECEIVING_PLACES // 2 and reception.waiting == 5 * RECEIVING_PLACES // 2)


async def test_a_client_that_leaves_takes_its_call_with_it() -> None:
    """While its body comes, while it waits for a place, and while it waits for its answer."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine) as server:
        entrance = server.parts.entrance
        async with http_to(server) as answered, http_to(server) as receiving:
            answered.send(request("POST", "/embed", BODY, HEADERS))
            await until(lambda: gate.entered == 1)
            receiving.send(request("POST", "/embed", BODY[:100], HEADERS | {"Content-Length": str(len(BODY))}))
            await until(lambda: entrance.reception.taken == 1)
        await until(lambda: entrance.reception.taken == entrance.places.taken == server.runtime.open_sessions == 0)
        gate.opened.set()


# Connections.


async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one and a later one, said slowly or not at all."""
    monkeypatch.setattr(connection, "HEAD_S", 0.2)
    async with http_serving() as server, AsyncExitStack() as stack:
        silent = await stack.enter_async_context(http_to(server))
        slow = await stack.enter_async_context(http_to(server))
        slow.send(b"GET /docs HTTP/1.1\r\nHost: t")
        later = await stack.enter_async_context(http_to(server))
        assert (await later.ask("GET", "/healthz")).status == 200
        later.send(b"GET /docs HTTP/1.1\r\nHost: t")
        for one in (silent, slow, later):
            await one.closed()
        await until(lambda: len(door_of(server).crowd) == 0)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /docs HTTP/1.1\r\n" + b"X: y\r\n" * 2**13, 431),
        (b"GET /" + b"a" * 2**17, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"POST /embed HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"POST /embed HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\nx", 400),
    ],
)
async def test_what_is_no_request_is_told_so_and_ended(
    sent: bytes, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is kept, and the log says nothing: anybody may send this as often as he likes."""
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    async with http_serving() as server, http_to(server) as http:
        caplog.clear()
        http.send(sent)
        assert (await http.answer()).status == status
        await http.closed()
        await until(lambda: len(door_of(server).crowd) == 0)
        assert not caplog.records


async def test_requests_that_come_before_the_answers_are_answered_in_order() -> None:
    """A few of them."""
    async with http_serving() as server, http_to(server) as http:
        http.send(request("GET", "/healthz") + request("GET", "/nowhere") + request("POST", "/embed", BODY, HEADERS))
        assert [(await http.answer()).status for _ in range(3)] == [200, 404, 200]
        http.send(request("GET", "/healthz") * 1000)
        await http.closed()


async def test_idle_connections_make_room_the_oldest_first() -> None:
    """A busy one stays; where all are busy, the newest is told to come back."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine) as server, AsyncExitStack() as stack:
        door_of(server).crowd.most = 3
        busy = await stack.enter_async_context(http_to(server))
        busy.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: gate.entered == 1)
        idle = [await stack.enter_async_context(http_to(server)) for _ in range(2)]
        await until(lambda: len(door_of(server).crowd) == 3)
        newest = await stack.enter_async_context(http_to(server))
        await idle[0].closed()
        assert (await newest.ask("GET", "/healthz")).status == 200
        assert (await idle[1].ask("GET", "/healthz")).status == 200
        for one in (idle[1], newest):
            one.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: server.runtime.open_sessions == 3)
        late = await stack.enter_async_context(http_to(server))
        answer = await late.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        gate.opened.set()
        assert [(await one.answer()).status for one in (busy, idle[1], newest)] == [200] * 3


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """Its answer does not stay for ever."""
    boxes = "[" + ",".join(["[10,10,60,120]"] * 1000) + "]"
    async with http_serving(FakeEngine(fake_spec(dim=512)), stall_timeout_s=0.2) as server:
        with socket.socket() as mute:
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            mute.connect(("127.0.0.1", server.http_port))
            mute.sendall(request("POST", "/embed", *form(JPEG, boxes=boxes)) * 4)
            await until(lambda: len(door_of(server).crowd) == 1)
            await until(lambda: len(door_of(server).crowd) == 0)


async def test_a_connection_that_holds_too_much_hears_why() -> None:
    """The watch of the memory knows what each holds, and has its call ended; then it is cut."""
    async with http_serving() as server, http_to(server) as greedy, http_to(server) as other:
        greedy.send(request("POST", "/embed", bytes(300_000), RAW | {"Content-Length": str(2**20)}))
        crowd = door_of(server).crowd
        await until(lambda: [holder.bytes for holder in crowd.holders()] == [300_000])
        (holder,) = crowd.holders()
        await asyncio.to_thread(crowd.end_calls, holder.peer, "this connection holds too much")
        answer = await greedy.answer()
        assert (answer.status, answer.json["reason"]) == (429, "receiving_full")
        assert answer.detail == "this connection holds too much"
        assert not crowd.ending(holder.peer)
        assert await asyncio.to_thread(crowd.cut, holder.peer)
        await greedy.closed()
        assert not crowd.cut(holder.peer)
        assert (await other.ask("POST", "/embed", BODY, HEADERS)).status == 200


async def test_answers_that_are_not_taken_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client gets at most half; another is served."""
    boxes = "[" + ",".join(["[10,10,60,120]"] * 1000) + "]"
    body, headers = form(JPEG, boxes=boxes)
    monkeypatch.setattr(doors, "HTTP_ANSWERS_BYTES", 12 * 2**20)  # one answer has 7 MB, by the bound
    async with http_serving(FakeEngine(fake_spec(dim=512))) as server, http_to(server, address=OTHER) as other:
        with socket.socket() as mute:
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            mute.connect(("127.0.0.1", server.http_port))
            mute.sendall(request("POST", "/embed", body, headers))
            await until(lambda: door_of(server).ended.counts["POST /embed", "200"])
            answer = await other.ask("POST", "/embed", body, headers)
            assert (answer.status, "read answers" in answer.detail) == (429, True)
            assert (await other.ask("POST", "/embed", BODY, HEADERS)).status == 200


async def said_over_tls(server: RunningServer, trust: ssl.SSLContext) -> bytes:
    """The first bytes that a client hears; nothing if it cannot connect."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.http_port, ssl=trust, server_hostname="localhost"
    )
    try:
        writer.write(request("GET", "/healthz"))
        return await reader.read(100)
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()


async def test_tls_and_the_name_in_a_certificate(tmp_path: Path) -> None:
    """The same files as the gRPC port's; a client without a certificate cannot connect where one is asked for."""
    root = authority(tmp_path, "root")
    own, client = signed(root, "localhost", alternative="DNS:localhost"), signed(root, "gate", alternative="DNS:gate")
    files = {"tls_cert_file": own.certificate, "tls_key_file": own.key, "tls_client_ca_file": root.certificate}
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine, **files) as server:
        trust = ssl.create_default_context(cafile=str(root.certificate))
        assert await said_over_tls(server, trust) == b""
        trust.load_cert_chain(client.certificate, client.key)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.http_port, ssl=trust, server_hostname="localhost"
        )
        http = RawHttp(reader, writer)
        http.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: gate.entered == 1)
        (session,) = server.runtime.sessions()
        assert session.agreement.terms.flow.client == "gate"
        gate.opened.set()
        assert (await http.answer()).status == 200
        writer.close()
        await writer.wait_closed()


async def test_the_entrance_knows_a_call_by_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the port names those that are open: else a call that waits would count as one whose connection is gone."""
    async with http_serving() as server, http_to(server) as http:
        turns, open_ones = server.parts.entrance.turns, door_of(server).crowd
        wait, known = turns.wait, list[bool]()

        async def watched(source: str, peer: str, cost_ns: int) -> None:
            known.append(peer in await open_ones.connected())
            await wait(source, peer, cost_ns)

        monkeypatch.setattr(turns, "wait", watched)
        for path in ("/healthz", "/nowhere"):
            await http.ask("GET", path)
        await http.ask("POST", "/embed", BODY, HEADERS)
        assert known == [True] * 3
