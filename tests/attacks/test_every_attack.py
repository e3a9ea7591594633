"""Each attack in its short form: a newcomer is served beside it, no account passes its bound, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from reidstream_server.app import RunningServer
from reidstream_server.memory.budget import held_by
from reidstream_server.transport.grpc_server.server import GrpcServer
from tests.attacks.attackers import (
    administering,
    calling,
    crowding,
    decoding,
    flooding,
    free_riding,
    holding,
    inferring,
    inferring_web,
    operating,
    outnumbering,
    parsing,
    protocol,
    resetting,
    scraping,
    tracking,
    web,
)
from tests.attacks.attackers.target import Attack
from tests.attacks.catalogue import ATTACKS
from tests.attacks.short import attempts, nothing_left, under_attack, visit, visit_infer
from tests.support.harness import real_engine, serving

MIB = 2**20
SMALL: Mapping[str, object] = {
    "max_message_bytes": 2 * MIB,
    "max_queue_bytes": 8 * MIB,
    "max_parked_bytes": 8 * MIB,
    "max_window_bytes": 8 * MIB,
    "max_sessions": 32,
}
"""Bounds that a small attack reaches."""


@dataclass(frozen=True, slots=True)
class Short:
    """An attack with small numbers; how often it must have tried before anybody comes. `decodes`: pictures are really
    decoded.
    """

    attack: Attack
    tries: int
    settings: Mapping[str, object] = field(default_factory=dict)
    decodes: bool = False


SHORT = {
    "unfinished-health": Short(partial(holding.unfinished_health, calls=24, mib=1), 24),
    "unfinished-embeds": Short(partial(holding.unfinished_embeds, calls=48, mib=1), 24),
    "unfinished-frames": Short(partial(holding.unfinished_frames, calls=48, mib=1), 24),
    "refused-messages": Short(partial(holding.refused_messages, mib=1), 12),
    "parked-frames": Short(partial(holding.parked_frames, sessions=24, mib=1), 24),
    "large-pngs": Short(partial(decoding.large_pngs, width=800, height=600), 40, decodes=True),
    "scan-bomb": Short(partial(decoding.scans, scans=2000, width=640, height=480), 4, decodes=True),
    "class-ids": Short(partial(parsing.class_ids, count=200_000), 6),
    "gzipped-boxes": Short(partial(parsing.gzipped_boxes, mib=1), 6),
    "gzipped-headers": Short(partial(parsing.gzipped_headers, crops=100, segments=256), 6),
    "crop-headers": Short(partial(parsing.crop_headers, crops=20, segments=100), 6),
    "damaged-pictures": Short(partial(parsing.damaged_pictures, segments=256), 6),
    "ready-crops": Short(
        partial(flooding.ready_crops, cameras=12, crops=100, crop_bytes=4000),
        24,
        {"max_boxes_per_frame": 100, "max_queue_boxes": 400},
    ),
    "unending-tracks": Short(
        partial(tracking.unending_tracks, cameras=12, boxes=100),
        60,
        {"max_track_bytes": 200_000, "max_tracks_per_session": 16},
    ),
    "idle-sessions": Short(partial(crowding.idle_sessions, count=64), 64),
    "silent-streams": Short(partial(crowding.silent_streams, count=128), 128),
    "unread-openings": Short(partial(crowding.unread_openings, count=64), 64),
    "ungranted-calls": Short(partial(crowding.ungranted_calls, count=200), 200),
    "health-watches": Short(partial(crowding.health_watches, count=400), 400),
    "rapid-reset": Short(resetting.rapid_reset, 1000),
    "boxes-below-bound": Short(partial(free_riding.boxes_below_the_bound, count=8), 8),
    "boxes-without-crops": Short(partial(free_riding.boxes_without_crops, count=8), 40),
    "late-frames": Short(partial(free_riding.late_frames, count=8, crops=200), 8),
    "broken-crops": Short(partial(free_riding.broken_crops, count=8, bad=199), 8),
    "hidden-chunks": Short(partial(free_riding.hidden_chunks, count=8), 8),
    "dropped-frames": Short(partial(free_riding.dropped_frames, count=8), 80),
    "many-cameras": Short(partial(outnumbering.many_cameras, count=16), 40),
    "important-cameras": Short(outnumbering.important_cameras, 40),
    "same-name": Short(outnumbering.same_name, 40),
    "quick-calls": Short(calling.quick_calls, 400),
    "quick-checks": Short(calling.quick_checks, 400),
    "refused-embeds": Short(calling.refused_embeds, 400),
    "unknown-methods": Short(calling.unknown_methods, 400),
    "admin-calls": Short(partial(administering.admin_calls, connections=4, at_once=20, sessions=8), 400),
    "reflections": Short(partial(calling.reflections, streams=4), 64),
    "takeovers": Short(partial(calling.takeovers, names=4), 40),
    "untaken-answers": Short(partial(calling.untaken_answers, count=16), 32),
    "kept-connections": Short(partial(calling.kept_connections, count=200), 100),
    "settings": Short(protocol.settings, 20_000),
    "pings": Short(protocol.pings, 10_000),
    "window-updates": Short(protocol.window_updates, 20_000),
    "priorities": Short(protocol.priorities, 20_000),
    "empty-data": Short(protocol.empty_data, 20_000),
    "empty-continuations": Short(protocol.empty_continuations, 20_000),
    "headers-no-text": Short(protocol.headers_no_text, 1000),
    "large-headers": Short(partial(protocol.large_headers, calls=200), 400),
    "churn": Short(protocol.churn, 200),
    "half-open": Short(partial(protocol.half_open, keep=64), 200),
    "half-handshakes": Short(partial(protocol.half_handshakes, keep=64), 200),
    "http-uploads": Short(partial(web.uploads, count=100, kib=100), 100, {"max_calls": 48}),
    "http-gigabytes": Short(partial(web.gigabytes, mib=8), 8),
    "http-endless-bodies": Short(web.endless_bodies, 32, {"receive_timeout_s": 0.2}),
    "http-trailers": Short(web.endless_trailers, 8),
    "http-tiny-chunks": Short(web.tiny_chunks, 8),
    "http-costly-forms": Short(web.costly_forms, 8),
    "http-idle": Short(partial(web.idle_connections, count=600), 1000),
    "http-unread-answers": Short(partial(web.unread_answers, count=8, boxes=100), 32),
    "kserve-refused-tensors": Short(partial(inferring.refused_tensors, mib=1), 16),
    "kserve-refused-in-streams": Short(partial(inferring.refused_in_streams, mib=1, streams=4), 16),
    "kserve-huge-crops": Short(partial(inferring.huge_crops, mib=1, streams=8), 16),
    "kserve-endless-shapes": Short(partial(inferring.endless_shapes, sides=5000), 60),
    "kserve-long-lists": Short(partial(inferring.long_lists, count=10_000), 40),
    "kserve-unread-streams": Short(partial(inferring.unread_streams, streams=12, crops=20), 200),
    "kserve-silent-streams": Short(partial(inferring.silent_streams, streams=128), 128),
    "kserve-quick-infers": Short(partial(inferring.quick_infers, at_once=100), 400),
    "kserve-lying-lengths": Short(inferring.lying_lengths, 200),
    "kserve-bombs": Short(partial(inferring.bombs, mib=1), 40),
    "kserve-questions": Short(partial(inferring.questions, mib=1), 200),
    "kserve-http-lying-headers": Short(partial(inferring_web.lying_headers, count=8, kib=64), 60),
    "kserve-http-bombs": Short(partial(inferring_web.bombs, count=8, mib=1), 24),
    "kserve-http-costly-json": Short(partial(inferring_web.costly_json, count=4, kib=200), 24),
    "kserve-http-questions": Short(partial(inferring_web.questions, count=16), 100),
    "unread-log": Short(operating.log_lines, 40),
    "scrapes": Short(partial(operating.scrapes, count=60), 60, {"metrics_enabled": True}),
    "hostile-scrapers": Short(partial(scraping.hostile_scrapers, count=40, crowd=200), 400, {"metrics_enabled": True}),
    "endless-ages": Short(operating.endless_ages, 4),
    "unwritten-memory": Short(partial(operating.unwritten_memory, rows=40), 8),
}


WHOLE_PROCESSES = {"hang-ups"}
"""Signals are for processes: tests/chaos/test_shutdown.py has them."""


def test_every_attack_has_a_short_form() -> None:
    """Under the name that it has in the catalogue."""
    assert set(SHORT) | WHOLE_PROCESSES == {attack.name for attack in ATTACKS if not attack.control}


@pytest.mark.parametrize("name", SHORT)
async def test_a_newcomer_is_served_beside_it_and_nothing_is_left(name: str) -> None:
    """Whatever it is: two frames in, two answers out, while it goes on; and all accounts are empty after it."""
    short = SHORT[name]
    engines = (real_engine(),) if short.decodes else ()
    doors = {"http_port": 0} if "http-" in name else {}
    doors |= {"kserve": True} if name.startswith("kserve-") else {}
    async with serving(*engines, **{**SMALL, **doors, **short.settings}) as server, kept(server):
        async with under_attack(server, short.attack) as target:
            await attempts(target, short.tries)
            await come(server)
        await nothing_left(server)
        await come(server)
    gc.collect()  # a socket that nobody has closed is this test's fault, not the next one's


async def come(server: RunningServer) -> None:
    """By each way in that there is."""
    await visit(server)
    if server.requests is not None:
        await visit_infer(server)


@asynccontextmanager
async def kept(server: RunningServer) -> AsyncIterator[None]:
    """Inside, the server's accounts are looked at whenever the event loop has time; fails if one passes its bound."""

    async def look() -> None:
        while True:
            within_bounds(server)
            await asyncio.sleep(0.001)

    looking = asyncio.create_task(look())
    yield
    looking.cancel()
    (found,) = await asyncio.gather(looking, return_exceptions=True)
    assert isinstance(found, asyncio.CancelledError), found


def within_bounds(server: RunningServer) -> None:
    """What the server holds, as it counts it itself: each of its bounds, and each part of its budget of memory."""
    parts, port = server.parts, server.doors[0]
    assert isinstance(port, GrpcServer)
    figures = server.runtime.track_figures()
    calls, streams = parts.entrance.places.taken, 0 if server.requests is None else server.requests.open_streams
    held_parts = held_by(
        server.runtime.statistics(),
        parts.bounds,
        calls=calls,
        waiting_calls=port.admission.waiting,
        streams=streams,
        track_bytes=figures.bytes,
    )
    for part, bytes_held in held_parts.items():
        assert bytes_held <= parts.budget.bytes_of(part), part
    held, limits = server.runtime.statistics(), server.parts.config.limits
    assert held.queue_bytes <= limits.max_queue_bytes
    assert held.queue_boxes <= limits.max_queue_boxes
    assert held.staged_bytes <= limits.max_staged_bytes
    assert held.parked_bytes <= limits.max_parked_bytes
    assert held.held_answer_bytes <= limits.max_held_answer_bytes
    assert held.sessions - calls <= limits.max_sessions
    assert figures.bytes <= limits.max_track_bytes
    assert figures.open <= limits.max_tracks_per_session * held.sessions
