"""The situations a simulation should get into.

Why: an invariant about something that never happens holds for ever. A test asserts that every one of these occurs
within the seeds it runs.
"""

from __future__ import annotations

from enum import Enum


class Situation(Enum):
    """Something worth having happened."""

    # Faults that came about.
    ENGINE_RAISED = "a batch failed"
    ENGINE_LOST = "an engine was lost"
    BATCH_TIMED_OUT = "a batch took too long"
    BATCH_CAME_LATE = "a batch came back after its engine was given up"
    DEVICE_LOST = "staging found the device lost"
    POISON_ALONE = "a poisonous crop failed alone"
    INNOCENT_SAVED = "a crop of a failed batch was embedded alone"
    STAGING_FAILED = "a frame could not be staged"
    STAGING_FAILED_TOO_LATE = "a frame that was decided already could not be staged"
    STAGED_TOO_LATE = "a frame that was decided already was staged"
    SOME_UNDECODABLE = "some crops of a frame were undecodable"
    ALL_UNDECODABLE = "all crops of a frame were undecodable"
    CLIENT_STALLED = "a client that did not read was given up"
    CLIENT_SLOW = "a slow client was not given up although its answers had waited for longer than the stall timeout"
    VANISHED_WAITING = "a client vanished with a frame that waited for room"
    VANISHED_QUEUED = "a client vanished with queued frames"
    VANISHED_STAGING = "a client vanished while a frame was being staged"
    VANISHED_READY = "a client vanished with crops ready"
    VANISHED_RUNNING = "a client vanished with crops running"
    VANISHED_ISOLATING = "a client vanished while crops waited to run alone"
    # Answers and policies.
    ID_INVALID = "a frame id did not rise"
    REFUSED = "the transport refused a frame"
    NO_CROPS = "a frame had nothing to embed"
    WINDOW_REJECTED = "a frame was rejected: window"
    QUEUE_REJECTED = "a frame was rejected: queue"
    WINDOW_DROPPED = "an older frame was dropped: window"
    WINDOW_DROPPED_ITSELF = "the newest frame was dropped: everything older had started"
    QUEUE_DROPPED = "an older frame was dropped: queue"
    PARKED_WAIT = "a frame waited for room, and its session was not read"
    PARKED_DROP_OLDEST = "a frame waited for room, and its session was read"
    PARKED_REPLACED = "a newer frame took the place of one that waited for room"
    UNPARKED = "a frame that waited for room was let in"
    LATE_ARRIVED = "a frame came over its budget"
    LATE_PARKED = "a frame that waited for room grew over its budget"
    LATE_QUEUED = "a queued frame grew over its budget"
    LATE_STAGING = "a frame grew over its budget while it was staged"
    LATE_READY = "a staged frame grew over its budget"
    ANSWER_WAITED = "an answer waited for an older one"
    ANSWER_OVERTOOK = "an answer overtook an older one"
    NOT_READ = "a session was not read"
    BACKLOG_FULL = "a session that never waits was not read: too many answers"
    # Engines.
    AGED_FRAME = "a frame of a lower priority went first, aged"
    AGED_CROP = "a crop of a lower priority went first, aged"
    CAMERAS_MIXED = "a batch held crops of several cameras"
    FRAME_SPLIT = "a frame ran in several batches"
    MODELS_MIXED = "a frame used several models"
    BATCH_FULL = "a full batch"
    CORES_BUSY = "crops waited for a core"
    LINGERED = "a batch waited to fill"
    BYTES_HELD = "a frame waited for staged bytes"
    # Ends.
    HALF_CLOSED_OPEN = "a client half-closed with frames open"
    DRAINED = "a session was drained in time"
    DRAIN_CUT = "a drain deadline cut frames off"
    DRAIN_IGNORED = "a frame came after the drain"
    DRAINED_TWICE = "a session was drained again, with an earlier deadline"
    CAMERA_SHARED = "a camera had several sessions open"
