"""Processes that are forked from one that has a client: they can have their own, or learn at once that they cannot."""

from __future__ import annotations

from tests.unit.client.programs import run
from tests.unit.client.scripted_server import ScriptedServer

# What every program here begins with. `asks` says in one word what a call gives.
START = """
import asyncio, gc, multiprocessing, os, sys
from reidstream_client import AsyncReidClient, ReidClient, ReidError

def asks(client):
    try:
        return client.info().model.name
    except ReidError as error:
        return f"{type(error).__name__}: {error}"

def asks_anew():
    with ReidClient(sys.argv[1]) as client:
        return asks(client)

def in_child(work, end=sys.exit):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        print(work(), flush=True)
        end(0)
    print("status", os.waitpid(pid, 0)[1])

client = ReidClient(sys.argv[1])
print(asks(client))
"""
# gRPC's own threads may crash the child of a process with an open stream. This tells gRPC to leave children alone.
UNTOUCHED = {"GRPC_ENABLE_FORK_SUPPORT": "0"}


def test_a_forked_process_has_a_client_of_its_own(served: ScriptedServer) -> None:
    """As a pool of workers does, while the parent's client is open; that one goes on, before and after forks."""
    ended = run(
        START
        + """
for _ in range(3):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(*pool.starmap(asks_anew, [(), ()]))
    print(asks(client))
""",
        served.target,
    )
    assert (ended.status, ended.complaints) == (0, "")
    assert ended.lines == ["scripted", *["scripted scripted", "scripted"] * 3]


def test_an_inherited_client_says_at_once_that_it_is_the_parents(served: ScriptedServer) -> None:
    """It may be closed and forgotten there, and its process ends well."""
    ended = run(
        START
        + """
def work():
    global client
    said = asks(client)
    client.close()
    del client
    gc.collect()
    return said
in_child(work)
print(asks(client))
""",
        served.target,
    )
    assert (ended.status, ended.complaints) == (0, "")
    said = ended.lines[1]
    assert said.startswith("WrongPlace: this client belongs to process ")
    assert 'multiprocessing.get_context("spawn")' in said
    assert ended.lines == ["scripted", said, "status 0", "scripted"]


def test_a_client_that_met_an_error_does_not_stand_in_the_way(served: ScriptedServer) -> None:
    """Whoever keeps the error keeps its traceback, which must not keep gRPC busy."""
    ended = run(
        START
        + """
with ReidClient("127.0.0.1:1", timeout_s=0.01) as nobody:
    try:
        nobody.info()
    except ReidError as error:
        kept = error
in_child(asks_anew)
""",
        served.target,
    )
    assert (ended.status, ended.complaints) == (0, "")
    assert ended.lines == ["scripted", "scripted", "status 0"]


def test_a_program_with_asyncio_may_fork_too(served: ScriptedServer) -> None:
    """From within its event loop. The child's own loop has its own client; the parent's client is not for it."""
    ended = run(
        START
        + """
async def main():
    async with AsyncReidClient(sys.argv[1]) as parents:
        print((await parents.info()).model.name)
        def work():
            async def child():
                async with AsyncReidClient(sys.argv[1]) as own:
                    print((await own.info()).model.name)
                await parents.close()
                try:
                    await parents.info()
                except ReidError as error:
                    return f"{type(error).__name__}: {error}"
            return asyncio.run(child())
        in_child(work, os._exit)  # which leaves the loop alone: the parent still uses its descriptors
        print((await parents.info()).model.name)
asyncio.run(main())
""",
        served.target,
    )
    assert (ended.status, ended.complaints) == (0, "")
    said = ended.lines[3]
    assert said.startswith("WrongPlace: this client belongs to process ")
    assert ended.lines == ["scripted", "scripted", "scripted", said, "status 0", "scripted"]


def test_a_fork_beside_an_open_stream_is_refused_in_the_child(served: ScriptedServer) -> None:
    """Nothing hangs: neither a new client nor the parent's session, which goes on in the parent."""
    ended = run(
        START
        + """
with client.stream() as session:
    session.send(b"x", [[1, 2, 3, 4]])
    def work():
        try:
            session.send(b"x", [[1, 2, 3, 4]])
        except ReidError as error:
            print(type(error).__name__)
        return asks_anew()
    in_child(work)
    in_child(work)
    session.finish()
    print(*[answer.frame_id for answer in session])
""",
        served.target,
        **UNTOUCHED,
    )
    assert ended.status == 0
    said = ended.lines[2]
    assert said.startswith("WrongPlace: gRPC cannot work in this process")
    assert 'multiprocessing.get_context("spawn")' in said
    child = ["WrongPlace", said, "status 0"]
    assert ended.lines == ["scripted", *child, *child, "0"]
    assert ended.complaints.count("this process is forked while a stream or a call") == 1


def test_channels_of_others_are_noticed(served: ScriptedServer) -> None:
    """Another library's `grpc.aio` breaks gRPC in the child just the same."""
    ended = run(
        START
        + """
import grpc.aio
async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        await channel.channel_ready()
        in_child(asks_anew, os._exit)
asyncio.run(main())
""",
        served.target,
        **UNTOUCHED,
    )
    assert (ended.status, ended.complaints) == (0, "")
    assert ended.lines[1].startswith("WrongPlace: gRPC cannot work in this process")
    assert ended.lines[2] == "status 0"
