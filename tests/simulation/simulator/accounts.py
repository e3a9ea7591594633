"""What every source owes and what its stagings cost, written down a second time.

What was read for nothing fills a bucket of each source that leaks all the time; what does not go in is paid for.

Trap: a source is forgotten when nothing of it is open and it has paid; what its stagings cost is forgotten with it. Its
bucket is kept, as long as not too many others have left since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet

PENALTY, PENALTY_TOGETHER = 8, 3
LONGEST_PAUSE_NS = 10_000_000_000
OVERSPENT = 4
FREE_PART, FREE_PART_TOGETHER, FREE_AT_ONCE_NS = 4, 3, 20_000_000


class Accounts:
    """Of all sources. `sessions`: open ones of each. `remembered`: of so many buckets are kept whose source left."""

    def __init__(self, remembered: int) -> None:
        self.sessions: Counter[str] = Counter()
        self._price = 1.0
        self._prices: dict[str, float] = {}
        self._until: dict[str, int] = {}
        self._suspects: Counter[str] = Counter()
        self.ever_slowed: set[str] = set()
        self._remembered = remembered
        self._for_nothing: Counter[str] = Counter()
        self._buckets: dict[str, tuple[int, int]] = {}
        self._left: dict[str, int] = {}

    def opened(self, source: str, now: int) -> bool:
        """A session of it. Whether it had left, and still owes."""
        self.sessions[source] += 1
        came_back = source in self._left
        self._enter(source)
        return came_back and self.owes_ns(source, now) > 0

    def over(self, source: str) -> None:
        """A session of it."""
        self.sessions[source] -= 1

    def expected_ns(self, source: str, declared_ns: int) -> int:
        """How long a staging should take."""
        return int(declared_ns * self._prices[source])

    def spent(self, source: str, declared_ns: int, spent_ns: int) -> None:
        """How long a staging did take."""
        if not declared_ns:
            return
        price = min(max(spent_ns / declared_ns, 1 / 16), 16.0)
        self._price += (price - self._price) / 64
        if source in self._prices:
            self._prices[source] += (price - self._prices[source]) / 8

    def charge(self, source: str, cost_ns: int, now: int) -> None:
        """The source has to pay."""
        if cost_ns <= 0:
            return
        paying = {other for other, until in self._until.items() if until > now} | {source}
        self._pause(source, max(PENALTY, PENALTY_TOGETHER * len(paying)) * cost_ns, now)

    def _pause(self, source: str, pause_ns: int, now: int) -> None:
        until = max(self._until.get(source, 0), now) + pause_ns
        self._until[source] = min(until, now + LONGEST_PAUSE_NS)
        self.ever_slowed.add(source)
        self._enter(source)

    def read_for_nothing(self, source: str, spent_ns: int) -> None:
        """In this step, so much of reading its frames was."""
        if spent_ns:
            self._for_nothing[source] += spent_ns

    def settle(self, now: int) -> list[str]:
        """After a step: what was read for nothing goes into the buckets. Those for whom it was too much pay for it."""
        pay = []
        spenders = {source for source in self._buckets if self.owes_ns(source, now)} | set(self._for_nothing)
        part = max(FREE_PART, FREE_PART_TOGETHER * len(spenders))
        for source, spent_ns in self._for_nothing.items():
            before = self.owes_ns(source, now)
            level = before + part * spent_ns
            if level > part * FREE_AT_ONCE_NS:
                level = max(before, part * FREE_AT_ONCE_NS)
                self._pause(source, 2 * part * spent_ns, now)
                pay.append(source)
            self._buckets[source] = level, now
        self._for_nothing.clear()
        return pay

    def owes_ns(self, source: str, now: int) -> int:
        """When its bucket will be empty, from now on."""
        level, since = self._buckets.get(source, (0, now))
        return max(level - (now - since), 0)

    def paused(self, source: str, now: int) -> bool:
        """Whether nothing of it may be read."""
        return self._until.get(source, 0) > now

    def suspect(self, source: str, count: int) -> None:
        """So many more of its frames were set aside and are being staged, or less."""
        self._suspects[source] += count
        self.ever_slowed.add(source)
        self._enter(source)

    def slowed(self, source: str, now: int) -> bool:
        """Whether all its frames are taken for heavy ones."""
        return self.paused(source, now) or self._suspects[source] > 0

    def all_paused(self, now: int) -> list[str]:
        """Everybody who is not read, at the end of a step; the others have paid."""
        for source in [source for source, until in self._until.items() if until <= now]:
            del self._until[source]
        return list(self._until)

    def until_ns(self, source: str) -> int | None:
        """Until when it is not read."""
        return self._until.get(source)

    @property
    def left(self) -> int:
        """How many have left and are remembered."""
        return len(self._left)

    def forget(self, now: int) -> None:
        """After a step: those that have nothing open and nothing to pay."""
        for source in [name for name in self._prices if not self.sessions[name] and not self.slowed(name, now)]:
            del self.sessions[source], self._prices[source]
            if source in self._buckets:
                self._left[source] = now

    def forget_buckets(self, kept: AbstractSet[str]) -> str | None:
        """Too many have left: only these are remembered from now on. What is wrong about that, if anything."""
        gone = self._left.keys() - kept
        if not kept <= self._left.keys() or len(kept) != min(self._remembered, len(self._left)):
            return f"{sorted(kept)} are remembered, of {self._left}; {self._remembered} may be"
        if any(self._left[source] > self._left[other] for source in gone for other in kept):
            return f"{sorted(gone)} are forgotten before {sorted(kept)}; they left at {self._left}"
        for source in gone:
            del self._left[source], self._buckets[source]
        return None

    def _enter(self, source: str) -> None:
        self._prices.setdefault(source, self._price)
        self._left.pop(source, None)

    def next_ns(self) -> int | None:
        """When the next has paid."""
        return min(self._until.values(), default=None)
