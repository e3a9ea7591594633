"""What the process may hold at most: one record, whose sum is published and kept.

Why one sum: bounds that are each true still say nothing to who gives the process a machine. Every part has a bound of
its own, kept by admission, by counting or by the watch; whatever belongs to no part counts as received, which the watch
keeps.

Trap: private memory is counted, not resident memory. Pages of files and a client's shared memory are resident too, and
are not the server's. And a bound of bytes is a bound of what they cost: an answer that is being written exists four
times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

_KIB, _MIB = 2**10, 2**20

SESSION_BYTES = 256 * _KIB
"""What a session costs without its frames: 40 KiB when it is idle, 180 KiB when its client does not read."""

REQUEST_STREAM_BYTES = 256 * _KIB
"""What a stream of requests costs without them: 36 KiB when it is silent, 225 KiB when its client does not read 32
errors.
"""

CALL_BYTES = 64 * _KIB
"""What a call costs without a message: a Watch of health takes 16 KiB. A request of a stream is a call, too."""

WAITING_CALL_BYTES = 64 * _KIB
"""What a call costs whose source pays, and that waits without its message: 20 KiB, and with as many headers as gRPC
takes 60 KiB.
"""

WRITTEN_COPIES = 3
"""An answer that is being written exists as vectors, and as the message, its bytes, and gRPC's copy of these."""

READ_COPIES = 3
"""One message at a time is turned into fields: gRPC's bytes, Python's copy, and the fields."""

SERVING_BYTES = 96 * _MIB
"""What serving needs beside what is counted: threads' buffers, batches that grow, metrics, the log."""

HTTP_CONNECTION_BYTES = 160 * _KIB
"""What an HTTP connection costs: a piece of a body that nobody has read yet, one of the request behind it, and what
reads them.
"""

TLS_CONNECTION_BYTES = 384 * _KIB
"""What Python's TLS adds to that."""

REACTION_BYTES = 128 * _MIB
"""What may come between two looks of the watch, and until the calls that it ends are over."""


class Part(Enum):
    """A part of the memory. The values are metric labels, and names in the contract."""

    BASE = "base"
    SERVING = "serving"
    SESSIONS = "sessions"
    STREAMS = "streams"
    CALLS = "calls"
    WAITING = "waiting"
    RECEIVING = "receiving"
    PARKED = "parked"
    QUEUE = "queue"
    STAGED = "staged"
    ANSWERS = "answers"
    WRITING = "writing"
    TRACKS = "tracks"
    HTTP = "http"
    REGIONS = "regions"
    REACTION = "reaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A part's bound in bytes. `client_bytes`: how much of it one client may have. `setting`: what changes the bound;
    "" for what no setting changes. `meaning`: for people.
    """

    part: Part
    bytes: int
    client_bytes: int
    setting: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the budget is made of, in bytes and in numbers; by the names of the settings."""

    base_bytes: int
    max_message_bytes: int
    max_receiving_bytes: int
    max_parked_bytes: int
    max_queue_bytes: int
    max_staged_bytes: int
    max_held_answer_bytes: int
    max_sessions: int
    max_sessions_per_client: int
    max_calls: int
    max_waiting_calls: int
    max_request_streams: int = 0
    http_connections_bytes: int = 0
    http_answers_bytes: int = 0
    regions_bytes: int = 0
    max_track_bytes: int = 0


class Accounts(Protocol):
    """What the scheduler counts, of its statistics."""

    @property
    def sessions(self) -> int:
        """Open ones; a call that is in progress has one."""
        ...

    @property
    def parked_bytes(self) -> int:
        """Of messages that wait for room in the queue."""
        ...

    @property
    def queue_bytes(self) -> int:
        """Of messages that wait to be decoded."""
        ...

    @property
    def staged_bytes(self) -> int:
        """Of decoded frames."""
        ...

    @property
    def held_answer_bytes(self) -> int:
        """Of vectors that are not written."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """The bound of each part, each part once."""

    lines: Sequence[Line]

    @property
    def total_bytes(self) -> int:
        """The most private memory that the process may have."""
        return sum(line.bytes for line in self.lines)

    @property
    def client_bytes(self) -> int:
        """The most that one client may make it hold."""
        return sum(line.client_bytes for line in self.lines)

    def bytes_of(self, part: Part) -> int:
        """The bound of one part."""
        return next(line.bytes for line in self.lines if line.part is part)


def memory_budget(bounds: Bounds) -> MemoryBudget:
    """Every part. What all share has no client alone: whoever holds something may have as much again as is free."""
    serving = SERVING_BYTES + READ_COPIES * bounds.max_message_bytes
    half = _half_of_what_is_shared
    lines = (
        Line(
            part=Part.BASE,
            bytes=bounds.base_bytes,
            client_bytes=0,
            setting="",
            meaning="the loaded models and libraries, measured at the start",
        ),
        Line(
            part=Part.SERVING,
            bytes=serving,
            client_bytes=0,
            setting="max_message_bytes",
            meaning="buffers of the threads, and the message that is being read",
        ),
        Line(
            part=Part.SESSIONS,
            bytes=bounds.max_sessions * SESSION_BYTES,
            client_bytes=min(bounds.max_sessions_per_client, bounds.max_sessions) * SESSION_BYTES,
            setting="max_sessions",
            meaning="open sessions without their frames",
        ),
        Line(
            part=Part.STREAMS,
            bytes=bounds.max_request_streams * REQUEST_STREAM_BYTES,
            client_bytes=half(bounds.max_request_streams * REQUEST_STREAM_BYTES),
            setting="max_sessions",
            meaning="open streams of requests (kserve) without these",
        ),
        Line(
            part=Part.CALLS,
            bytes=bounds.max_calls * CALL_BYTES,
            client_bytes=half(bounds.max_calls * CALL_BYTES),
            setting="max_calls",
            meaning="open calls without their messages",
        ),
        Line(
            part=Part.WAITING,
            bytes=bounds.max_waiting_calls * WAITING_CALL_BYTES,
            client_bytes=half(bounds.max_waiting_calls * WAITING_CALL_BYTES),
            setting="max_sessions",
            meaning="calls that wait because their clients pay",
        ),
        Line(
            part=Part.RECEIVING,
            bytes=bounds.max_receiving_bytes,
            client_bytes=bounds.max_receiving_bytes,
            setting="max_receiving_bytes",
            meaning="messages that have not come whole",
        ),
        Line(
            part=Part.PARKED,
            bytes=bounds.max_parked_bytes,
            client_bytes=half(bounds.max_parked_bytes),
            setting="max_parked_bytes",
            meaning="messages of frames that wait for room in the queue",
        ),
        Line(
            part=Part.QUEUE,
            bytes=bounds.max_queue_bytes,
            client_bytes=half(bounds.max_queue_bytes),
            setting="max_queue_bytes",
            meaning="messages of frames that wait to be decoded",
        ),
        Line(
            part=Part.STAGED,
            bytes=bounds.max_staged_bytes,
            client_bytes=bounds.max_staged_bytes,
            setting="max_staged_bytes",
            meaning="decoded frames, and what decoding needs",
        ),
        Line(
            part=Part.ANSWERS,
            bytes=bounds.max_held_answer_bytes,
            client_bytes=half(bounds.max_held_answer_bytes),
            setting="max_held_answer_bytes",
            meaning="vectors that are not written yet",
        ),
        Line(
            part=Part.WRITING,
            bytes=WRITTEN_COPIES * bounds.max_held_answer_bytes,
            client_bytes=half(WRITTEN_COPIES * bounds.max_held_answer_bytes),
            setting="max_held_answer_bytes",
            meaning="the same as messages, while they are written",
        ),
        Line(
            part=Part.TRACKS,
            bytes=(1 + WRITTEN_COPIES) * bounds.max_track_bytes,
            client_bytes=(1 + WRITTEN_COPIES) * bounds.max_track_bytes,
            setting="max_track_bytes",
            meaning="tracks, and the same as messages when they are handed over",
        ),
        Line(
            part=Part.HTTP,
            bytes=bounds.http_connections_bytes + bounds.http_answers_bytes,
            client_bytes=bounds.http_connections_bytes + half(bounds.http_answers_bytes),
            setting="http_port",
            meaning="HTTP connections, and their answers that are not taken",
        ),
        Line(
            part=Part.REGIONS,
            bytes=bounds.regions_bytes,
            client_bytes=half(bounds.regions_bytes),
            setting="max_kserve_region_bytes",
            meaning="clients' shared memory that answers are written into",
        ),
        Line(
            part=Part.REACTION,
            bytes=REACTION_BYTES,
            client_bytes=REACTION_BYTES,
            setting="",
            meaning="what comes while the server looks, and ends calls",
        ),
    )
    return MemoryBudget(lines=lines)


def held_by(
    now: Accounts, bounds: Bounds, *, calls: int, waiting_calls: int, streams: int, track_bytes: int
) -> dict[Part, int]:
    """What is held now of the parts that are counted. The others can only be measured together.

    `calls`: in progress, each of which may have a session. `streams`: of requests.
    """
    return {
        Part.SERVING: SERVING_BYTES + READ_COPIES * bounds.max_message_bytes,
        Part.SESSIONS: max(0, now.sessions - calls) * SESSION_BYTES,
        Part.STREAMS: streams * REQUEST_STREAM_BYTES,
        Part.CALLS: calls * CALL_BYTES,
        Part.WAITING: waiting_calls * WAITING_CALL_BYTES,
        Part.PARKED: now.parked_bytes,
        Part.QUEUE: now.queue_bytes,
        Part.STAGED: now.staged_bytes,
        Part.ANSWERS: now.held_answer_bytes,
        Part.WRITING: WRITTEN_COPIES * now.held_answer_bytes,
        Part.TRACKS: track_bytes,
    }


def table(budget: MemoryBudget) -> Sequence[str]:
    """The budget for people, one line each."""
    rows = [
        (line.part.value, _mib(line.bytes), _mib(line.client_bytes), line.setting or "-", line.meaning)
        for line in budget.lines
    ]
    rows.append(("total", _mib(budget.total_bytes), _mib(budget.client_bytes), "", "of private memory"))
    head = ("part", "MiB", "of one client", "setting", "what")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column in (1, 2) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def _half_of_what_is_shared(most: int) -> int:
    """The most that one holder gets of a `Pool`."""
    return most // 2


def _mib(count: int) -> str:
    return str(-(-count // _MIB))
