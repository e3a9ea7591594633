"""Who pays for reading, after every step: what was read for nothing, and what took longer than usual.

Each piece of reading counts once: what is refused, or finds no room, is charged at once (see `events`). What takes
longer than usual counts when the frame comes, and the rest of it if the frame is given up before any work was done for
it. Trap: all frames of a source that pays are heavy, in this very step. So this is settled before its effects are
judged, and looks at them for what has just been decided.
"""

from __future__ import annotations

from collections.abc import Sequence

from reidstream_server.core.effects import Answer, Effect
from reidstream_server.core.faults import SESSION_LOST, FrameFault

from .books import Books, FrameBook, Pixels, Violation
from .probe import remembered
from .situations import Situation

ANSWERING_NS = 200_000
USUAL_FRAME_NS, USUAL_CROP_NS, USUAL_BYTE_NS = 500_000, 50_000, 1


class Reading:
    """Watches it, step by step."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._sources = {client.terms.source for client in books.scenario.clients}

    def settle(self, effects: Sequence[Effect[FrameBook]], now: int) -> None:
        """After an event, before its effects."""
        books = self._books
        answers = {effect.payload: effect.fault for effect in effects if isinstance(effect, Answer)}
        for frame in books.frames.values():
            if frame.unpaid_ns:
                self._count(frame, answers)
        for _ in books.accounts.settle(now):
            books.seen[Situation.READ_TOO_MUCH] += 1

    def check(self, now: int) -> None:
        """After a step: exactly those are not read who have to pay, for as long as they have to; who is remembered."""
        books = self._books
        books.checks += 2
        for source in self._sources:
            until, expected = books.scheduler.paused_until_ns(source), books.accounts.until_ns(source)
            if until != expected:
                raise Violation("payment", f"{source} is not read until {until}; it should be until {expected}")
        books.accounts.forget(now)
        names = remembered(books.scheduler)
        before = books.accounts.left
        wrong = books.accounts.forget_buckets(names)
        if wrong is not None:
            raise Violation("remembered sources", wrong)
        books.seen[Situation.SOURCE_FORGOTTEN] += before - books.accounts.left

    def _count(self, frame: FrameBook, answers: dict[FrameBook | None, FrameFault | None]) -> None:
        """What is for nothing of reading it, as far as that is known now."""
        seen, source = self._books.seen, frame.client.plan.terms.source
        usual = usual_ns(frame)
        if frame.view is not None and not frame.view.resolved:
            if frame.unpaid_ns > usual:
                self._books.accounts.read_for_nothing(source, frame.unpaid_ns - usual)
                frame.unpaid_ns = usual
                seen[Situation.READ_SLOWLY] += 1
            return
        if frame.pixels is Pixels.NOWHERE:
            known = SESSION_LOST if frame.view is None else frame.view.fault  # nobody sees what became of it
            fault = answers.get(frame, known)
            answering_ns = ANSWERING_NS if fault not in (None, SESSION_LOST) else 0
            self._books.accounts.read_for_nothing(source, frame.unpaid_ns + answering_ns)
            seen[Situation.READ_AND_GIVEN_UP] += answering_ns > 0
            seen[Situation.READ_AND_LOST] += fault == SESSION_LOST
            seen[Situation.READ_EMPTY] += fault is None
        frame.unpaid_ns = 0


def usual_ns(frame: FrameBook) -> int:
    """What reading it may take: no longer than its work, beside its pixels."""
    reading_ns = USUAL_FRAME_NS + USUAL_CROP_NS * frame.boxes
    return min(reading_ns, frame.cost_ns) + USUAL_BYTE_NS * frame.plan.message_bytes
