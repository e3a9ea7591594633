"""Time: everything happens in the order of a heap, and servers are woken when they asked to be.

After a drain or a cut a client finds another server; the first one goes on for the others.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from .books import Violation, check
from .client import Client
from .outcome import Outcome
from .plan import START_NS, Scenario
from .server import Server

_MOST_EVENTS = 200_000


class World:
    """One run."""

    def __init__(self, scenario: Scenario) -> None:
        self.now = START_NS
        self._scenario = scenario
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._servers: list[Server] = [Server(self, scenario)]
        self.clients = [Client(self, plan, self._another) for plan in scenario.clients]
        self._opened = 0
        self.events = 0

    def at(self, when: int, what: Callable[[], None]) -> None:
        """Have it done then, behind what is to be done at that time already."""
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), what))

    def run(self) -> Outcome:
        """Let everything happen."""
        violation: Violation | None = None
        try:
            self._run()
        except Violation as found:
            violation = found
        except Exception as error:  # noqa: BLE001 - whatever it raises is a fault of what is tested
            violation = Violation("crash", repr(error))
        return Outcome(
            scenario=self._scenario,
            violation=violation,
            events=self.events,
            checks=sum(server.checks for server in self._servers),
            moves=sum(client.moves for client in self.clients),
            verdicts=tuple(client.verdict for client in self.clients),
        )

    def _run(self) -> None:
        for client in self.clients:
            client.begin()
        while not all(client.done for client in self.clients):
            self.events += 1
            check("end", self.events < _MOST_EVENTS, "it does not end")
            dues = [(due, server) for server in self._servers if (due := server.due_ns()) is not None]
            due = min((due for due, _ in dues), default=None)
            if due is not None and (not self._heap or due <= self._heap[0][0]):
                self.now = max(self.now, due)
                for its, server in dues:
                    if its <= self.now:
                        server.on_timer()
                continue
            check("end", self._heap, "nothing is left to happen, and a client waits")
            self.now, _, what = heapq.heappop(self._heap)
            what()
        for client in self.clients:
            client.verdict.over()
        for server in self._servers:
            check("given back", not server.sessions, "a session is left")
            figures = server.room.figures()
            check("given back", (figures.open, figures.bytes) == (0, 0), figures)

    def _another(self) -> Server:
        """The first streams share a server; each later one has a new one, or an old one."""
        self._opened += 1
        if self._opened <= len(self._scenario.clients):
            return self._servers[0]
        if self._opened % 3 == 0:
            return self._servers[0]
        self._servers.append(Server(self, self._scenario))
        return self._servers[-1]
