"""Interpreters in which a client would wait for ever: it says so at once."""

from __future__ import annotations

import copy
import pickle

import pytest

from reidstream_client import AsyncReidClient, FrameEmbeddings, Overloaded, ReidClient, WrongPlace
from tests.unit.client.programs import run
from tests.unit.client.samples import BOX
from tests.unit.client.scripted_server import ScriptedServer

# A patch, then a client for programs without asyncio and one for those with it.
AFTER_A_PATCH = """
import asyncio, sys
{patch}
from reidstream_client import AsyncReidClient, ReidClient, WrongPlace

def sync():
    return ReidClient(sys.argv[1], timeout_s=3).info().model.name

def aio():
    async def ask():
        return (await AsyncReidClient(sys.argv[1], timeout_s=3).info()).model.name
    return asyncio.run(ask())

for ask in {asks}:
    try:
        print(ask())
    except WrongPlace as error:
        print(error)
"""


def after_gevent(patch: str, asks: str) -> str:
    return AFTER_A_PATCH.format(patch=f"import gevent.monkey; gevent.monkey.{patch}", asks=asks)


@pytest.mark.needs("gevent")
@pytest.mark.parametrize(
    "patch", ["patch_all()", "patch_all(); import grpc.experimental.gevent as g; g.init_gevent()", "patch_thread()"]
)
def test_gevent_is_named(served: ScriptedServer, patch: str) -> None:
    """Its threads are not those that gRPC needs. No call waits, not even for its time-out."""
    ended = run(after_gevent(patch, "sync, aio"), served.target)
    assert ended.status == 0, ended.complaints
    said = "a client cannot work where gevent has patched threading: run the client in a process of its own"
    assert [line[: len(said)] for line in ended.lines] == [said, said]


@pytest.mark.needs("gevent")
def test_gevent_without_its_threads_is_named_too(served: ScriptedServer) -> None:
    """Its selectors cannot be woken from another thread, as a client without asyncio does. With asyncio nobody does."""
    ended = run(after_gevent("patch_all(thread=False)", "sync, aio"), served.target)
    assert ended.status == 0, ended.complaints
    assert ended.lines[0].startswith("a client cannot work where gevent has patched selectors: ")
    assert ended.lines[1:] == ["scripted"]


@pytest.mark.needs("gevent")
def test_gevent_after_the_client_is_named_too(served: ScriptedServer) -> None:
    """At the next call."""
    program = """
import sys
from reidstream_client import ReidClient, WrongPlace
client = ReidClient(sys.argv[1])
print(client.info().model.name)
import gevent.monkey
gevent.monkey.patch_all()
try:
    client.info()
except WrongPlace as error:
    print(error)
"""
    ended = run(program, served.target)
    assert ended.lines[0] == "scripted"
    assert ended.lines[1].startswith("a client cannot work where gevent has patched threading")


@pytest.mark.needs("gevent")
@pytest.mark.parametrize("patch", ["patch_socket()", "patch_time()"])
def test_a_patch_that_does_no_harm_is_none_of_ours(served: ScriptedServer, patch: str) -> None:
    """A client works beside it."""
    ended = run(after_gevent(patch, "sync, aio"), served.target)
    assert (ended.status, ended.lines) == (0, ["scripted", "scripted"]), ended.complaints


def test_eventlet_is_named(served: ScriptedServer) -> None:
    """By its own word that it has patched threads."""
    patch = """
from types import SimpleNamespace
sys.modules["eventlet.patcher"] = SimpleNamespace(is_monkey_patched=lambda module: module == "thread")
"""
    ended = run(AFTER_A_PATCH.format(patch=patch, asks="sync, aio"), served.target)
    assert ended.status == 0, ended.complaints
    assert all(line.startswith("a client cannot work where eventlet has patched threading") for line in ended.lines)


@pytest.mark.parametrize("kind", [ReidClient, AsyncReidClient])
def test_a_client_is_neither_pickled_nor_copied(kind: type[ReidClient | AsyncReidClient]) -> None:
    """As it is where a process is started by spawn and given the client. The error says what to pass instead."""
    client = kind("localhost:50051")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(WrongPlace, match=rf"{kind.__name__} can be neither pickled .* the server's address"):
            attempt(client)
    if isinstance(client, ReidClient):
        client.close()


def test_answers_and_errors_travel_between_processes(served: ScriptedServer) -> None:
    """They hold no connection."""
    with ReidClient(served.target) as client:
        answer: FrameEmbeddings = pickle.loads(pickle.dumps(client.embed(b"x", BOX)))  # noqa: S301 - our own
        with client.stream() as session, pytest.raises(WrongPlace, match="Session can be neither pickled"):
            pickle.dumps(session)
    assert answer.valid.all()
    error = Overloaded("full", unanswered=(3,))
    error.retry_after_s = 0.5
    again: Overloaded = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.unanswered, again.retry_after_s) == ("full", (3,), 0.5)
