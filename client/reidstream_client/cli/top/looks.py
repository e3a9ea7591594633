"""Two answers of the server, and the rates between them.

Why by the server's clock: each session says how long it has been open, so a rate does not depend on how long an answer
was on its way. Trap: a server that was started again counts anew, under the numbers of other sessions. So answers of
two processes are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reidstream_client.admin import OpenSession, ServerSessions, ServerState, SessionDetail

HUNDRED = 100.0
SHORTEST_S = 0.5
"""Rates of less time say little: a camera sends ten frames a second, or none in that moment."""

UNREAD_S = 1.0
"""A client that has read none of its waiting answers for longer is seen as one that does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of one session, a second, between two answers that are `interval_s` apart. `lost`: given up or failed."""

    interval_s: float
    answered_fps: float
    given_up_fps: float
    failed_fps: float
    received_bytes_per_s: float

    @property
    def lost_fps(self) -> float:
        """Frames without vectors."""
        return self.given_up_fps + self.failed_fps

    @property
    def lost_percent(self) -> float | None:
        """Of the frames that were answered at all; None where there were none."""
        every = self.answered_fps + self.lost_fps
        return HUNDRED * self.lost_fps / every if every else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A session in the newest answer. `rates`: None where the answer before does not have it."""

    session: OpenSession
    rates: Rates | None

    @property
    def state(self) -> str:
        """The first of these that is so: what an operator should look at."""
        session, rates = self.session, self.rates
        busy = session.window_frames > 0 or rates is None or rates.answered_fps > 0
        states = {
            "draining": session.draining,
            "not reading": session.unread_s > UNREAD_S,
            "paused": session.paused,
            "parked": session.parked,
            "slowed": session.slowed,
            "losing": rates is not None and rates.lost_fps > 0,
            "window full": session.held,
            "finishing": session.half_closed,
            "ok": busy,
        }
        return next((word for word, so in states.items() if so), "idle")

    @property
    def suffers(self) -> bool:
        """Whether an operator should look at it first."""
        return self.state in {"not reading", "paused", "parked", "slowed", "losing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The newest answer with its rates."""

    answer: ServerSessions
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailLook:
    """The newest answer about one session."""

    answer: SessionDetail
    seen: Seen


@dataclass(frozen=True, slots=True)
class _Known:
    """A session in the newest answer that counts, and in the one before that."""

    newest: OpenSession
    before: OpenSession | None = None

    def then(self, now: OpenSession) -> tuple[_Known, Rates | None]:
        """With the next answer. One that comes very soon is compared with the answer before."""
        if self.before is not None and now.open_s - self.newest.open_s < SHORTEST_S:
            return self, rates_between(self.before, now)
        return _Known(now, self.newest), rates_between(self.newest, now)


@dataclass(slots=True)
class Looks:
    """The answers of one server, one after the other."""

    _instance: str = ""
    _known: dict[int, _Known] = field(default_factory=dict)

    def look(self, answer: ServerSessions) -> Look:
        """The next answer about all sessions."""
        self._of(answer.server)
        seen = tuple(map(self._seen, answer.sessions))
        self._known = {one.number: self._known[one.number] for one in answer.sessions}
        return Look(answer=answer, seen=seen)

    def look_at(self, answer: SessionDetail) -> DetailLook:
        """The next answer about one session; what is known of the others stays."""
        self._of(answer.server)
        return DetailLook(answer=answer, seen=self._seen(answer.session))

    def _of(self, server: ServerState) -> None:
        if server.instance != self._instance:
            self._instance = server.instance
            self._known = {}

    def _seen(self, session: OpenSession) -> Seen:
        known, rates = self._known.get(session.number), None
        if known is None:
            known = _Known(session)
        else:
            known, rates = known.then(session)
        self._known[session.number] = known
        return Seen(session=session, rates=rates)


def rates_between(before: OpenSession, now: OpenSession) -> Rates | None:
    """None where there is no time between the two."""
    interval_s = now.open_s - before.open_s
    if interval_s <= 0:
        return None
    return Rates(
        interval_s=interval_s,
        answered_fps=(now.answered - before.answered) / interval_s,
        given_up_fps=(now.given_up - before.given_up) / interval_s,
        failed_fps=(now.failed - before.failed) / interval_s,
        received_bytes_per_s=(now.received_bytes - before.received_bytes) / interval_s,
    )
