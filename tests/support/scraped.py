"""Servers as a real Prometheus sees them: a target for each fault, and which alerts are active there.

Why a forwarder: a server that starts again has another port, and a target is one address. Nothing else is changed on
the way.

Trap: a slow machine may make any alert active for a moment. So a test waits until what is active has been what it
should be for as long as the rules look back; a rule that is wrong is wrong all that time, and a machine that stood
still is not. And on a machine that is too slow for so many scrapes, nothing settles: then every time in the rules, and
the time between two scrapes, is doubled while Prometheus runs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.patience import HANG_S
from tests.support.prometheus import Prometheus

POLL_S = 0.1
LOOK_BACK_STEPS = 8
"""So many scrapes are in the window of five minutes, the shortest that rates look back."""
PATIENT_STEPS = 80
"""Several times as long as any fault takes to be seen, or to be forgotten."""


@dataclass(slots=True, eq=False)
class Target:
    """An address that Prometheus scrapes. `to`: the port of metrics that answers there; None: nobody does."""

    name: str
    port: int = 0
    to: int | None = None
    _open: set[asyncio.Task[Any]] = field(default_factory=set)

    def point(self, to: int | None) -> None:
        """Have another server answer, or nobody. Connections that are open end."""
        self.to = to
        for task in self._open:
            task.cancel()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One of Prometheus's connections."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        writers = [writer]
        try:
            if self.to is not None:
                there, back = await asyncio.open_connection("127.0.0.1", self.to)
                writers.append(back)
                await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        except (OSError, asyncio.CancelledError):
            pass  # as a server that is gone
        for each in writers:
            each.close()
        for each in writers:
            with suppress(OSError, asyncio.CancelledError):
                await each.wait_closed()
        self._open.discard(task)

    async def closed(self) -> None:
        """Return when no connection is left."""
        self.point(None)
        await asyncio.sleep(0)  # one that has just come
        while self._open:
            await asyncio.wait(self._open)


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


@asynccontextmanager
async def listening(target: Target) -> AsyncIterator[Target]:
    """A target with its port open."""
    server = await asyncio.start_server(target.connected, "127.0.0.1", 0)
    target.port = server.sockets[0].getsockname()[1]
    try:
        yield target
    finally:
        server.close()
        await target.closed()


def write_targets(file: Path, targets: Iterable[Target]) -> None:
    """For Prometheus's discovery by file, all at once. The label `fault` is the target's name."""
    found = [{"targets": [f"127.0.0.1:{target.port}"], "labels": {"fault": target.name}} for target in targets]
    new = file.with_suffix(".new")
    new.write_text(json.dumps(found), encoding="utf-8")
    new.replace(file)


Active = frozenset[tuple[str, str, str]]
"""Alerts of one target: name, severity, state (pending or firing)."""


@dataclass(frozen=True, slots=True)
class Look:
    """Which alerts were active for each target, and when the rules were evaluated for it."""

    active: dict[str, Active]
    evaluated_s: float
    annotations: frozenset[str]


class AlertWatch:
    """Looks at a Prometheus's alerts again and again, for all who wait. `annotations`: every text seen so far.

    `configure`: writes rules and configuration for so many seconds between two scrapes.
    """

    def __init__(self, prometheus: Prometheus, configure: Callable[[float], None], step_s: float) -> None:
        self.annotations: set[str] = set()
        self._prometheus = prometheus
        self._configure = configure
        self._step_s = step_s
        self._look = Look({}, 0.0, frozenset())
        self._news = asyncio.Event()
        self._settled_s = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._look = await asyncio.to_thread(self._read)
            self.annotations |= self._look.annotations
            self._news.set()
            self._news = asyncio.Event()
            if time.monotonic() - self._settled_s > PATIENT_STEPS * self._step_s:
                self._step_s *= 2
                self._settled_s = time.monotonic()
                await asyncio.to_thread(self._stretch)
            await asyncio.sleep(POLL_S)

    async def settled(self, name: str, alerts: Iterable[tuple[str, str]]) -> None:
        """Return when exactly these alerts have been firing for a target, and none was pending, for as long as rules
        look back, by the clock of evaluations. `alerts`: name and severity of each.
        """
        wanted = frozenset((alert, severity, "firing") for alert, severity in alerts)
        since_s: float | None = None
        try:
            async with asyncio.timeout(HANG_S):
                while since_s is None or self._look.evaluated_s - since_s < LOOK_BACK_STEPS * self._step_s:
                    await self._news.wait()
                    if self._look.active.get(name, frozenset()) != wanted:
                        since_s = None
                    elif since_s is None:
                        since_s = self._look.evaluated_s
        except TimeoutError:
            found = sorted(self._look.active.get(name, frozenset()))
            raise AssertionError(f"{name!r}: active are {found}, and not {sorted(wanted)}") from None
        self._settled_s = time.monotonic()

    async def values(self, expr: str) -> list[str]:
        """What an expression gives now."""
        found = await asyncio.to_thread(self._prometheus.query, expr)
        return [series["value"][1] for series in found]

    async def differs(self, expr: str, values: list[str]) -> None:
        """Return when an expression gives something else."""
        while await self.values(expr) == values:
            await self._news.wait()

    def _stretch(self) -> None:
        self._configure(self._step_s)
        self._prometheus.reload()

    def _read(self) -> Look:
        groups = self._prometheus.ask("rules", type="alert")["groups"]
        active: dict[str, set[tuple[str, str, str]]] = {}
        annotations: set[str] = set()
        for group in groups:
            for rule in group["rules"]:
                for alert in rule["alerts"]:
                    labels = alert["labels"]
                    key = (labels["alertname"], labels["severity"], alert["state"])
                    active.setdefault(labels.get("fault", ""), set()).add(key)
                    annotations.update(alert["annotations"].values())
        evaluated_s = min((_seconds(group["lastEvaluation"]) for group in groups), default=0.0)
        return Look({name: frozenset(found) for name, found in active.items()}, evaluated_s, frozenset(annotations))


def _seconds(text: str) -> float:
    """Of a time with nanoseconds, as Go writes it."""
    whole, _, rest = text.partition(".")
    digits = rest.rstrip("Z") if rest else "0"
    with suppress(ValueError):
        return datetime.fromisoformat(whole.removesuffix("Z") + "+00:00").timestamp() + float(f"0.{digits}")
    return 0.0
