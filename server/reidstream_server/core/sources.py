"""Who is held responsible, and pays: sources whose frames were refused, or cost more than they declared.

What the staging of a frame costs is known from its headers, about; what it did cost is measured. The ratio of the two
is the *price*, of each source and of all together: a machine may be slow, and a source may send what is costlier than
it looks. So frames of every source are weighed in the time of a core that they will really take.

A source is a client's identity, or its connection where nothing tells clients apart. What it took without a right to it
(the reading of a frame that is refused, a decode that cost more than the frame's headers say) it pays for in time:
until `PENALTY` times as much has passed, nothing of it is read. So its own share shrinks to what is left, and no other
source notices. An honest client with one bad frame waits for some milliseconds.

Trap: a source that leaves takes its debt along, or it would come back with a new session. So it is forgotten when
nothing of it is open *and* it has paid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .state import SessionState
from .terms import SessionKey
from .timers import Timer, TimerKind, Timers

P = TypeVar("P")

PENALTY = 8
"""How much longer a source is not read than what it took."""

OVERSPENT = 4
"""So many times what was expected is more than an estimate may be wrong."""

LOWEST_PRICE, HIGHEST_PRICE = 1 / 16, 16.0
PRICE_WEIGHT, COMMON_PRICE_WEIGHT = 1 / 8, 1 / 64

LONGEST_PAUSE_NS = 10_000_000_000
"""And how far into the future that may reach: it may have mended its ways."""


@dataclass(slots=True, eq=False)
class Source(Generic[P]):
    """`number`: its own, for its timer. `price`: what its staging costs, of what its headers say. `paused`: it is not
    read at present.
    """

    name: str
    number: int
    price: float
    sessions: dict[SessionKey, SessionState[P]] = field(default_factory=dict)
    paused: bool = False
    until_ns: int = 0
    timer: Timer | None = None


class Sources(Generic[P]):
    """Every source with a session, or with something to pay. Not thread-safe."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._by_name: dict[str, Source[P]] = {}
        self._paused: dict[int, Source[P]] = {}
        self._made = 0
        self._price = 1.0

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def paused(self) -> int:
        """How many are not read at present."""
        return len(self._paused)

    def enter(self, session: SessionState[P]) -> None:
        """A session of it begins."""
        source = self._of(session.terms.source)
        source.sessions[session.key] = session
        session.paused = source.paused

    def leave(self, session: SessionState[P]) -> None:
        """A session of it is over."""
        source = self._by_name[session.terms.source]
        del source.sessions[session.key]
        self._forget(source)

    def expected_ns(self, name: str, declared_ns: int) -> int:
        """How long a core will take for a staging of this source that looks as if it took `declared_ns`."""
        return int(declared_ns * self._by_name[name].price)

    def staged(self, name: str, *, declared_ns: int, expected_ns: int, spent_ns: int) -> int:
        """A core has spent so much on a staging; returns what of it the source had no right to."""
        source = self._by_name.get(name)
        if declared_ns > 0:
            price = min(max(spent_ns / declared_ns, LOWEST_PRICE), HIGHEST_PRICE)
            self._price += (price - self._price) * COMMON_PRICE_WEIGHT
            if source is not None:
                source.price += (price - source.price) * PRICE_WEIGHT
        return spent_ns - expected_ns if spent_ns > OVERSPENT * expected_ns else 0

    def charge(self, name: str, cost_ns: int, now: int) -> list[SessionState[P]]:
        """The source took so much without a right to it; returns its sessions if they are not read from now on."""
        if cost_ns <= 0:
            return []
        source = self._of(name)
        source.until_ns = min(max(source.until_ns, now) + PENALTY * cost_ns, now + LONGEST_PAUSE_NS)
        if source.paused:
            return []  # its timer looks again
        source.paused = True
        self._paused[source.number] = source
        source.timer = self._timers.add(source.until_ns, TimerKind.PAUSE, source.number)
        return self._tell(source)

    def until_ns(self, name: str) -> int | None:
        """Until when the source is not read; None if it may be."""
        source = self._by_name.get(name)
        return source.until_ns if source is not None and source.paused else None

    def look(self, number: int, now: int) -> list[SessionState[P]]:
        """The timer of a source: it has paid, or has more to pay. Returns its sessions if they may be read again."""
        source = self._paused.get(number)
        if source is None:
            return []
        if source.until_ns > now:
            source.timer = self._timers.add(source.until_ns, TimerKind.PAUSE, number)
            return []
        source.paused = False
        del self._paused[number]
        told = self._tell(source)
        self._forget(source)
        return told

    def _of(self, name: str) -> Source[P]:
        source = self._by_name.get(name)
        if source is None:
            self._made += 1
            source = self._by_name[name] = Source(name, self._made, self._price)
        return source

    def _tell(self, source: Source[P]) -> list[SessionState[P]]:
        sessions = list(source.sessions.values())
        for session in sessions:
            session.paused = source.paused
        return sessions

    def _forget(self, source: Source[P]) -> None:
        if not source.sessions and not source.paused:
            del self._by_name[source.name]
