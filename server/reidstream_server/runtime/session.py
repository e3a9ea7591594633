"""What passes between the runtime and those around it: a session's mailbox, and what an observer is told.

Why apart from the runtime: doors and metrics need these words, not the thing that drives the scheduler. Trap: a
session's events are set on the event loop only.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from reidstream_server.core.effects import Answer, End, EndCause, SendDrain
from reidstream_server.core.statistics import SessionStatistics
from reidstream_server.core.terms import ModelIndex, SessionKey
from reidstream_server.tracks.track import TrackEndCause, TrackEnded

from .agreement import Agreement
from .job import FrameJob
from .models import ServedModel
from .statistics import SessionCounters, SessionFigures
from .tracking import SessionTracks

JobAnswer: TypeAlias = Answer[FrameJob]


Outgoing: TypeAlias = JobAnswer | TrackEnded | SendDrain | End
"""What a door writes to its client, in this order: answers, events, a request to leave, the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a stream's session comes from. `peer`: the other end of its connection, as its door writes it. `epoch`: how
    often it was resumed.
    """

    peer: str
    epoch: int


@dataclass(slots=True, eq=False)
class Session:
    """A door's end of a session. `origin`: None for a single call. `mail` holds what to write, in order; `readable` is
    set while messages may be read; `stalled` is set when the session was ended because its client does not read.
    `draining`: it was asked to leave. `tracks`: None in a session without track memory.
    """

    key: SessionKey
    agreement: Agreement
    origin: Origin | None = None
    draining: bool = False
    tracks: SessionTracks | None = None
    counters: SessionCounters = field(default_factory=SessionCounters)
    mail: asyncio.Queue[Outgoing] = field(default_factory=asyncio.Queue)
    readable: asyncio.Event = field(default_factory=asyncio.Event)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)

    def came(self, message_bytes: int) -> None:
        """A frame was read. What still comes after the drain has begun is not processed, and does not count."""
        if not self.draining:
            self.counters.came(message_bytes)

    def figures(self, held: SessionStatistics | None, now_ns: int) -> SessionFigures:
        """What it did and does. `held`: the scheduler's part of it; None once the session is over."""
        counters, terms = self.counters, self.agreement.terms
        return SessionFigures(
            flow=terms.flow,
            seconds=(now_ns - counters.began_ns) / 1e9,
            frames=counters.frames,
            bytes=counters.bytes,
            answered=counters.answered,
            faults=dict(counters.faults),
            dropped_by_queue=counters.dropped_by_queue,
            rate_fps=counters.newest.rate_fps(now_ns),
            ages=counters.newest.ages(now_ns),
            window=terms.window,
            window_frames=0 if held is None else held.window_frames,
            window_bytes=0 if held is None else held.window_bytes,
        )


class Observer(Protocol):
    """Is told what happens, for the metrics. Called on the event loop."""

    __slots__ = ()

    @abstractmethod
    def answered(self, answer: JobAnswer, now_ns: int, trace_id: str | None = None) -> None:
        """An answer was handed to its session. `trace_id`: of the trace that follows its frame, if one does: 32
        hexadecimal digits.
        """
        ...

    @abstractmethod
    def staged(self, busy_ns: int, *, aside: bool) -> None:
        """A staging is over, and took a thread so long. `aside`: the thread gave way to others."""
        ...

    @abstractmethod
    def batch_started(self, model: ModelIndex, size: int) -> None:
        """A batch was handed to its engine."""
        ...

    @abstractmethod
    def batch_ended(self, model: ModelIndex, size: int, busy_ns: int) -> None:
        """A batch of so many crops has come back from its engine, whatever came of it, and took a thread so long."""
        ...

    @abstractmethod
    def batch_failed(self, model: ModelIndex) -> None:
        """An engine raised."""
        ...

    @abstractmethod
    def session_ended(self, cause: EndCause | None) -> None:
        """A session is over; None when its client vanished."""
        ...

    @abstractmethod
    def track_ended(self, cause: TrackEndCause) -> None:
        """A track is over, and its client is told."""
        ...

    @abstractmethod
    def model_added(self, model: ServedModel) -> None:
        """A model is served from now on; told before anything else of it."""
        ...

    @abstractmethod
    def model_retired(self, model: ServedModel) -> None:
        """Nothing of a model is left; nothing more is told of it."""
        ...
