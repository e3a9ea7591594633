"""Looks that end with their time, whatever does not answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator

import pytest

from reidstream_client import AsyncReidClient, CallTimeout, InvalidRequest
from reidstream_client.cli.doctor.gather.frames import try_frames
from reidstream_client.cli.doctor.gather.network import resolve
from reidstream_client.cli.doctor.gather.tls import Place, handshake
from reidstream_client.cli.doctor.gather.web import Url, WebFailed, get, parse_url
from reidstream_client.cli.doctor.seen import Trust
from tests.support.doctoring import answering, saying, silent, web
from tests.unit.client.cli.doctor.sights import LIMITS
from tests.unit.client.scripted_server import ScriptedServer, ServerStream

SHORT_S = 0.2


async def test_a_resolver_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be interrupted; the thread that asks it is left behind."""
    end = threading.Event()

    def wait(*_: object, **__: object) -> list[object]:
        end.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    names = await resolve("gate", 1, SHORT_S)
    end.set()
    assert names.addresses == ()
    assert "the resolver has not answered within 0.2 s" in names.error


async def test_a_name_that_is_none() -> None:
    """Too long for the name service."""
    assert "it is no host name" in (await resolve("g" * 70 + ".org", 1, 60)).error


@pytest.fixture
async def mute() -> AsyncIterator[ScriptedServer]:
    """Opens streams, and answers no frame."""
    end = asyncio.Event()

    async def stream(call: ServerStream) -> None:
        await call.opened()
        await end.wait()

    async def embed(request: object, context: object) -> None:
        del request, context
        await end.wait()

    server = ScriptedServer(on_stream=stream, on_embed=embed)  # type: ignore[arg-type]
    async with server.running():
        yield server
        end.set()


async def test_frames_without_an_answer_end_with_their_time(mute: ScriptedServer) -> None:
    """The stream and the call, each by itself."""
    async with AsyncReidClient(mute.target, timeout_s=SHORT_S) as client:
        frames = await try_frames(client, LIMITS, (640, 480), SHORT_S)
    assert isinstance(frames.embed, CallTimeout)
    late = frames.broken or frames.opened  # a slow machine may not even open it in that time
    assert isinstance(late, CallTimeout)
    assert frames.answers == ()


async def test_a_page_has_one_time_for_all_of_it() -> None:
    """Not one for each byte; and what is no web server is no page."""
    async with answering(silent) as port:
        with pytest.raises(WebFailed, match=r"no answer within 0\.2 s"):
            await get(Url(host="127.0.0.1", port=port, path="/"), SHORT_S)
    async with answering(saying(b"SSH-2.0\r\n")) as port:
        with pytest.raises(WebFailed, match="no HTTP server"):
            await get(Url(host="127.0.0.1", port=port, path="/"), 60)
    with pytest.raises(WebFailed, match="Connection refused"):
        await get(Url(host="127.0.0.1", port=1, path="/"), 60)


async def test_a_page_is_its_status_and_its_body() -> None:
    """Under any name of the host."""
    async with answering(web("hello", "503 Busy")) as port:
        page = await get(Url(host="localhost", port=port, path="/"), 60)
    assert (page.status, page.body) == (503, b"hello")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://gate", "http://gate:80/metrics"),
        ("http://gate:9464/", "http://gate:9464/metrics"),
        ("https://gate/a/b?c=d", "https://gate:443/a/b?c=d"),
        ("http://[::1]:9464/metrics", "http://[::1]:9464/metrics"),
    ],
)
def test_an_address_of_metrics(text: str, url: str) -> None:
    """The path is /metrics unless another one is given."""
    assert str(parse_url(text)) == url


@pytest.mark.parametrize("text", ["", "gate:9464", "ftp://gate", "http://", "http://me:pw@gate/", "http://gate:99999"])
def test_what_is_no_address_of_metrics(text: str) -> None:
    """It would be looked at in vain."""
    with pytest.raises(InvalidRequest, match="--metrics takes"):
        parse_url(text)


async def test_a_handshake_ends_with_its_time() -> None:
    """Where somebody takes connections and says nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with answering(silent) as port:
        found = await handshake(Place(address="127.0.0.1", port=port, name="gate", timeout_s=SHORT_S), context)
    assert (found.trust, found.certificate) == (Trust.SILENT, None)
