"""The admin service on a real port: what it shows of a server that serves, to whom, and at what price."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import grpc
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_proto.admin.v1 import admin_pb2, admin_pb2_grpc
from reidstream_proto.v1 import contract, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.config.admin_access import AdminAccess
from reidstream_server.core.terms import DrainReason
from reidstream_server.identity import admin as identity
from reidstream_server.transport.admin import service
from tests.support.gate import Gate
from tests.support.harness import RawStream, frame, serving, stream_to, stub_of, until

Q = TypeVar("Q")
A = TypeVar("A")
List = admin_pb2.ListSessionsRequest
Get = admin_pb2.GetSessionRequest
WORDS = MappingProxyType({"off": "--admin off", "loopback": "on its own machine only"})


@asynccontextmanager
async def admin_of(server: RunningServer) -> AsyncIterator[admin_pb2_grpc.AdminServiceAsyncStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield admin_pb2_grpc.AdminServiceStub(channel)


async def ended(call: grpc.aio.UnaryUnaryCall[Q, A]) -> tuple[grpc.StatusCode, str, str]:
    """How a call ends: status, message, and the word for programs."""
    trailing = await call.trailing_metadata()
    reason = next((str(value) for name, value in trailing if name == contract.REASON_HEADER), "")
    return await call.code(), await call.details(), reason


async def answered(stream: RawStream, server: RunningServer, camera: str, frames: int) -> None:
    """Send so many frames, take the answers, and wait until the server has counted them."""
    for number in range(1, frames + 1):
        await stream.call.write(frame(number))
    for _ in range(frames):
        await stream.result()
    session = next(s for s in server.runtime.sessions() if s.agreement.terms.flow.camera_id == camera)
    await until(lambda: session.counters.answered == frames)


async def test_each_session_has_its_own_figures() -> None:
    """What a client agreed on, what became of its frames, and who it is; the oldest session first."""
    async with serving() as server, admin_of(server) as admin, stream_to(server) as gate, stream_to(server) as yard:
        await gate.open(camera_id="gate", priority=session_pb2.PRIORITY_HIGH, latency_budget_ms=3_600_000)
        await yard.open(camera_id="yard", overload_policy=session_pb2.OVERLOAD_POLICY_REJECT, epoch=3)
        await answered(gate, server, "gate", 3)
        await yard.call.write(frame(1, image=b"junk"))
        await yard.result()
        await until(lambda: sum(session.counters.faults.total() for session in server.runtime.sessions()) == 1)
        answer = await admin.ListSessions(List())
    first, second = answer.sessions
    assert (first.camera_id, first.frames, first.answered, first.given_up, first.failed) == ("gate", 3, 3, 0, 0)
    assert (second.camera_id, second.frames, second.answered, second.failed) == ("yard", 1, 0, 1)
    assert dict(second.losses) == {"invalid_image": 1}
    assert first.priority == session_pb2.PRIORITY_HIGH
    assert first.latency_budget_ns == 3600 * 10**9
    assert (second.overload_policy, second.epoch) == (session_pb2.OVERLOAD_POLICY_REJECT, 3)
    assert list(first.models) == ["fake"]
    assert first.peer.startswith("ipv4:127.0.0.1:")
    assert first.number < second.number
    assert first.open_ns >= second.open_ns > 0
    assert 0 < first.age_p50_ns <= first.age_p99_ns
    assert first.rate_fps > 0
    assert first.received_bytes > 3 * 2000
    assert (first.max_window_frames, first.window_frames, first.held) == (16, 0, False)


async def test_the_server_tells_of_its_bounds_and_models() -> None:
    """Each bound with its use, by the names of the settings; and single calls are no sessions."""
    async with serving(max_sessions=7) as server, admin_of(server) as admin, stream_to(server) as stream:
        await stream.open()
        state = (await admin.ListSessions(List())).server
        again = (await admin.ListSessions(List())).server
    budgets = {budget.name: (budget.used, budget.limit) for budget in state.budgets}
    assert budgets["sessions"] == (1, 7)
    assert budgets["calls"] == (1, 512)  # the call that asks
    assert budgets["queue_boxes"] == (0, 8192)
    assert budgets["memory_bytes"][0] > 0
    assert {*budgets} == {
        *("sessions", "calls", "queue_boxes", "queue_bytes", "parked_bytes"),
        *("staged_bytes", "held_answer_bytes", "memory_bytes"),
    }
    assert [model.name for model in state.models] == ["fake"]
    assert state.version
    assert (state.instance, state.uptime_ns < again.uptime_ns) == (again.instance, True)


async def test_a_session_in_detail_has_its_open_frames() -> None:
    """Each with how far it has come: here the first is in a batch that does not end."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine) as server, admin_of(server) as admin, stream_to(server) as stream:
        try:
            await stream.open(camera_id="gate")
            for number in range(1, 7):
                await stream.call.write(frame(number))
            (session,) = server.runtime.sessions()
            await until(lambda: session.counters.frames == 6 and gate.entered)
            number = (await admin.ListSessions(List())).sessions[0].number
            answer = await admin.GetSession(Get(number=number))
        finally:
            gate.opened.set()
    assert [found.frame_id for found in answer.open_frames] == [1, 2, 3, 4, 5, 6]
    assert answer.open_frames[0].phase == admin_pb2.FRAME_PHASE_READY
    assert {found.crops for found in answer.open_frames} == {2}
    state = answer.session
    assert (state.window_frames, state.waiting_frames + state.running_frames) == (6, 6)
    assert state.running_frames >= 1
    assert min(state.oldest_frame_ns, answer.open_frames[0].here_ns) > 0


async def test_a_session_that_is_not_open_is_none() -> None:
    """NOT_FOUND, with where to find those that are."""
    async with serving() as server, admin_of(server) as admin:
        call = admin.GetSession(Get(number=99))
        status, message, reason = await ended(call)
    assert (status, reason) == (grpc.StatusCode.NOT_FOUND, "unknown_session")
    assert message == "no open session has the number 99; ListSessions has those that are open"


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_pages_have_every_session_once(size: int) -> None:
    """The oldest first; the last page has no token."""
    async with serving() as server, admin_of(server) as admin, AsyncExitStack() as streams:
        for number in range(3):
            await (await streams.enter_async_context(stream_to(server))).open(camera_id=f"camera {number}")
        cameras, token, pages = [], "", 0
        while pages == 0 or token:
            page = await admin.ListSessions(List(page_size=size, page_token=token))
            cameras += [session.camera_id for session in page.sessions]
            token, pages = page.next_page_token, pages + 1
    assert cameras == ["camera 0", "camera 1", "camera 2"]
    assert pages == -(-3 // size)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (List(page_size=1001), "page_size is 1001; an answer has at most 1000 sessions, so ask for less, or 0"),
        *((List(page_token=token), "page_token is none of this server's") for token in ("x", "1" * 21, "²")),
    ],
)
async def test_a_page_that_there_is_not_is_refused(request_: List, said: str) -> None:
    """With what to ask instead."""
    async with serving() as server, admin_of(server) as admin:
        status, message, reason = await ended(admin.ListSessions(request_))
    assert (status, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_call")
    assert message.startswith(said)


@pytest.mark.parametrize("method", ["ListSessions", "GetSession"])
async def test_bytes_that_are_no_request_are_refused(method: str) -> None:
    """As of any method of the port: in our words, and the next call is answered."""
    async with serving() as server, admin_of(server) as admin:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{service.SERVICE}/{method}")
            status, _, reason = await ended(call(b"\xff"))
        assert (status, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_call")
        assert (await ended(admin.ListSessions(List())))[0] is grpc.StatusCode.OK


@pytest.mark.parametrize("access", [AdminAccess.OFF, AdminAccess.LOOPBACK])
async def test_who_may_not_look_hears_what_to_set(access: AdminAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody, or whoever is not on the server's machine; both methods, and before anything is looked at."""
    monkeypatch.setattr(service, "on_this_machine", lambda peer: "127.0.0.1" not in peer)
    async with serving(admin=access) as server, admin_of(server) as admin:
        ends = [await ended(admin.ListSessions(List())), await ended(admin.GetSession(Get()))]
    for status, message, reason in ends:
        assert (status, reason) == (grpc.StatusCode.PERMISSION_DENIED, "not_permitted")
        assert WORDS[access.value] in message
        assert "--admin clients" in message


async def test_off_is_off_on_this_machine_too() -> None:
    """The answer says so."""
    async with serving(admin=AdminAccess.OFF) as server, admin_of(server) as admin:
        status, message, _ = await ended(admin.ListSessions(List()))
    assert status is grpc.StatusCode.PERMISSION_DENIED
    assert "--admin off" in message


async def test_where_there_are_tokens_everybody_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on the server's own machine. With --admin clients, a token is enough anywhere."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ops {hashlib.sha256(b'right').hexdigest()}\n")
    with_token = (("authorization", "Bearer right"),)
    async with serving(tokens_file=tokens) as server, admin_of(server) as admin:
        assert (await ended(admin.ListSessions(List())))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await ended(admin.ListSessions(List(), metadata=with_token)))[0] is grpc.StatusCode.OK
    monkeypatch.setattr(service, "on_this_machine", lambda peer: "127.0.0.1" not in peer)
    async with serving(tokens_file=tokens, admin=AdminAccess.CLIENTS) as server, admin_of(server) as admin:
        assert (await ended(admin.ListSessions(List())))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await ended(admin.ListSessions(List(), metadata=with_token)))[0] is grpc.StatusCode.OK


def test_settings_and_identity_have_the_same_words() -> None:
    """The composition root converts one into the other by name."""
    assert {a.name: a.value for a in AdminAccess} == {a.name: a.value for a in identity.AdminAccess}


async def test_a_server_that_drains_still_answers() -> None:
    """That is when an operator looks; and the sessions that are left say that they are leaving."""
    async with serving() as server, admin_of(server) as admin, stream_to(server) as stream:
        await stream.open(camera_id="gate")
        gate = asyncio.create_task(stream.read())
        server.runtime.leave()
        for session in server.runtime.sessions():
            server.runtime.drain_session(session, DrainReason.SHUTDOWN, 60.0)
        answer = await admin.ListSessions(List())
        await gate
    assert answer.server.draining


async def test_five_hundred_and_twelve_sessions_fit_into_one_answer() -> None:
    """With the longest camera ids: one message, less than gRPC's default of 4 MiB for a client."""
    async with (
        serving(max_sessions_per_client=512, max_sessions=1024) as server,
        stub_of(server.port) as stub,
        admin_of(server) as admin,
        AsyncExitStack() as streams,
    ):
        for number in range(512):
            stream = RawStream(stub.EmbedStream())
            streams.callback(stream.call.cancel)
            await stream.open(camera_id=f"{number:03}".ljust(128, "c"))
        answer = await admin.ListSessions(List())
    assert len(answer.sessions) == 512
    assert not answer.next_page_token
    assert answer.ByteSize() < service.MOST_BYTES < 4 * 2**20


async def test_who_asks_much_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has four calls without an answer at most; what it sends beyond is refused at once, and it may go on."""
    let_go = asyncio.Event()

    async def rest(_: object) -> None:
        await let_go.wait()

    monkeypatch.setattr(service.Slices, "rest", rest)
    async with serving() as server, admin_of(server) as admin:
        calls = [asyncio.ensure_future(ended(admin.ListSessions(List()))) for _ in range(20)]
        await until(lambda: sum(call.done() for call in calls) == 20 - service.MOST_CALLS)
        let_go.set()
        ends = [reason for _, _, reason in await asyncio.gather(*calls)]
        again = await ended(admin.ListSessions(List()))
    assert (ends.count("too_many_calls"), ends.count("")) == (20 - service.MOST_CALLS, service.MOST_CALLS)
    assert again[0] is grpc.StatusCode.OK


async def test_an_answer_rests_between_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each slice of the event loop, here of no time at all."""
    monkeypatch.setattr(service, "SLICE_NS", 0)
    rests = 0
    real = service.Slices.rest

    async def rest(slices: service.Slices) -> None:
        nonlocal rests
        rests += 1
        await real(slices)

    monkeypatch.setattr(service.Slices, "rest", rest)
    async with serving() as server, admin_of(server) as admin, stream_to(server) as one, stream_to(server) as two:
        await one.open(camera_id="one")
        await two.open(camera_id="two")
        await admin.ListSessions(List())
    assert rests == 3


async def test_a_rest_is_seven_times_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """So an answer has an eighth of the event loop; a slice is over after a millisecond."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    now = [0]
    slices = service.Slices(lambda: now[0])
    over = []
    for now[0] in (999_999, 1_000_000):
        over.append(slices.over)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await slices.rest()
    monkeypatch.undo()
    over.append(slices.over)
    assert slept == [pytest.approx(0.007)]
    assert over == [False, True, False]


async def test_single_calls_are_no_sessions() -> None:
    """They are counted as calls."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine) as server, admin_of(server) as admin, stub_of(server.port) as stub:
        options = session_pb2.EmbedOptions(camera_id="gate")
        call = stub.Embed(service_pb2.EmbedRequest(options=options, frame=frame(1).frame))
        await until(lambda: gate.entered)
        answer = await admin.ListSessions(List())
        (session,) = server.runtime.sessions()
        refused = await ended(admin.GetSession(Get(number=session.key)))
        gate.opened.set()
        await call
    budgets = {budget.name: budget.used for budget in answer.server.budgets}
    assert (len(answer.sessions), budgets["sessions"], budgets["calls"]) == (0, 0, 2)
    assert refused[2] == "unknown_session"


async def test_an_answer_has_a_bound_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long names are: the rest is on the next page."""
    monkeypatch.setattr(service, "MOST_BYTES", 1)
    async with serving() as server, admin_of(server) as admin, stream_to(server) as one, stream_to(server) as two:
        await one.open(camera_id="one")
        await two.open(camera_id="two")
        first = await admin.ListSessions(List())
        second = await admin.ListSessions(List(page_token=first.next_page_token))
    assert [[s.camera_id for s in page.sessions] for page in (first, second)] == [["one"], ["two"]]
    assert (bool(first.next_page_token), second.next_page_token) == (True, "")
