"""What the kernel says of our connections, on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reidstream_server.transport.grpc_server.sockets import cut, received_bytes


@contextmanager
def connected(family: socket.AddressFamily, host: str) -> Iterator[tuple[int, socket.socket, socket.socket]]:
    """A port that listens in this process, a client of it, and the server's end of it."""
    with socket.socket(family) as listening:
        try:
            listening.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        listening.listen()
        with socket.create_connection(listening.getsockname()[:2]) as client:
            server, _ = listening.accept()
            with server:
                yield listening.getsockname()[1], client, server


@pytest.mark.parametrize(
    ("family", "host", "peer"),
    [(socket.AF_INET, "127.0.0.1", "ipv4:127.0.0.1:{}"), (socket.AF_INET6, "::1", "ipv6:%5B::1%5D:{}")],
)
def test_the_kernel_counts_what_a_connection_has_received(family: socket.AddressFamily, host: str, peer: str) -> None:
    """Whether anybody has read it or not, by the name that gRPC gives its other end."""
    with connected(family, host) as (port, client, server):
        name = peer.format(client.getsockname()[1])
        assert received_bytes(port) == {name: 0}
        client.sendall(bytes(1000))
        server.recv(1, socket.MSG_PEEK)
        assert received_bytes(port) == {name: 1000}
        server.recv(600)
        assert received_bytes(port) == {name: 1000}


def test_only_connections_to_the_port_are_ours() -> None:
    """The client's end of one is in this process too, and so is the port that listens."""
    with connected(socket.AF_INET, "127.0.0.1") as (port, client, _):
        assert len(received_bytes(port)) == 1
        assert received_bytes(client.getsockname()[1]) == {f"ipv4:127.0.0.1:{port}": 0}
        assert received_bytes(1) == {}


def test_a_connection_that_is_cut_ends_at_both_ends() -> None:
    """Whoever reads or writes there hears of it at once."""
    with connected(socket.AF_INET, "127.0.0.1") as (port, client, server):
        assert not cut(port, "ipv4:127.0.0.1:1")
        assert cut(port, f"ipv4:127.0.0.1:{client.getsockname()[1]}")
        assert client.recv(1) == b""
        assert server.recv(1) == b""


def test_sockets_that_come_and_go_meanwhile_are_no_error() -> None:
    """Descriptors are closed and used again while we look at them; none of them is closed by us."""
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            pair = socket.socketpair()
            for each in pair:
                each.close()

    with connected(socket.AF_INET, "127.0.0.1") as (port, client, server):
        churning = threading.Thread(target=churn)
        churning.start()
        try:
            for _ in range(200):
                assert len(received_bytes(port)) == 1
        finally:
            over.set()
            churning.join()
        client.sendall(b"x")
        assert server.recv(1) == b"x"
