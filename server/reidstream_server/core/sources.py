"""Who is held responsible, and pays: sources whose frames were refused, or cost more than they declared.

What the staging of a frame costs is known from its headers, about; what it did cost is measured. The ratio of the two
is the *price*, of each source and of all together: a machine may be slow, and a source may send what is costlier than
it looks. So frames of every source are weighed in the time of a core that they will really take.

A source is a client's identity, or its connection where nothing tells clients apart. What it took without a right to it
(the reading of a frame that is refused, a decode that cost more than the frame's headers say) it pays for in time:
until `PENALTY` times as much has passed, nothing of it is read. So its own share shrinks to what is left, and no other
source notices. An honest client with one bad frame waits for some milliseconds. Where many pay at the same time, each
waits longer: all together get a third of the time at most, however many connections they open.

A source that pays, or of which a frame turned out to be heavy and is still being staged, is *slowed*: all its frames
are taken for heavy ones, also those that wait already, whatever their headers say.

Reading takes no core from the others, but the one event loop. What was read for nothing is free for a source as long as
it is a small part of the time: cameras see empty rooms, and frames are dropped when there are too many. For nothing is
reading when no crop was ever worked on, and what took longer than usual, or than the frame's work. What is more than a
small part is paid for. Each piece of reading counts once: what was refused, or found no room, is charged at once, and
not counted here.

Trap: a source that leaves takes its debt along, or it would come back with a new session. So it is forgotten when
nothing of it is open *and* it has paid; and what was read for nothing is settled first, also in the event in which it
leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .delivery import Delivery
from .spenders import Spenders
from .state import FrameState, SessionState
from .terms import SessionKey
from .timers import TimerKind, Timers

P = TypeVar("P")

PENALTY, PENALTY_TOGETHER = 8, 3
"""How much longer a source is not read than what it took: the second, times the number of those who pay; at least the
first.
"""

OVERSPENT = 4
"""So many times what was expected is more than an estimate may be wrong."""

LOWEST_PRICE, HIGHEST_PRICE = 1 / 16, 16.0
PRICE_WEIGHT, COMMON_PRICE_WEIGHT = 1 / 8, 1 / 64

FREE_PART, FREE_PART_TOGETHER, FREE_AT_ONCE_NS = 4, 3, 20_000_000
"""One part in so many of the time may be spent on reading a source's frames for nothing, and so much of it at once. All
who spend share one part in three, if that is less for each.
"""

ANSWERING_NS = 200_000
"""To receive a frame and to write that it was given up, beside reading it."""

USUAL_FRAME_NS, USUAL_CROP_NS, USUAL_BYTE_NS = 500_000, 50_000, 1
"""To read a frame whose crops are embedded, for each crop, and for each byte of pixels. Frames take a tenth of a
millisecond, ready crops 20 us.
"""

MOST_GONE = 1024
"""So many sources without sessions are remembered for what was read for nothing."""

LONGEST_PAUSE_NS = 10_000_000_000
"""And how far into the future that may reach: it may have mended its ways."""


def usual_reading_ns(crops: int) -> int:
    """What reading a frame with so many crops to embed may take, beside its pixels."""
    return USUAL_FRAME_NS + USUAL_CROP_NS * crops


@dataclass(slots=True, eq=False)
class Source(Generic[P]):
    """`number`: its own, for its timer. `price`: what its staging costs, of what its headers say. `suspects`: its
    frames that were set aside and are being staged. `paused`: it is not read at present. `read_in_vain_ns`: not settled
    yet. `spent_ns`: of what is free at once, as of `spent_at_ns`; it comes back as time passes.
    """

    name: str
    number: int
    price: float
    suspects: int = 0
    sessions: dict[SessionKey, SessionState[P]] = field(default_factory=dict)
    paused: bool = False
    until_ns: int = 0
    read_in_vain_ns: int = 0
    spent_ns: int = 0
    spent_at_ns: int = 0


class Sources(Generic[P]):
    """Every source with a session, or with something to pay. Not thread-safe."""

    def __init__(self, timers: Timers, delivery: Delivery[P], *, most_gone: int = MOST_GONE) -> None:
        self._timers = timers
        self._delivery = delivery
        self._by_name: dict[str, Source[P]] = {}
        self._paused: dict[int, Source[P]] = {}
        self._made = 0
        self._price = 1.0
        self._slowed = 0
        self._unsettled: list[Source[P]] = []
        self._gone: dict[str, tuple[int, int]] = {}
        self._spenders = Spenders()
        self._most_gone = most_gone

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def paused(self) -> int:
        """How many are not read at present."""
        return len(self._paused)

    @property
    def any_slowed(self) -> bool:
        """Whether there are some whose frames are all taken for heavy ones."""
        return self._slowed > 0

    def enter(self, session: SessionState[P]) -> None:
        """A session of it begins."""
        source = self._of(session.terms.source)
        source.sessions[session.key] = session
        session.paused, session.slowed = source.paused, self._is_slowed(source)

    def leave(self, session: SessionState[P]) -> None:
        """A session of it is over."""
        source = self._by_name[session.terms.source]
        del source.sessions[session.key]
        self._forget(source)

    def expected_ns(self, name: str, declared_ns: int) -> int:
        """How long a core will take for a staging of this source that looks as if it took `declared_ns`."""
        return int(declared_ns * self._by_name[name].price)

    def staged(self, frame: FrameState[P], spent_ns: int, now: int, *, slow_ns: int) -> None:
        """A core has spent so much on the staging of a frame. Its source pays if that was long (`slow_ns`), and more
        than anybody could expect.
        """
        name, declared_ns, expected_ns = frame.session.terms.source, frame.request.staging_ns, frame.expected_staging_ns
        if declared_ns:
            price = min(max(spent_ns / declared_ns, LOWEST_PRICE), HIGHEST_PRICE)
            self._price += (price - self._price) * COMMON_PRICE_WEIGHT
            source = self._by_name.get(name)
            if source is not None:
                source.price += (price - source.price) * PRICE_WEIGHT
        if not frame.given_up and spent_ns > slow_ns and spent_ns > OVERSPENT * expected_ns:
            self.charge(name, spent_ns - expected_ns, now)

    def charge(self, name: str, cost_ns: int, now: int) -> None:
        """The source took so much without a right to it: its sessions are not read for some time from now on."""
        if cost_ns <= 0:
            return
        source = self._of(name)
        others = 0
        if PENALTY_TOGETHER * (1 + len(self._paused)) > PENALTY:
            others = sum(other is not source and other.until_ns > now for other in self._paused.values())
        self._pause(source, max(PENALTY, PENALTY_TOGETHER * (1 + others)) * cost_ns, now)

    def _pause(self, source: Source[P], pause_ns: int, now: int) -> None:
        source.until_ns = min(max(source.until_ns, now) + pause_ns, now + LONGEST_PAUSE_NS)
        if source.paused:
            return  # its timer looks again
        self._slowed += not self._is_slowed(source)
        source.paused = True
        self._paused[source.number] = source
        self._timers.add(source.until_ns, TimerKind.PAUSE, source.number)
        self._tell(source)

    def read_in_vain(self, name: str, spent_ns: int) -> None:
        """Reading took so much, for nothing. A source with a session; to be settled in the same event."""
        if spent_ns:
            source = self._by_name[name]
            if not source.read_in_vain_ns:
                self._unsettled.append(source)
            source.read_in_vain_ns += spent_ns

    def called(self, name: str, cost_ns: int) -> None:
        """A call of the source costs so much, which counts as reading for nothing does. It needs no session; to be
        settled in the same event.
        """
        self._of(name)
        self.read_in_vain(name, cost_ns)

    def settle(self, now: int) -> None:
        """Who has been read for nothing for more than is free pays."""
        if not self._unsettled:
            return
        part = max(FREE_PART, FREE_PART_TOGETHER * self._spenders.count(now, [one.name for one in self._unsettled]))
        while self._unsettled:
            source = self._unsettled.pop()
            new, source.read_in_vain_ns = source.read_in_vain_ns, 0
            spent = max(0, source.spent_ns - (now - source.spent_at_ns) // part) + new
            if spent > FREE_AT_ONCE_NS:
                spent = FREE_AT_ONCE_NS
                self._pause(source, PENALTY * part // FREE_PART * new, now)
            source.spent_ns, source.spent_at_ns = spent, now
            self._spenders.note(source.name, now + part * spent)
            self._forget(source)

    def until_ns(self, name: str) -> int | None:
        """Until when the source is not read; None if it may be."""
        source = self._by_name.get(name)
        return source.until_ns if source is not None and source.paused else None

    def look(self, number: int, now: int) -> None:
        """The timer of a source: it has paid, and its sessions may be read again; or it has more to pay."""
        source = self._paused[number]
        if source.until_ns > now:
            self._timers.add(source.until_ns, TimerKind.PAUSE, number)
            return
        source.paused = False
        if source.sessions:  # another is the first to be read, each time: one that makes all pay does not keep them out
            key = next(iter(source.sessions))
            source.sessions[key] = source.sessions.pop(key)
        del self._paused[number]
        self._slowed -= not self._is_slowed(source)
        self._tell(source)
        self._forget(source)

    def suspect(self, name: str) -> None:
        """A frame of the source was set aside: it takes longer than anybody could expect."""
        source = self._of(name)
        self._slowed += not self._is_slowed(source)
        source.suspects += 1
        self._tell(source)

    def clear(self, name: str) -> None:
        """That frame is staged, or given up."""
        source = self._by_name[name]
        source.suspects -= 1
        self._slowed -= not self._is_slowed(source)
        self._tell(source)
        self._forget(source)

    def _of(self, name: str) -> Source[P]:
        source = self._by_name.get(name)
        if source is None:
            self._made += 1
            source = self._by_name[name] = Source(name, self._made, self._price)
            source.spent_ns, source.spent_at_ns = self._gone.pop(name, (0, 0))
        return source

    def _tell(self, source: Source[P]) -> None:
        for session in source.sessions.values():
            session.paused, session.slowed = source.paused, self._is_slowed(source)
            self._delivery.touch(session)

    def _forget(self, source: Source[P]) -> None:
        if not source.sessions and not self._is_slowed(source) and not source.read_in_vain_ns:
            del self._by_name[source.name]
            if source.spent_ns:
                self._gone[source.name] = source.spent_ns, source.spent_at_ns
                if len(self._gone) > self._most_gone:
                    oldest = next(iter(self._gone))
                    del self._gone[oldest]
                    self._spenders.forget(oldest)

    @staticmethod
    def _is_slowed(source: Source[P]) -> bool:
        return source.paused or source.suspects > 0
