"""What holds an attack, in the server's own accounts: shares, bytes, places, and who pays."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import grpc
import pytest

from reidstream_proto.admin.v1 import admin_pb2, admin_pb2_grpc
from reidstream_proto.v1 import service_pb2
from reidstream_server.app import RunningServer
from reidstream_server.errors import Refusal
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.transport.entrance.entrance import RECEIVING_PLACES
from reidstream_server.transport.grpc_server.admission import OWN_CALLS, OWN_RECEIVING_PLACES
from reidstream_server.transport.grpc_server.server import GrpcServer
from reidstream_server.transport.operators import port as ports
from tests.attacks.attackers import (
    administering,
    calling,
    crowding,
    decoding,
    flooding,
    holding,
    inferring,
    inferring_web,
    parsing,
    resetting,
    scraping,
)
from tests.attacks.attackers.target import LIST_MODELS, Attack
from tests.attacks.short import attempts, nothing_left, under_attack, visit, visit_infer
from tests.support.harness import real_engine, serving, stub_of, until
from tests.support.wire import wire_to

MIB = 2**20
LOUD, QUIET = "loud", "quiet"
GIVING_WAY = 64
"""Calls that make room for others end a turn of the event loop later."""


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Of two clients, `loud` and `quiet`, whose tokens are their names."""
    path = tmp_path / "tokens"
    path.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in (LOUD, QUIET)))
    return path


@pytest.mark.parametrize("connections", [1, 4])
async def test_one_client_has_at_most_half_of_the_sessions(tokens: Path, connections: int) -> None:
    """However many connections it opens; what it tries beyond that is refused, and another client finds room."""
    attack = partial(crowding.idle_sessions, count=64)
    async with serving(tokens_file=tokens, max_sessions=32) as server, AsyncExitStack() as attacks:
        for _ in range(connections):
            target = await attacks.enter_async_context(under_attack(server, attack, token=LOUD))
        await until(lambda: target.became["ended by the server"] >= 64)
        assert server.runtime.statistics().sessions <= 16
        await visit(server, token=QUIET)


@pytest.mark.parametrize(
    ("attack", "places"),
    [
        pytest.param(partial(holding.unfinished_embeds, calls=48, mib=1), RECEIVING_PLACES, id="embeds"),
        pytest.param(partial(holding.unfinished_health, calls=24, mib=1), OWN_RECEIVING_PLACES, id="health"),
    ],
)
async def test_a_bounded_number_of_messages_is_received_at_a_time(attack: Attack, places: int) -> None:
    """Those that are never finished wait for a place with what their window holds, and the next one is received."""
    async with serving() as server, under_attack(server, attack) as target:
        admission = port_of(server).admission
        reception = admission.reception if places == RECEIVING_PLACES else admission.own_reception
        await until(lambda: target.became["calls begun"] >= 24 and reception.taken >= places // 2)
        assert reception.taken <= places
        async with stub_of(server.port) as stub:
            models = await stub.ListModels(service_pb2.ListModelsRequest())
        assert models.models


async def test_calls_of_strangers_have_places_of_their_own() -> None:
    """Health watches never take a place of a client's call, however many there are."""
    async with serving() as server, under_attack(server, partial(crowding.health_watches, count=600)) as target:
        admission = port_of(server).admission
        await attempts(target, 800)
        assert admission.own_calls.taken <= OWN_CALLS + GIVING_WAY
        assert admission.calls.taken == 0
        await visit(server)


def port_of(server: RunningServer) -> GrpcServer:
    """The server's gRPC port."""
    door = server.doors[0]
    assert isinstance(door, GrpcServer)
    return door


async def test_parked_frames_of_one_client_leave_room_for_those_of_others(tokens: Path) -> None:
    """All bytes that wait for room are counted, and one client has at most half of them."""
    attack = partial(holding.parked_frames, sessions=24, mib=1)
    bounds = {"max_message_bytes": 2 * MIB, "max_queue_bytes": 4 * MIB, "max_window_bytes": 4 * MIB}
    async with serving(tokens_file=tokens, max_parked_bytes=8 * MIB, **bounds) as server:
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, server.runtime.statistics().parked_bytes)
                await asyncio.sleep(0)

        async with under_attack(server, attack, token=LOUD) as target:
            looking = asyncio.create_task(look())
            await attempts(target, 100)
            await visit(server, token=QUIET)
            looking.cancel()
        assert most <= 4 * MIB
        await nothing_left(server)


async def test_a_small_camera_passes_those_that_wait(tokens: Path) -> None:
    """The queue is always full of one client's boxes, and many of its frames wait; the visitor's are let in."""
    attack = partial(flooding.ready_crops, cameras=12, crops=100, crop_bytes=4000)
    bounds = {"max_boxes_per_frame": 100, "max_queue_boxes": 400}
    async with serving(tokens_file=tokens, **bounds) as server, under_attack(server, attack, token=LOUD) as target:
        await attempts(target, 24)
        await until(lambda: server.runtime.statistics().parked_frames > 4)
        assert server.runtime.statistics().queue_boxes <= 400
        await visit(server, frames=5, token=QUIET)


async def test_a_client_whose_frames_are_refused_pays_for_their_reading() -> None:
    """It is not read for some time, on none of its streams; nobody else is kept waiting."""
    async with serving() as server, under_attack(server, parsing.damaged_pictures) as target:
        await attempts(target, 2)
        await until(lambda: server.runtime.statistics().paused_sources == 2)  # without tokens, each connection is one
        await visit(server)


@pytest.mark.parametrize(
    ("attack", "own"),
    [
        pytest.param(partial(calling.quick_calls, at_once=100), False, id="quick-calls"),
        pytest.param(partial(calling.refused_embeds, at_once=100), False, id="refused-embeds"),
        pytest.param(partial(calling.quick_checks, at_once=100), True, id="quick-checks"),
        pytest.param(partial(calling.unknown_methods, at_once=100), True, id="unknown-methods"),
    ],
)
async def test_whoever_calls_without_a_pause_pays_and_its_calls_wait(attack: Attack, *, own: bool) -> None:
    """All of them, before anything of them is read; nobody else's do."""
    async with serving() as server, under_attack(server, attack) as target:
        admission = port_of(server).admission
        turns, other = (admission.own_turns, admission.turns) if own else (admission.turns, admission.own_turns)
        await attempts(target, 200)
        await until(lambda: turns.waiting >= 90 and server.runtime.statistics().paused_sources == 1)
        assert admission.calls.taken + admission.own_calls.taken <= 10
        await visit(server)
        assert other.waiting == 0
    await until(lambda: turns.waiting == 0)


async def test_frames_of_a_client_that_calls_too_often_are_still_read(tokens: Path) -> None:
    """They come before the next of its calls, so a script that calls too often stops no camera of its token."""
    async with serving(tokens_file=tokens) as server, under_attack(server, calling.quick_calls, token=LOUD):
        await until(lambda: port_of(server).admission.turns.waiting >= 100)
        await visit(server, frames=20, token=LOUD)
        await until(lambda: port_of(server).admission.turns.waiting >= 100)


async def test_calls_that_are_left_at_once_wait_as_well() -> None:
    """A client that resets what it opens does not come round faster."""
    async with serving() as server, under_attack(server, resetting.rapid_reset) as target:
        await attempts(target, 1000)
        await until(lambda: port_of(server).admission.turns.waiting >= 90)
        await until(lambda: server.runtime.statistics().paused_sources == 1)
        await visit(server)


async def test_calls_whose_connection_is_gone_wait_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though their turn is an hour away, and though other calls of their connection were left before it went."""
    monkeypatch.setattr(Runtime, "pause_s", lambda *_: 3600.0)
    async with serving() as server:
        turns = port_of(server).admission.turns
        async with wire_to(server.port) as leaves, wire_to(server.port) as stays:
            for _ in range(100):
                stays.call(LIST_MODELS)
            calls = [leaves.call(LIST_MODELS) for _ in range(100)]
            await until(lambda: turns.waiting == 200)
            for call in calls[:50]:
                leaves.leave(call)
            leaves.writer.transport.abort()
            await until(lambda: turns.waiting == 100)
        await until(lambda: turns.waiting == 0)


async def test_sessions_that_are_taken_over_again_and_again_pay_for_each_opening() -> None:
    """The next streams wait before their first message is read."""
    async with serving() as server, under_attack(server, partial(calling.takeovers, names=4)) as target:
        await attempts(target, 40)
        await until(lambda: port_of(server).admission.turns.waiting > 0)
        await until(lambda: server.runtime.statistics().paused_sources == 1)
        await visit(server)


async def test_questions_of_one_stream_of_reflection_are_paid_for_one_by_one() -> None:
    """However many stand in its window."""
    async with serving() as server, under_attack(server, partial(calling.reflections, streams=1)) as target:
        await attempts(target, 64)
        await until(lambda: port_of(server).admission.own_turns.waiting == 1)
        await until(lambda: server.runtime.statistics().paused_sources == 1)
        await visit(server)


async def test_compressed_messages_are_refused_unless_they_are_allowed() -> None:
    """Their sender hears it at once, and nothing is inflated."""
    async with serving() as server, under_attack(server, partial(parsing.gzipped_boxes, mib=1)) as target:
        await until(lambda: target.became["the server has ended the stream"] >= 4)
        await visit(server)


async def test_headers_of_too_many_steps_are_refused_and_their_sender_pays() -> None:
    """Of a thousand crops together, not of each: their reading ends at the bound, and the frame is refused as one."""
    attack = partial(parsing.crop_headers, crops=1000, segments=1024)
    async with serving() as server, under_attack(server, attack) as target:
        await attempts(target, 2)
        await until(lambda: server.runtime.statistics().paused_sources > 0)
        await visit(server)


async def test_a_picture_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    """Its scans are counted first: no decoder is lost, and none of its frames is embedded."""
    attack = partial(decoding.scans, scans=4000)
    async with serving(real_engine()) as server, under_attack(server, attack) as target:
        await until(lambda: any(word.startswith("answered") for word in target.became))
        assert target.became["embedded"] == 0
        assert server.runtime.statistics().lost_stagings == 0
        await visit(server)


async def test_a_flood_of_admin_calls_has_four_answers_in_the_making_and_pays_for_the_rest(tokens: Path) -> None:
    """A client's calls beyond that are refused, and wait while it pays; another client's operator is answered."""
    attack = partial(administering.admin_calls, connections=3, at_once=40, sessions=4)
    async with serving(tokens_file=tokens) as server, under_attack(server, attack, token=LOUD) as target:
        admission = port_of(server).admission
        await attempts(target, 200)
        await until(lambda: admission.turns.waiting >= 60 and server.runtime.statistics().paused_sources == 1)
        await visit(server, token=QUIET)
        async with stub_of(server.port) as stub, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            operator = admin_pb2_grpc.AdminServiceStub(channel)
            quiet = [("authorization", f"Bearer {QUIET}")]
            answer = await operator.ListSessions(admin_pb2.ListSessionsRequest(), metadata=quiet)
            await stub.ListModels(service_pb2.ListModelsRequest(), metadata=quiet)
        assert answer.server.version


async def test_callers_of_the_metrics_port_have_a_bounded_number_of_connections_and_no_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever they do there: they are connections of one thread, the oldest gives way, and none is left of them."""
    monkeypatch.setattr(ports, "MAX_CONNECTIONS", 64)
    attack = partial(scraping.hostile_scrapers, count=40, crowd=200)
    async with serving(metrics_enabled=True) as server:
        operators = server._operators
        assert operators is not None
        await visit(server)
        threads, most, cameras = threading.active_count(), 0, 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, len(operators._connections))
                assert threading.active_count() <= threads + 1  # the one that makes pages
                await asyncio.sleep(0.001)

        async with under_attack(server, attack) as target:
            looking = asyncio.create_task(look())
            while target.became["connections at once"] < 2 or cameras < 5:
                await visit(server)
                cameras += 1
            assert not looking.done(), looking
            looking.cancel()
        assert most == 64
        await until(lambda: not operators._connections)


# The open inference protocol.


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(partial(inferring.refused_tensors, mib=8, connections=3), id="refused-tensors"),
        pytest.param(partial(inferring.refused_in_streams, mib=8, streams=4), id="refused-in-streams"),
        pytest.param(partial(inferring.endless_shapes, sides=20_000), id="endless-shapes"),
        pytest.param(partial(inferring.long_lists, count=50_000), id="long-lists"),
        pytest.param(partial(inferring.lying_lengths, at_once=40), id="lying-lengths"),
        pytest.param(partial(inferring.questions, mib=8, at_once=100), id="questions"),
    ],
)
async def test_whoever_sends_requests_that_are_refused_pays_for_their_reading(attack: Attack) -> None:
    """Each of its connections, since nothing tells clients apart; nobody else is kept waiting."""
    async with serving(kserve=True) as server, under_attack(server, attack) as target:
        await attempts(target, 8)
        await until(lambda: server.runtime.statistics().paused_sources > 0)
        await visit(server)
        await visit_infer(server)
        assert server.parts.observer.refusals[Refusal.INVALID_CALL] > 0


async def test_whoever_infers_without_a_pause_pays_and_its_requests_wait() -> None:
    """However small they are, and before anything of them is read."""
    async with serving(kserve=True) as server, under_attack(server, inferring.quick_infers) as target:
        turns = port_of(server).admission.turns
        await attempts(target, 200)
        await until(lambda: turns.waiting >= 90 and server.runtime.statistics().paused_sources == 1)
        await visit_infer(server)
        await visit(server)
    await until(lambda: turns.waiting == 0)


async def test_answers_that_streams_do_not_take_are_held_within_the_bound(tokens: Path) -> None:
    """One client has at most half of the bytes and of the places, however many streams it opens and however often it
    comes back; another one's are served.
    """
    attack = partial(inferring.unread_streams, streams=24, requests=40, crops=20)
    bounds = {"max_calls": 64, "max_answer_bytes": 2**16, "max_held_answer_bytes": 2**17}
    async with serving(tokens_file=tokens, kserve=True, **bounds) as server:
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, server.runtime.statistics().held_answer_bytes)
                await asyncio.sleep(0)

        async with under_attack(server, attack, token=LOUD) as target:
            looking = asyncio.create_task(look())
            await attempts(target, 400)
            await until(lambda: server.parts.entrance.places.taken >= 16)
            assert server.parts.entrance.places.taken <= 32
            await visit_infer(server, token=QUIET)
            await visit(server, token=QUIET)
            looking.cancel()
        assert 0 < most <= 2**16
        await nothing_left(server)


@pytest.mark.parametrize("connections", [1, 3])
async def test_silent_streams_of_one_client_leave_room_and_end(tokens: Path, connections: int) -> None:
    """They have at most half of the places, and each ends after a while."""
    attack = partial(inferring.silent_streams, streams=64)
    bounds = {"max_sessions": 16, "open_timeout_s": 0.2}
    async with serving(tokens_file=tokens, kserve=True, **bounds) as server, AsyncExitStack() as attacks:
        requests = server.requests
        assert requests is not None
        for _ in range(connections):
            target = await attacks.enter_async_context(under_attack(server, attack, token=LOUD))
        await until(lambda: requests.open_streams == 8)
        await until(lambda: target.became["ended by the server"] >= 64)
        assert requests.open_streams <= 8
        await visit_infer(server, token=QUIET)


async def test_what_inflates_is_refused_as_it_is() -> None:
    """On both ports; nothing is inflated."""
    async with serving(kserve=True, http_port=0) as server:
        async with under_attack(server, partial(inferring.bombs, mib=1)) as target:
            await attempts(target, 20)
            await visit_infer(server)
        async with under_attack(server, partial(inferring_web.bombs, mib=1)) as target:
            await until(lambda: target.became["answered 400"] >= 20)
            await visit_infer(server)
        assert set(target.became) == {"answered 400"}
