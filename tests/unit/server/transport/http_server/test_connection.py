"""One HTTP connection: bodies that are none, answers that arrive whatever is still sent, and requests out of turn."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import weakref

import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_server.transport.http_server import connection
from reidstream_server.transport.http_server.incoming import MANY_CHUNKS, MAX_HEAD_BYTES
from tests.support.gate import Gate
from tests.support.harness import JPEG, until
from tests.support.http import door_of, form, http_serving, http_to, request

BODY, HEADERS = form(JPEG)
CHUNKED = {"Content-Type": "image/jpeg", "Transfer-Encoding": "chunked"}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# Bodies.


async def test_trailers_are_dropped_and_say_nothing() -> None:
    """They are no headers of the request: one that names a type changes nothing."""
    async with http_serving() as server, http_to(server) as http:
        http.send(request("POST", "/embed", b"", CHUNKED) + chunk(JPEG))
        http.send(b"0\r\nContent-Type: text/plain\r\nAuthorization: x\r\n\r\n")
        assert (await http.answer()).status == 200
        assert (await http.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("endless", [b"X: y\r\n" * 100, b"X" * 600, b"X: " + b"y" * 600])
async def test_trailers_without_end_are_not_kept(endless: bytes) -> None:
    """The request hears so, and the connection ends."""
    async with http_serving() as server, http_to(server) as http:
        http.send(request("POST", "/embed", b"", CHUNKED) + chunk(JPEG) + b"0\r\n")
        await until(lambda: server.parts.entrance.reception.taken == 1)
        http.send(endless * (2 * MAX_HEAD_BYTES // len(endless)))
        answer = await http.answer()
        assert (answer.status, "trailers" in answer.detail) == (400, True)
        assert answer.headers["connection"] == "close"
        await http.closed()


@pytest.mark.parametrize("wrong", [b"zz\r\n", b"10\r\nabc", b"-1\r\n"])
async def test_a_body_that_is_none_is_answered_and_ends_the_connection(wrong: bytes) -> None:
    """With one answer, which says what is wrong; whatever follows is dropped."""
    async with http_serving() as server, http_to(server) as http:
        http.send(request("POST", "/embed", b"", CHUNKED) + chunk(JPEG) + wrong + b"X" * 100)
        answer = await http.answer()
        assert (answer.status, "a chunk has a wrong length" in answer.detail) == (400, True)
        http.send(request("GET", "/healthz"))
        assert await http.reader.read() == b""


async def test_a_body_in_tiny_chunks_is_refused() -> None:
    """Each costs the event loop something; a body in a few thousand of them is read all the same."""
    async with http_serving() as server, http_to(server) as http:
        few = b"".join(chunk(JPEG[at : at + 8]) for at in range(0, len(JPEG), 8))
        assert len(JPEG) // 8 < MANY_CHUNKS
        http.send(request("POST", "/embed", b"", CHUNKED) + few + b"0\r\n\r\n")
        assert (await http.answer()).status == 200
        http.send(request("POST", "/embed", b"", CHUNKED) + chunk(b"x") * (MANY_CHUNKS + 1))
        answer = await http.answer()
        assert (answer.status, "send larger ones" in answer.detail) == (400, True)


async def test_who_sends_much_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for what is dropped: a body that is refused, and one whose client leaves."""
    monkeypatch.setattr(connection, "LINGER_S", 0.5)
    async with http_serving() as server, http_to(server) as http:
        charged: dict[str, int] = {}

        def charge(source: str, cost_ns: int) -> None:
            charged[source] = charged.get(source, 0) + cost_ns

        monkeypatch.setattr(server.parts.entrance.turns, "charge", charge)
        assert (await http.ask("POST", "/embed", BODY, HEADERS)).status == 200
        assert charged == {}
        size = 2**20
        http.send(request("POST", "/nowhere", bytes(size), {"Content-Length": str(2**30)}))
        assert (await http.answer()).status == 404
        await until(lambda: charged.get("connection ipv4:127.0.0.1", 0) >= size)


# Answers.


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_the_answer_arrives_when_the_connection_is_to_end_and_the_body_is_not_read(version: bytes) -> None:
    """Closing with unread bytes would destroy it: what still comes is dropped for a moment."""
    async with http_serving(max_message_bytes=2**20) as server, http_to(server) as http:
        size = 16 * 2**20
        asked = request("POST", "/embed", b"", {"Content-Type": "image/jpeg", "Content-Length": str(size)})
        http.send(asked.replace(b"HTTP/1.1", version).replace(b"Host: test", b"Host: test\r\nConnection: close"))
        for _ in range(size // 2**16):
            http.send(bytes(2**16))
            await http.writer.drain()
            await asyncio.sleep(0)
        answer = await http.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        await http.closed()


async def test_an_answered_request_has_one_answer_whatever_its_body_becomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was refused, and then its body turns out to be none."""
    monkeypatch.setattr(connection, "LINGER_S", 0.2)
    async with http_serving() as server, http_to(server) as http:
        http.send(request("POST", "/nowhere", b"", CHUNKED) + chunk(b"x" * 1000))
        assert (await http.answer()).status == 404
        http.send(b"zz\r\n")
        assert await http.reader.read() == b""


async def test_what_follows_a_request_and_is_none_is_answered_after_it() -> None:
    """The request is answered first, however long it takes; then the connection ends."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine) as server, http_to(server) as http:
        http.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: gate.entered == 1)
        http.send(b"no request\r\n\r\n")
        http.send(request("GET", "/healthz"))
        gate.opened.set()
        assert (await http.answer()).status == 200
        answer = await http.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await http.reader.read() == b""


async def test_half_a_head_behind_a_request_has_the_time_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not that of what is left of a body."""
    monkeypatch.setattr(connection, "LINGER_S", 0.0)
    async with http_serving() as server, http_to(server) as http:
        whole = request("GET", "/readyz")
        http.send(request("GET", "/healthz") + whole[:10])
        assert (await http.answer()).status == 200
        await asyncio.sleep(0.05)
        http.send(whole[10:])
        assert (await http.answer()).status == 200


async def test_what_waits_behind_a_request_is_not_read() -> None:
    """The body of the second one is read when its turn has come, not when the first is answered."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine) as server, http_to(server) as http:
        server.parts.entrance.places._pool.most = 0  # nobody has a place: bodies are never read
        http.send(request("GET", "/healthz") + request("POST", "/nowhere", b"", CHUNKED) + chunk(bytes(1000)))
        (one,) = await connections(server)
        for _ in range(64):
            http.send(chunk(bytes(2**16)))
        assert [(await http.answer()).status for _ in range(2)] == [200, 404]
        assert one.held_bytes <= 2**17
        gate.opened.set()


async def connections(server: object) -> list[connection.HttpConnection]:
    """Those that are open."""
    crowd = door_of(server).crowd  # type: ignore[arg-type]
    await until(lambda: len(crowd) > 0)
    return list(crowd._open)


async def test_what_is_written_is_sent_at_once() -> None:
    """Or the rest of an answer in two pieces would wait for the client's acknowledgement, 40 ms."""
    async with http_serving() as server, http_to(server) as http:
        assert (await http.ask("GET", "/healthz")).status == 200
        (one,) = await connections(server)
        assert one.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_upgrade_is_not_made_and_the_request_is_answered() -> None:
    """As if it had not been asked for; its body may come later. Java's client asks so by itself."""
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    async with http_serving() as server, http_to(server) as http:
        asked = request("POST", "/embed", BODY, HEADERS | upgrade)
        http.send(asked[: len(asked) - 100])
        await until(lambda: server.parts.entrance.reception.taken == 1)
        http.send(asked[-100:])
        assert (await http.answer()).status == 200
        assert (await http.ask("GET", "/docs", headers=upgrade)).status == 200
        assert (await http.ask("POST", "/embed", BODY, HEADERS)).status == 200


async def test_continue_is_said_when_the_body_is_wanted() -> None:
    """And not to whom is refused."""
    async with http_serving() as server, http_to(server) as http:
        asked = request("POST", "/embed", BODY, HEADERS | {"Expect": "100-continue"})
        http.send(asked[: -len(BODY)])
        assert await http.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        http.send(BODY)
        assert (await http.answer()).status == 200
        http.send(request("POST", "/nowhere", b"", HEADERS | {"Content-Length": "5", "Expect": "100-continue"}))
        assert (await http.answer()).status == 404


# Ends.


async def test_an_answer_that_is_being_taken_is_not_cut_for_a_newcomer() -> None:
    """Its connection is busy until its client has it."""
    boxes = "[" + ",".join(["[10,10,60,120]"] * 1000) + "]"
    async with http_serving(FakeEngine(fake_spec(dim=512))) as server:
        crowd = door_of(server).crowd
        crowd.most = 1
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", server.http_port or 0))
            slow.sendall(request("POST", "/embed", *form(JPEG, boxes=boxes)))
            await until(lambda: door_of(server).ended.counts["POST /embed", "200"])
            async with http_to(server) as newcomer:
                assert (await newcomer.answer()).status == 503
            assert await asyncio.to_thread(read_answer, slow) > 2**20


def read_answer(one: socket.socket) -> int:
    """The length of a body, all of which came."""
    head, _, body = read_until(one, b"\r\n\r\n").partition(b"\r\n\r\n")
    (line,) = (line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    length, count = int(line.split(b":")[1]), len(body)
    while count < length:
        piece = one.recv(65536)
        assert piece
        count += len(piece)
    return length


def read_until(one: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        data += one.recv(65536)
    return data


async def test_a_client_that_ends_its_connection_and_reads_nothing_is_cut_off() -> None:
    """Even if little of its answer is left."""
    async with http_serving(FakeEngine(fake_spec(dim=512)), stall_timeout_s=0.2) as server:
        crowd = door_of(server).crowd
        async with http_to(server) as http:
            assert (await http.ask("GET", "/healthz")).status == 200
            (one,) = await connections(server)
            one.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
            http.writer.transport.pause_reading()  # type: ignore[attr-defined]
            boxes = "[" + ",".join(["[10,10,60,120]"] * 8) + "]"
            body, headers = form(JPEG, boxes=boxes)
            http.send(request("POST", "/embed", body, headers | {"Connection": "close"}))
            await until(lambda: door_of(server).ended.counts["POST /embed", "200"])
            await until(lambda: len(crowd) == 0)


async def test_only_so_many_hear_that_there_are_too_many() -> None:
    """Those beyond them are cut at once, or they would be connections without bound."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine) as server, http_to(server) as busy:
        crowd = door_of(server).crowd
        busy.send(request("POST", "/embed", BODY, HEADERS))
        await until(lambda: gate.entered == 1)
        crowd.most = 1
        late = [await asyncio.open_connection("127.0.0.1", server.http_port) for _ in range(200)]
        heard = [await first_bytes(reader) for reader, _ in late]
        assert 0 < sum(said.startswith(b"HTTP/1.1 503") for said in heard) <= 64
        for _, writer in late:
            writer.close()
        gate.opened.set()
        assert (await busy.answer()).status == 200


async def first_bytes(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(100)
    except ConnectionError:
        return b""


async def test_a_client_that_resets_with_requests_in_line_leaves_nothing() -> None:
    """The one that is answered is given up, and those behind it."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine) as server:
        with socket.socket() as one:
            one.connect(("127.0.0.1", server.http_port or 0))
            one.sendall(request("POST", "/embed", BODY, HEADERS) * 3)
            await until(lambda: gate.entered == 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: len(door_of(server).crowd) == 0)
        await until(lambda: server.parts.entrance.places.taken == server.runtime.open_sessions == 0)
        gate.opened.set()
        async with http_to(server) as http:
            assert (await http.ask("POST", "/embed", BODY, HEADERS)).status == 200


@pytest.mark.parametrize(
    "sent", [request("POST", "/embed", BODY, HEADERS), request("POST", "/embed", BODY, HEADERS)[:-9]]
)
async def test_a_connection_that_is_gone_is_gone_without_the_garbage_collector(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its request was being answered, or its body came: the collector comes by the number of objects, and a few
    large bodies would wait for it for minutes.
    """
    made: list[weakref.ref[connection.HttpConnection]] = []
    came = connection.HttpConnection.connection_made

    def making(self: connection.HttpConnection, transport: asyncio.BaseTransport) -> None:
        made.append(weakref.ref(self))
        came(self, transport)

    monkeypatch.setattr(connection.HttpConnection, "connection_made", making)
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    gc.disable()
    try:
        async with http_serving(engine) as server:
            with socket.socket() as one:
                one.connect(("127.0.0.1", server.http_port or 0))
                one.sendall(sent)
                await until(lambda: bool(made) and server.parts.entrance.places.taken == 1)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await until(lambda: len(door_of(server).crowd) == 0)
            gate.opened.set()
            await until(lambda: made[0]() is None)
    finally:
        gc.enable()
