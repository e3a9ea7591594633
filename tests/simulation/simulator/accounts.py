"""What every source owes and what its stagings cost, written down a second time.

Trap: a source is forgotten when nothing of it is open and it has paid; what its stagings cost is forgotten with it.
"""

from __future__ import annotations

from collections import Counter

PENALTY = 8
LONGEST_PAUSE_NS = 10_000_000_000
OVERSPENT = 4


class Accounts:
    """Of all sources. `sessions`: open ones of each."""

    def __init__(self) -> None:
        self.sessions: Counter[str] = Counter()
        self._price = 1.0
        self._prices: dict[str, float] = {}
        self._until: dict[str, int] = {}
        self._suspects: Counter[str] = Counter()
        self.ever_slowed: set[str] = set()

    def opened(self, source: str) -> None:
        """A session of it."""
        self.sessions[source] += 1
        self._prices.setdefault(source, self._price)

    def over(self, source: str, now: int) -> None:
        """A session of it."""
        self.sessions[source] -= 1
        self._forget(source, now)

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
        until = max(self._until.get(source, 0), now) + PENALTY * cost_ns
        self._until[source] = min(until, now + LONGEST_PAUSE_NS)
        self.ever_slowed.add(source)
        self._prices.setdefault(source, self._price)

    def paused(self, source: str, now: int) -> bool:
        """Whether nothing of it may be read."""
        return self._until.get(source, 0) > now

    def suspect(self, source: str, count: int, now: int) -> None:
        """So many more of its frames were set aside and are being staged, or less."""
        self._suspects[source] += count
        self.ever_slowed.add(source)
        self._prices.setdefault(source, self._price)
        self._forget(source, now)

    def slowed(self, source: str, now: int) -> bool:
        """Whether all its frames are taken for heavy ones."""
        return self.paused(source, now) or self._suspects[source] > 0

    def all_paused(self, now: int) -> list[str]:
        """Everybody who is not read, at the end of a step; the others have paid."""
        for source in [source for source, until in self._until.items() if until <= now]:
            del self._until[source]
            self._forget(source, now)
        return list(self._until)

    def next_ns(self) -> int | None:
        """When the next has paid."""
        return min(self._until.values(), default=None)

    def _forget(self, source: str, now: int) -> None:
        if not self.sessions[source] and not self.slowed(source, now):
            del self.sessions[source]
            self._prices.pop(source, None)
