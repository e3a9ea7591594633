"""Every bound, from the configuration to the part that keeps it.

Why in one place: a limit is kept by one part, published by another and named in the error of a third; they must be the
same number.
"""

from __future__ import annotations

from reidstream_engines.cores import usable_cores
from reidstream_proto.v1 import contract
from reidstream_server.config import ServerConfig
from reidstream_server.core.terms import SchedulerLimits
from reidstream_server.intake.limits import FrameLimits, PublishedLimits, WindowLimits
from reidstream_server.memory.budget import HTTP_CONNECTION_BYTES, TLS_CONNECTION_BYTES, Bounds
from reidstream_server.tracks.room import TrackBounds
from reidstream_server.transport.embedding.options import CallLimits
from reidstream_server.transport.embedding.shared import SharedMemoryTerms
from reidstream_server.transport.entrance.entrance import EntranceBounds
from reidstream_server.transport.grpc_server.admission import CallBounds

END_TIMEOUT_S = 10.0
"""For a client to take the end of its call: its last answer, or why there is none. Then the call is hung up."""

HEAVY_BOXES = 128
HEAVY_STAGING_NS = 60_000_000
"""A frame with more boxes, or with pictures that one core is longer busy with, is staged where it gives way to others:
a whole 4K JPEG is light, and one of 8K is not.
"""

SLOW_STAGING_NS = 500_000_000
"""After so long, one that seemed light has turned out to be heavy."""

HIGH_AT_ONCE_NS = 200_000_000
"""Of the whole machine's time: a hundred boxes of a usual network on one core."""

MAX_HTTP_CONNECTIONS = 512
"""Open connections of the HTTP port. One that is idle gives way to a new one."""

HTTP_ANSWERS_BYTES = 64 * 2**20
"""Answers of the HTTP port that are not taken yet, all together."""

_ROOM_FOR_REFUSALS = 512
"""Calls of one connection beyond all sessions that there may be: they hear from us that they are too many."""


def scheduler_limits(config: ServerConfig) -> SchedulerLimits:
    """The core's bounds."""
    limits, scheduling = config.limits, config.scheduling
    cores = usable_cores(config.engine.cores)
    return SchedulerLimits(
        staging_slots=config.engine.decode_threads or cores,
        cores=cores,
        max_queue_boxes=limits.max_queue_boxes,
        max_queue_bytes=limits.max_queue_bytes,
        max_parked_bytes=limits.max_parked_bytes,
        max_staged_bytes=limits.max_staged_bytes,
        max_held_answer_bytes=limits.max_held_answer_bytes,
        heavy_boxes=HEAVY_BOXES,
        heavy_staging_ns=HEAVY_STAGING_NS,
        slow_staging_ns=SLOW_STAGING_NS,
        staging_timeout_ns=int(scheduling.staging_timeout_s * 1e9),
        quantum_boxes=scheduling.quantum_boxes,
        max_source_turns=scheduling.max_client_turns,
        aging_ns=int(scheduling.aging_ms * 1e6),
        high_at_once_ns=HIGH_AT_ONCE_NS,
        linger_ns=int(scheduling.linger_ms * 1e6),
        batch_timeout_ns=int(scheduling.batch_timeout_s * 1e9),
        stall_timeout_ns=int(scheduling.stall_timeout_s * 1e9),
    )


def frame_limits(config: ServerConfig) -> FrameLimits:
    """The intake's bounds."""
    limits = config.limits
    return FrameLimits(
        max_image_pixels=limits.max_image_pixels,
        max_boxes=limits.max_boxes_per_frame,
        min_box_px=limits.min_box_px,
        max_answer_bytes=limits.max_answer_bytes,
        max_staged_bytes=limits.max_staged_bytes,
    )


def call_limits(config: ServerConfig) -> CallLimits:
    """The bounds of calls."""
    limits = config.limits
    return CallLimits(
        max_sessions=limits.max_sessions,
        max_sessions_per_client=_sessions_per_client(config),
        open_timeout_s=config.scheduling.open_timeout_s,
        stall_timeout_s=config.scheduling.stall_timeout_s,
        idle_timeout_s=config.scheduling.idle_timeout_s,
        max_age_s=config.lifecycle.max_connection_age_s,
        drain_timeout_s=config.lifecycle.drain_timeout_s,
        window=WindowLimits(
            max_frames=limits.max_window_frames,
            max_bytes=limits.max_window_bytes,
            default_frames=limits.default_window_frames,
        ),
        shared_memory=SharedMemoryTerms(
            max_bytes=_shared_memory_bytes(config), max_copied_bytes=limits.max_message_bytes
        ),
        tracks=track_bounds(config),
        published=published_limits(config),
    )


def track_bounds(config: ServerConfig) -> TrackBounds:
    """The bounds of the memory of tracks."""
    return TrackBounds(max_tracks=config.limits.max_tracks_per_session, max_bytes=config.limits.max_track_bytes)


def structure_bytes(config: ServerConfig) -> int:
    """The most bytes of a message beside its pixels, as the wire contract derives it."""
    limits = config.limits
    boxes = contract.MAX_STRUCTURE_BYTES_PER_BOX * limits.max_boxes_per_frame
    tracks = contract.MAX_STRUCTURE_BYTES_PER_TRACK * limits.max_tracks_per_session
    return contract.MAX_STRUCTURE_BYTES + max(boxes, tracks)


def port_bounds(config: ServerConfig) -> CallBounds:
    """The bounds of calls that the gRPC port keeps for all its services."""
    return CallBounds(
        max_waiting_calls=_waiting_calls(config),
        receive_timeout_s=config.scheduling.receive_timeout_s,
        stall_timeout_s=config.scheduling.stall_timeout_s,
        end_timeout_s=END_TIMEOUT_S,
    )


def entrance_bounds(config: ServerConfig) -> EntranceBounds:
    """The bounds of calls that all doors keep together."""
    return EntranceBounds(
        max_calls=config.limits.max_calls,
        max_waiting_calls=_waiting_calls(config),
        receive_timeout_s=config.scheduling.receive_timeout_s,
    )


def memory_bounds(config: ServerConfig, base_bytes: int) -> Bounds:
    """What the budget of the process is made of. `base_bytes`: its private memory before it serves."""
    limits = config.limits
    return Bounds(
        base_bytes=base_bytes,
        max_message_bytes=limits.max_message_bytes,
        max_receiving_bytes=limits.max_receiving_bytes,
        max_parked_bytes=limits.max_parked_bytes,
        max_queue_bytes=limits.max_queue_bytes,
        max_staged_bytes=limits.max_staged_bytes,
        max_held_answer_bytes=limits.max_held_answer_bytes,
        max_sessions=limits.max_sessions,
        max_sessions_per_client=_sessions_per_client(config),
        max_calls=limits.max_calls,
        max_request_streams=limits.max_sessions if config.listen.kserve else 0,
        http_connections_bytes=_http_connections_bytes(config),
        http_answers_bytes=0 if config.listen.http_port is None else HTTP_ANSWERS_BYTES,
        max_waiting_calls=2 * _waiting_calls(config),  # of hosted services, and of all others
        regions_bytes=limits.max_kserve_region_bytes if limits.kserve_shared_memory else 0,
        max_track_bytes=limits.max_track_bytes if limits.max_tracks_per_session else 0,
    )


def calls_per_connection(config: ServerConfig) -> int:
    """One connection may carry every session there may be, and others that are told why they are refused."""
    return config.limits.max_sessions + _ROOM_FOR_REFUSALS


def _waiting_calls(config: ServerConfig) -> int:
    """One connection alone never has more than its half."""
    return 2 * (calls_per_connection(config) + 1)


def published_limits(config: ServerConfig) -> PublishedLimits:
    """What every door tells its clients."""
    limits = config.limits
    return PublishedLimits(
        max_message_bytes=limits.max_message_bytes,
        max_image_pixels=limits.max_image_pixels,
        max_boxes_per_frame=limits.max_boxes_per_frame,
        min_box_px=limits.min_box_px,
        max_window_frames=limits.max_window_frames,
        max_window_bytes=limits.max_window_bytes,
        max_queue_boxes=limits.max_queue_boxes,
        max_queue_bytes=limits.max_queue_bytes,
        max_parked_bytes=limits.max_parked_bytes,
        max_staged_bytes=limits.max_staged_bytes,
        max_held_answer_bytes=limits.max_held_answer_bytes,
        max_answer_bytes=limits.max_answer_bytes,
        max_sessions=limits.max_sessions,
        max_shared_memory_bytes=_shared_memory_bytes(config),
        max_sessions_per_client=_sessions_per_client(config),
        max_calls=limits.max_calls,
        max_receiving_bytes=limits.max_receiving_bytes,
        max_tracks_per_session=limits.max_tracks_per_session,
        max_track_bytes=limits.max_track_bytes if limits.max_tracks_per_session else 0,
    )


def _http_connections_bytes(config: ServerConfig) -> int:
    if config.listen.http_port is None:
        return 0
    tls = 0 if config.security.tls_cert_file is None else TLS_CONNECTION_BYTES
    return MAX_HTTP_CONNECTIONS * (HTTP_CONNECTION_BYTES + tls)


def _sessions_per_client(config: ServerConfig) -> int:
    """As it is kept: nobody gets more than half of what all share."""
    limits = config.limits
    return min(limits.max_sessions_per_client, max(1, limits.max_sessions // 2))


def _shared_memory_bytes(config: ServerConfig) -> int:
    return config.limits.max_shared_memory_bytes if config.limits.shared_memory else 0
