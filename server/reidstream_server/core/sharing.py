"""A bounded amount that nobody can have alone: one rule for everything that the server holds for its clients.

A holder may have as much as is still free (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
packet switches", 1998, with factor 1). So one greedy holder gets at most half, two get a third each, and there is room
for a newcomer whoever is there. What is taken at once leaves as much room as it takes, up to a part of the whole: the
large ones leave room for the smaller, and those for the smallest.

Trap: there is no end of names of holders, so one that holds nothing is forgotten.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)

LEFT_PART = 4
"""Nobody has to leave more room than one part in so many."""


class Pool(Generic[H]):
    """`most`: the bound, in whatever is counted. Not thread-safe."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken = 0
        self._by_holder: dict[H, int] = {}

    @property
    def taken(self) -> int:
        """By all holders."""
        return self._taken

    def of(self, holder: H) -> int:
        """What one holder has."""
        return self._by_holder.get(holder, 0)

    @property
    def largest(self) -> int:
        """What the holder has that has most. Looks at every holder."""
        return max(self._by_holder.values(), default=0)

    def fits(self, holder: H, amount: int) -> bool:
        """Whether the holder may take so much now. True for nothing. Where nothing is taken, all there is may be: what
        is as large as the bound must fit at some time.
        """
        return self.fits_beside(self._by_holder.get(holder, 0), amount)

    def fits_beside(self, own: float, amount: int) -> bool:
        """The same, for whoever counts as if he had `own`."""
        if not amount or not self._taken:
            return amount <= self.most
        left = min(amount, self.most // LEFT_PART)
        return own + amount + left <= self.most - self._taken

    def take(self, holder: H, amount: int) -> None:
        """The holder has so much more. Whoever takes what does not fit answers for it."""
        if amount:
            self._taken += amount
            self._by_holder[holder] = self._by_holder.get(holder, 0) + amount

    def give_back(self, holder: H, amount: int) -> None:
        """The holder has so much less."""
        if amount:
            self._taken -= amount
            self._by_holder[holder] -= amount
            if not self._by_holder[holder]:
                del self._by_holder[holder]
