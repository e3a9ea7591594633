"""Looks at the process's memory many times a second, and keeps what nobody counts within its bound.

Why a thread: the event loop may be busy while bytes come in, since gRPC receives in threads of its own. A look costs
some microseconds; only when it finds a lot is anything else asked.

Trap: a connection may be ended only if it is to blame, and what was ended a moment ago takes its time to become free.
So free memory is given back first; the largest are ended until what the *others* have sent is below the bound; and
nobody who holds less than a megabyte.

Its calls get a status that says why, if the event loop gets to it in time; then the connection is cut, since bytes may
belong to a call that no handler of ours has seen.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from reidstream_server.logs import get_logger

from .rule import Act, Measured, WatchRule

log = get_logger(__name__)

LOOK_S = 0.1
LOOK_SOON_S = 0.02
SETTLE_S = 60.0
ENDING_S = 0.25
FALLING_BYTES = 8 * 2**20
UNEXPLAINED_S = 1.0
BLAMED_BYTES = 2**20
_SAY_AGAIN_S = 60.0


class Holder(Protocol):
    """A connection, and how many bytes it holds."""

    @property
    def peer(self) -> str:
        """Its other end."""
        ...

    @property
    def bytes(self) -> int:
        """What it has sent and nobody has read."""
        ...

    @property
    def calls(self) -> int:
        """Open ones."""
        ...


class Receiving(Protocol):
    """A door's connections. Any thread."""

    __slots__ = ()

    @abstractmethod
    def holders(self) -> Sequence[Holder]:
        """Every connection, the one that holds most first."""
        ...

    @abstractmethod
    def settle(self, *, little: bool) -> None:
        """Forget connections that are closed. `little`: is held by all together."""
        ...

    @abstractmethod
    def end_calls(self, peer: str, why: str) -> None:
        """Have the calls of a connection end."""
        ...

    @abstractmethod
    def ending(self, peer: str) -> bool:
        """Whether a call is open that is to end."""
        ...

    @abstractmethod
    def cut(self, peer: str) -> bool:
        """End a connection; False if it is not there."""
        ...


class Together(Receiving):
    """Several doors as one. Any thread."""

    def __init__(self, doors: Sequence[Receiving]) -> None:
        self._doors = doors

    @override
    def holders(self) -> Sequence[Holder]:
        found = [holder for door in self._doors for holder in door.holders()]
        return sorted(found, key=lambda holder: (-holder.bytes, -holder.calls))

    @override
    def settle(self, *, little: bool) -> None:
        for door in self._doors:
            door.settle(little=little)

    @override
    def end_calls(self, peer: str, why: str) -> None:
        for door in self._doors:
            door.end_calls(peer, why)

    @override
    def ending(self, peer: str) -> bool:
        return any(door.ending(peer) for door in self._doors)

    @override
    def cut(self, peer: str) -> bool:
        return any(door.cut(peer) for door in self._doors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """How the watch measures and acts; tests give others. `counted`: what is accounted for, asked of the event loop."""

    private_bytes: Callable[[], int | None]
    counted_bytes: Callable[[], int]
    give_back: Callable[[], object]
    clock: Callable[[], float] = time.monotonic


class MemoryWatch:
    """`with` it; the thread ends with it. `bound_bytes`: for the messages to clients."""

    def __init__(self, rule: WatchRule, receiving: Receiving, senses: Senses, *, bound_bytes: int) -> None:
        self._rule = rule
        self._receiving = receiving
        self._senses = senses
        self._bound = bound_bytes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)
        self._settled_s = senses.clock()
        self._said_s = self._fell_s = float("-inf")
        self._lowest: int | None = None
        self._ending: dict[str, float] = {}
        self.ended_connections = 0
        self.given_back = 0

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits for the look that is under way. Harmless to repeat, and without a start."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        pause = LOOK_S
        while not self._stop.wait(pause):
            try:
                pause = self.look()
            except Exception as error:  # noqa: BLE001 - memory is watched whatever happens
                log.failure("memory_watch_failed", error)
                pause = LOOK_S

    def look(self) -> float:
        """One look, and what follows from it. Returns when to look again, in seconds."""
        private, now = self._senses.private_bytes(), self._senses.clock()
        if private is None:
            return LOOK_S
        self._cut_ended(now)
        if not self._rule.needs_accounts(private):
            self._settle(now, little=True)
            return self._pause(private)
        measured = Measured(now_s=now, private_bytes=private, counted_bytes=self._senses.counted_bytes())
        self._settle(now, little=self._rule.little(measured))
        match self._rule.decide(measured):
            case Act.NOTHING:
                self._lowest = None
            case Act.GIVE_BACK:
                self._senses.give_back()
                self.given_back += 1
                self._rule.gave_back(measured, self._senses.private_bytes() or 0)
                return 0.0
            case Act.END_CALLS:
                self._end_calls(measured)
                return LOOK_SOON_S
        return self._pause(private)

    def _pause(self, private: int) -> float:
        return LOOK_SOON_S if self._rule.near(private) or self._ending else LOOK_S

    def _settle(self, now: float, *, little: bool) -> None:
        if now - self._settled_s > SETTLE_S:
            self._settled_s = now
            self._receiving.settle(little=little)

    def _end_calls(self, measured: Measured) -> None:
        """Blame whoever holds most, so many that the rest is well below the bound."""
        uncounted, now = self._rule.uncounted(measured), measured.now_s
        blamed = self._blamed(uncounted, patient=self._patient(measured))
        for holder in blamed:
            self._receiving.end_calls(holder.peer, self._why(holder))
            self._ending[holder.peer] = now
            log.warning(
                "receiving_full",
                peer=holder.peer,
                held_bytes=holder.bytes,
                calls=holder.calls,
                uncounted_bytes=uncounted,
                bound_bytes=self._bound,
            )
        if blamed:
            self.ended_connections += len(blamed)
            self._rule.ended_calls()
            self._lowest = None
        elif not self._patient(measured) and now - self._said_s > _SAY_AGAIN_S:
            self._said_s = now
            log.warning("memory_over_bound", uncounted_bytes=uncounted, bound_bytes=self._bound)

    def _patient(self, measured: Measured) -> bool:
        """Whether memory that nobody holds any more may still be on its way to become free: it has fallen lately."""
        private, now = measured.private_bytes, measured.now_s
        if self._lowest is None or private < self._lowest - FALLING_BYTES:
            self._lowest, self._fell_s = private, now
        return now - self._fell_s < UNEXPLAINED_S

    def _blamed(self, uncounted: int, *, patient: bool) -> Sequence[Holder]:
        """The fewest connections without which what the others have sent is well below the bound. If it is below it
        anyway, memory may be free in a moment; if it is not, small pieces cost more memory than bytes.
        """
        found = [holder for holder in self._receiving.holders() if holder.peer not in self._ending]
        sent, allowed = sum(holder.bytes for holder in found), self._bound * 3 // 4
        if not sent or (sent <= allowed and patient):
            return [] if patient else found[:1]  # where the kernel does not say who has sent what
        weight = 1.0 if sent > allowed else uncounted / sent
        excess = sent * weight - allowed
        blamed = []
        for holder in found:
            if holder.bytes < BLAMED_BYTES or excess <= 0:
                break
            blamed.append(holder)
            excess -= holder.bytes * weight
        return blamed

    def _cut_ended(self, now: float) -> None:
        """Cut the connections whose calls were ended, when these are over or take too long: whatever else they hold
        becomes free.
        """
        for peer, since_s in tuple(self._ending.items()):
            if now - since_s >= ENDING_S or not self._receiving.ending(peer):
                self._receiving.cut(peer)
                del self._ending[peer]

    def _why(self, holder: Holder) -> str:
        return (
            f"the server holds more unfinished messages than its limit of {self._bound} bytes (max_receiving_bytes), "
            f"and this connection holds {holder.bytes} bytes of them; send fewer messages at a time, or smaller ones"
        )
