"""What a server says of its sessions becomes values, page by page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import pytest

from reidstream_client import CallRejected, InvalidRequest, ReidClient, ReidError, ServerUnavailable
from reidstream_client.admin import ask_session, ask_sessions
from reidstream_client.testing import FakeServer
from reidstream_proto.admin.v1 import admin_pb2
from reidstream_proto.v1 import session_pb2

T = TypeVar("T")


@dataclass
class Pages:
    """A server with two pages."""

    asked: list[str] = field(default_factory=list)

    async def __call__(self, method: str, request: bytes, parse: Callable[[bytes], T]) -> T:
        assert method == "ListSessions"
        token = admin_pb2.ListSessionsRequest.FromString(request).page_token
        self.asked.append(token)
        answer = admin_pb2.ListSessionsResponse(
            server=admin_pb2.ServerState(instance="a", uptime_ns=1_500_000_000),
            sessions=[
                admin_pb2.SessionState(
                    number=2 if token else 1,
                    age_p50_ns=20_000_000,
                    priority=session_pb2.PRIORITY_HIGH,
                    ordering=session_pb2.Ordering.ValueType(77),
                    losses={"over_budget": 3},
                )
            ],
            next_page_token="" if token else "1",
        )
        return parse(answer.SerializeToString())


async def test_every_page_is_asked_for() -> None:
    """And the server is as the last one says."""
    pages = Pages()
    found = await ask_sessions(pages)
    assert pages.asked == ["", "1"]
    assert [session.number for session in found.sessions] == [1, 2]
    assert found.server.uptime_s == 1.5


async def test_what_is_not_known_is_none_and_a_new_word_has_its_number() -> None:
    """Absent is not zero; closed sets are words in lower case."""
    one = (await ask_sessions(Pages())).sessions[0]
    assert (one.age_p50_s, one.age_p99_s, one.latency_budget_s) == (0.02, None, None)
    assert (one.priority, one.overload_policy, one.ordering) == ("high", "unspecified", "unknown_77")
    assert one.losses == {"over_budget": 3}


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, CallRejected, "no: the server is older than the service"),
        (grpc.StatusCode.UNAVAILABLE, ServerUnavailable, "no"),
    ],
)
async def test_a_server_without_the_service_is_told_as_an_older_one(
    status: grpc.StatusCode, kind: type[ReidError], said: str
) -> None:
    """Every other error stays what it is."""

    async def fail(method: str, request: bytes, parse: Callable[[bytes], T]) -> T:
        del method, request, parse
        raise kind("no", status=status)

    with pytest.raises(kind, match=said):
        await ask_sessions(fail)
    with pytest.raises(kind, match=said):
        await ask_session(fail, 1)


@pytest.mark.parametrize("number", [-1, 2**64, "1", 1.5, True])
def test_what_is_no_number_of_a_session_is_refused(number: object) -> None:
    """Before the server is asked; and the fake server of tests has no such service."""
    with FakeServer() as fake, ReidClient("fake", connect=fake.connect) as client:
        with pytest.raises(InvalidRequest, match="number"):
            client.server_session(number)  # type: ignore[arg-type]
        with pytest.raises(CallRejected, match="the fake server has no ListSessions"):
            client.server_sessions()
