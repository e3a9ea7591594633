"""What probes are told: whether the process is alive, and whether it takes frames.

Alive: its event loop turns, and no engine is lost. Ready: also, its models are loaded, and it is not leaving. A process
that is alive and not ready needs no restart.

Trap: probes ask in the operators' thread. The look is the event loop's own, so one that stands still gives no answer,
which is the answer.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from dataclasses import dataclass

from reidstream_server.runtime.runtime import Runtime

PATIENCE_S = 5.0
"""How long an event loop may take to turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer to a probe, and why."""

    good: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen at one moment."""

    alive: Verdict
    ready: Verdict


class Health:
    """Any thread's loop may await `look`. `serves` and `over` are the server's event loop's."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._serving: tuple[Runtime, asyncio.AbstractEventLoop] | None = None
        self._otherwise = _alive_not_ready("the models are loading")

    def serves(self, runtime: Runtime) -> None:
        """The doors are open, on the running loop."""
        self._serving = (runtime, asyncio.get_running_loop())

    def over(self) -> None:
        """The doors are closed for good."""
        self._serving, self._otherwise = None, _alive_not_ready("the server has stopped")

    async def look(self) -> Look:
        """How it is, now."""
        if self._serving is None:
            return self._otherwise
        runtime, loop = self._serving
        seen: concurrent.futures.Future[Look] = concurrent.futures.Future()

        def take() -> None:
            if seen.set_running_or_notify_cancel():
                seen.set_result(look_at(runtime))

        try:
            loop.call_soon_threadsafe(take)
            async with asyncio.timeout(self._patience_s):
                return await asyncio.wrap_future(seen)
        except RuntimeError:  # the loop is closed
            return self._otherwise
        except TimeoutError:
            return _neither(f"the event loop has not turned for {self._patience_s:g} s")


def look_at(runtime: Runtime) -> Look:
    """How it is, now. On its event loop."""
    died = runtime.engine_died
    if died.done() and not died.cancelled():
        return _neither(f"an engine is lost: {died.result()}")
    if runtime.leaving:
        return _alive_not_ready("the server is leaving")
    good = Verdict(good=True, why="ok")
    return Look(alive=good, ready=good)


def _alive_not_ready(why: str) -> Look:
    return Look(alive=Verdict(good=True, why=why), ready=Verdict(good=False, why=why))


def _neither(why: str) -> Look:
    bad = Verdict(good=False, why=why)
    return Look(alive=bad, ready=bad)
