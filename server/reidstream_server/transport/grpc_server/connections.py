"""What one connection may do, so that it does not take the place of all others: options of gRPC itself.

grpc.aio takes calls one by one. Those that wait stand in one queue of the whole server, and when it is long, gRPC ends
new calls of whomever with CANCELLED, by chance. Traps: a call that its client resets stays in that queue until it is
looked at, so a connection that opens and resets calls fills the queue unless its reset calls count (overload
protection). A longer queue alone makes it worse: it costs 10 KB a call, and who stands in it for 30 s is ended too. And
a client's library holds back the calls that are too many for its connection without a word, so the limit must lie above
what is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence

_FULL_CONNECTIONS = 8
"""How many connections may have all their calls wait before gRPC ends new calls by chance; from twice as many, all."""

HEADERS_BYTES = 8 * 2**10
"""The most headers that a call may bring, as HTTP/2 counts them: 32 bytes for each beside its name and value. It is
gRPC's own number. By default gRPC takes up to twice as much, by chance, and what a call costs that waits was unknown.
"""


def call_options(most: int) -> Sequence[tuple[str, int]]:
    """`most`: how many calls of a connection may be open, or wait to be looked at. gRPC refuses more by itself, which
    costs the event loop nothing; a client's gRPC tries those again.
    """
    return (
        ("grpc.max_concurrent_streams", most),
        ("grpc.http.overload_protection", 1),  # a call counts until it is gone, not until it is reset
        ("grpc.max_metadata_size", HEADERS_BYTES),
        ("grpc.absolute_max_metadata_size", HEADERS_BYTES),
        ("grpc.server.max_pending_requests", _FULL_CONNECTIONS * most),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _FULL_CONNECTIONS * most),
    )
