"""Whose a connection is: the kernel tells, and only of connections that are open on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reidstream_server.transport.local_users import End, LocalUsers, end_of


@contextmanager
def connection(
    family: int = socket.AF_INET, to: str = "127.0.0.1"
) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """A client's socket, ours, and our port."""
    listener = socket.socket(socket.AF_INET6 if to == "::1" else socket.AF_INET)
    client = socket.socket(family)
    with listener, client:
        listener.bind(("::1" if to == "::1" else "127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        client.connect((to, port))
        ours, _ = listener.accept()
        with ours:
            yield client, ours, port


def named(client: socket.socket) -> str:
    """As gRPC writes it."""
    host, port = client.getsockname()[:2]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


@pytest.mark.parametrize(
    ("family", "to"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::ffff:127.0.0.1")],
    ids=["IPv4", "IPv6", "IPv4 by a socket of IPv6"],
)
def test_a_connection_is_whose_it_is(family: int, to: str) -> None:
    """By either name of its address."""
    with connection(family, to) as (client, _, port):
        assert LocalUsers(lambda: port).user_of(named(client)) == os.getuid()


def test_a_connection_that_its_program_has_closed_is_nobodys() -> None:
    """Older kernels would say that it is user 0's."""
    with connection() as (client, _, port):
        name = named(client)
        client.close()
        assert LocalUsers(lambda: port).user_of(name) is None


def test_only_connections_to_this_port_count() -> None:
    """A connection to another port may have the same name, and another user."""
    with connection() as (client, _, port), connection() as (_, _, other):
        assert port != other
        assert LocalUsers(lambda: other).user_of(named(client)) is None


@pytest.mark.parametrize(
    "peer", ["ipv4:192.0.2.1:4000", "unix:/run/socket", "ipv4:localhost:4000", "ipv4:127.0.0.1", "", "ipv4:127.0.0.1:x"]
)
def test_of_others_the_kernel_is_not_asked(peer: str) -> None:
    """Nor is anybody found who is not there."""
    assert LocalUsers(lambda: 1).user_of(peer) is None


def test_an_end_is_read_as_grpc_writes_it() -> None:
    """An IPv4 address that came in through IPv6 is IPv4."""
    assert str(end_of("ipv6:%5B::1%5D:4000")) == str(end_of("ipv6:[::1]:4000"))
    mapped = end_of("ipv6:%5B::ffff:127.0.0.1%5D:4000")
    assert isinstance(mapped, End)
    assert (str(mapped.address), mapped.port) == ("127.0.0.1", 4000)
