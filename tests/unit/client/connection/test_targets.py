"""Addresses of servers, right and wrong, and what is asked when nobody answers."""

from __future__ import annotations

import pytest

from reidstream_client import AsyncReidClient, InvalidRequest, ServerUnavailable, TlsOptions
from reidstream_client.connection.targets import hint
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


async def test_tls_where_the_server_has_none(server: ScriptedServer) -> None:
    """The words of gRPC may be about another of the host's addresses."""
    async with AsyncReidClient(server.target, retry=ONCE, tls=TlsOptions()) as client:
        with pytest.raises(ServerUnavailable, match=r"running and ready there, with TLS\?"):
            await client.embed(IMAGE, BOXES)
        with pytest.raises(ServerUnavailable, match=r"running and ready there, with TLS\?"):
            async with client.stream():
                pass
