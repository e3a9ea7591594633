"""Addresses of servers, right and wrong, and what is asked when nobody answers."""

from __future__ import annotations

import pytest

from reidstream_client import AsyncReidClient, InvalidRequest, ServerUnavailable, TlsOptions
from reidstream_client.connection.targets import hint, host_and_port, proxy_of
from tests.unit.client.samples import BOXES, IMAGE, ONCE
from tests.unit.client.scripted_server import ScriptedServer


@pytest.mark.parametrize("scheme", ["http://", "https://", "grpc://", "GRPCS://", "tcp://"])
def test_a_scheme_is_refused_before_gRPC_takes_it_for_a_name(scheme: str) -> None:  # noqa: N802 - its name
    """With what to write instead."""
    with pytest.raises(InvalidRequest, match=rf"must be HOST:PORT, without {scheme}.*tls=TlsOptions"):
        AsyncReidClient(f"{scheme}gate:50051")


def test_an_empty_address_is_refused() -> None:
    """A variable that is not set, mostly."""
    with pytest.raises(InvalidRequest, match="is empty; it must be HOST:PORT"):
        AsyncReidClient("")


@pytest.mark.parametrize("target", ["gate", "10.0.0.1", "::1", "[::1]", "dns:///gate", "ipv4:10.0.0.1", "gate:"])
def test_a_missing_port_is_asked_for(target: str) -> None:
    """Without one gRPC means 443."""
    assert "No port was given, which means 443" in hint(target, tls=True)


@pytest.mark.parametrize(
    "target", ["gate:1", "10.0.0.1:1", "[::1]:1", "dns:///gate:1", "ipv4:10.0.0.1:1,10.0.0.2:1", "unix:/run/reid"]
)
def test_no_port_is_asked_for_where_there_is_one(target: str) -> None:
    """Or none is needed."""
    assert "No port" not in hint(target, tls=False)


@pytest.mark.parametrize("target", ["localhost:99999", "gate:0", "[::1]:65536", "dns:///gate:99999", "10.0.0.1:65536"])
def test_a_number_that_is_no_port_is_refused(target: str) -> None:
    """GRPC would take another port, without a word."""
    with pytest.raises(InvalidRequest, match=r"is no port; a port is 1 to 65535, of reidstream 50051"):
        AsyncReidClient(target)


@pytest.mark.parametrize("target", ["gate:1", "[::1]:65535", "::1", "ipv4:10.0.0.1:1,10.0.0.2:99", "unix:/run/x:99999"])
def test_what_may_be_a_port_is_left_to_gRPC(target: str) -> None:  # noqa: N802 - its name
    """As is what has none."""
    AsyncReidClient(target)


def test_a_proxy_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would refuse, with an address that nobody gave; its password is not shown."""
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://user:sesame@proxy:3128")
    asked = hint("gate.example.org:50051", tls=False)
    assert "names a proxy (http_proxy)" in asked
    assert "add the server's host to no_proxy" in asked
    assert "sesame" not in asked
    assert "proxy" not in hint("localhost:50051", tls=False)
    assert "proxy" not in hint("unix:/run/reid", tls=False)


@pytest.mark.parametrize(
    ("target", "variables", "found"),
    [
        ("gate:1", {}, None),
        ("gate:1", {"http_proxy": ""}, None),
        ("gate:1", {"HTTP_PROXY": "p"}, None),
        ("gate:1", {"http_proxy": "p", "https_proxy": "p"}, "https_proxy"),
        ("gate:1", {"https_proxy": "p", "grpc_proxy": "p"}, "grpc_proxy"),
        ("gate:1", {"http_proxy": "p", "no_proxy": "other, gate"}, None),
        ("dns:///a.gate.org:1", {"http_proxy": "p", "no_proxy": ".gate.org"}, None),
        ("a.gate.org", {"http_proxy": "p", "no_proxy": ".gate.com,"}, "http_proxy"),
        ("10.1.2.3:1", {"http_proxy": "p", "no_proxy": "10.0.0.0/8"}, None),
        ("[2001:db8::1]:1", {"http_proxy": "p", "no_proxy": "2001:db8::/32"}, None),
        ("11.1.2.3:1", {"http_proxy": "p", "no_proxy": "10.0.0.0/8"}, "http_proxy"),
        ("gate:1", {"http_proxy": "p", "no_grpc_proxy": "other", "no_proxy": "gate"}, "http_proxy"),
    ],
)
def test_the_proxy_is_the_one_that_grpc_takes(target: str, variables: dict[str, str], found: str | None) -> None:
    """In gRPC's order, and with its exceptions."""
    assert proxy_of(target, variables) == found


async def test_tls_where_the_server_has_none(server: ScriptedServer) -> None:
    """The words of gRPC may be about another of the host's addresses."""
    async with AsyncReidClient(server.target, retry=ONCE, tls=TlsOptions()) as client:
        with pytest.raises(ServerUnavailable, match=r"running and ready there, with TLS\?"):
            await client.embed(IMAGE, BOXES)
        with pytest.raises(ServerUnavailable, match=r"running and ready there, with TLS\?"):
            async with client.stream():
                pass


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("gate:1", ("gate", 1)),
        ("dns:///gate.org:50051", ("gate.org", 50051)),
        ("gate", ("gate", 443)),
        ("[::1]:7", ("::1", 7)),
        ("10.0.0.7:7", ("10.0.0.7", 7)),
        ("unix:/run/reid", None),
        ("ipv4:10.0.0.7:1,10.0.0.8:1", None),
    ],
)
def test_where_a_connection_goes(target: str, place: tuple[str, int] | None) -> None:
    """As gRPC reads it; without a port that is 443. What only gRPC can resolve has no such place."""
    assert host_and_port(target) == place
