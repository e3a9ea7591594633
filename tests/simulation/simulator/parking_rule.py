"""Who waits for room, and who may go before whom.

Whoever waits and holds nothing is passed only by what is much smaller, or whose source holds less, and those that are
much smaller and have passed hold a part of each bound at most. Nobody waits for room that is there, but for those
rules; and the sessions of one camera take turns. Trap: a bound is shared by the frames of one camera, and those of one
source, so what they hold counts twice: it is not free either.
"""

from __future__ import annotations

from collections.abc import Mapping

from reidstream_server.core.terms import Flow

from .books import Books, ClientBook, FrameBook, Violation
from .reported import PASSED_PART
from .situations import Situation
from .tally import InTurn, Tally

MUCH_SMALLER, LEFT_PART = 4, 4


def own_of(held: Mapping[Flow, int], flow: Flow) -> float:
    """What a camera is thought to hold: half of it is its source's."""
    return (held.get(flow, 0) + sum(held[other] for other in held if other.client == flow.client)) / 2


def fits(amount: int, *, most: int, taken: int, own: float) -> bool:
    """Whether a holder with `own` of what is taken may have so much more."""
    if not amount or not taken:
        return amount <= most
    return own + amount + min(amount, most // LEFT_PART) <= most - taken


def share(books: Books, frame: FrameBook) -> float:
    """How much of the queue a frame takes: of the bound that it takes most of."""
    limits = books.scenario.limits
    return max(
        frame.boxes / limits.max_queue_boxes,
        frame.plan.message_bytes / limits.max_queue_bytes,
        frame.plan.answer_bytes / limits.max_held_answer_bytes,
    )


class Parking:
    """Watches it, step by step."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._limits = books.scenario.limits
        self._places = 0
        self._was = Tally()

    def step(self, tally: Tally) -> None:
        """After a step."""
        self._turns(tally)
        self._room(tally)
        self._was = tally

    def others_first(self, frame: FrameBook) -> bool:
        """Whether somebody who waits, since the last step, goes before a frame that comes now."""
        was, flow = self._was, frame.client.flow
        return any(
            client.flow == flow
            or (self._goes_before(was, client.flow, flow) and not self._may_pass(was, frame, client.parked))
            for client in self._books.clients.values()
            if client.parked is not None and client is not frame.client and client.known
        )

    def _turns(self, tally: Tally) -> None:
        """Nobody was passed who should not be."""
        books = self._books
        waiting = [
            client for client in books.clients.values() if client.place is not None and client.parked is not None
        ]
        for frame in tally.admitted:
            came = frame.client.place
            for client in waiting:
                if client is frame.client or client.place is None or (came is not None and came < client.place):
                    continue
                had_nothing = not self._held(client.flow) and not self._holds(tally, client.flow)
                had_nothing = had_nothing and self._held_less(tally, client.flow.client, frame.client.flow.client)
                parked = client.parked
                smaller = parked is not None and MUCH_SMALLER * share(books, frame) <= share(books, parked)
                if client.flow == frame.client.flow or (had_nothing and not smaller):
                    raise Violation("parking", f"{frame} was let in before {client.parked}")
                if had_nothing and frame.view is not None and not frame.view.passed:
                    raise Violation("passing", f"{frame} passed {client.parked}, and does not count")
                books.seen[Situation.PASSED] += had_nothing
        for client in books.clients.values():
            if client.parked is None:
                client.place = None
            elif client.place is None:
                self._places += 1
                client.place = self._places

    def _held_less(self, tally: Tally, waiting: str, source: str) -> bool:
        """Whether a source surely held no more than another when that one's frame was let in, in this step."""
        if waiting == source:
            return True
        came = InTurn()
        for frame in tally.admitted:
            in_turn = frame.view is not None and not frame.view.passed
            came.boxes[frame.client.flow.client] += frame.boxes * in_turn
            came.bytes[frame.client.flow.client] += frame.plan.message_bytes * in_turn
            came.answers[frame.client.flow.client] += frame.plan.answer_bytes * in_turn
        most = self._part(waiting, self._was.in_turn, came, 1)
        return most <= self._part(source, tally.in_turn, came, -1)

    def _part(self, source: str, held: InTurn, more: InTurn, times: int = 1) -> float:
        """How much of the queue a source holds: of the bound that it holds most of."""
        limits = self._limits
        return max(
            (held.boxes[source] + times * more.boxes[source]) / limits.max_queue_boxes,
            (held.bytes[source] + times * more.bytes[source]) / limits.max_queue_bytes,
            (held.answers[source] + times * more.answers[source]) / limits.max_held_answer_bytes,
        )

    def _goes_before(self, tally: Tally, waiting: Flow, flow: Flow) -> bool:
        """Whether one that waits lets in only what is much smaller, of another camera."""
        if self._holds(tally, waiting):
            return False
        none = InTurn()
        parts = (self._part(source, tally.in_turn, none) for source in (waiting.client, flow.client))
        return waiting.client == flow.client or next(parts) <= next(parts)

    def _room(self, tally: Tally) -> None:
        """Nobody waits who might go."""
        waiting = sorted((client for client in self._books.clients.values() if client.parked), key=_place)
        flows: set[Flow] = set()
        blocking: dict[str, FrameBook] = {}
        for client in waiting:
            frame = client.parked
            if frame is None:
                continue
            in_turn = client.flow not in flows
            flows.add(client.flow)
            others = [other for other in blocking.values() if self._goes_before(tally, other.client.flow, client.flow)]
            may_go = in_turn and all(self._may_pass(tally, frame, other) for other in others)
            if may_go and self._fits(tally, frame):
                if self._holds(tally, client.flow) and self._blocked_later(tally, waiting, client):
                    continue
                raise Violation("parking", f"{frame} waits, though there is room")
            smallest = blocking.get(client.flow.client)
            smaller = smallest is None or share(self._books, frame) < share(self._books, smallest)
            if not self._holds(tally, client.flow) and smaller:
                blocking[client.flow.client] = frame

    def _blocked_later(self, tally: Tally, waiting: list[ClientBook], own: ClientBook) -> bool:
        """Whether somebody who holds nothing waits behind a camera that holds something, and goes first."""
        behind = waiting[waiting.index(own) + 1 :]
        frames = [other.parked for other in behind if self._goes_before(tally, other.flow, own.flow)]
        return any(
            frame is not None and own.parked is not None and not self._may_pass(tally, own.parked, frame)
            for frame in frames
        )

    def _fits(self, tally: Tally, frame: FrameBook) -> bool:
        limits, flow = self._limits, frame.client.flow
        return (
            fits(
                frame.boxes,
                most=limits.max_queue_boxes,
                taken=tally.queue_boxes,
                own=own_of(tally.flow_boxes, flow),
            )
            and fits(
                frame.plan.message_bytes,
                most=limits.max_queue_bytes,
                taken=tally.queue_bytes,
                own=own_of(tally.flow_bytes, flow),
            )
            and self._answer_fits(tally, frame)
        )

    def _answer_fits(self, tally: Tally, frame: FrameBook) -> bool:
        room = fits(
            frame.plan.answer_bytes,
            most=self._limits.max_held_answer_bytes,
            taken=tally.answer_bytes,
            own=own_of(tally.flow_answers, frame.client.flow),
        )
        self._books.seen[Situation.ANSWERS_HELD] += not room
        return room

    def _may_pass(self, tally: Tally, frame: FrameBook, other: FrameBook) -> bool:
        books, limits = self._books, self._limits
        return (
            MUCH_SMALLER * share(books, frame) <= share(books, other)
            and PASSED_PART * (tally.passed_boxes + frame.boxes) <= limits.max_queue_boxes
            and PASSED_PART * (tally.passed_bytes + frame.plan.message_bytes) <= limits.max_queue_bytes
            and PASSED_PART * (tally.passed_answers + frame.plan.answer_bytes) <= limits.max_held_answer_bytes
        )

    def _holds(self, tally: Tally, flow: Flow) -> bool:
        return bool(tally.flow_boxes[flow] or tally.flow_answers[flow])

    def _held(self, flow: Flow) -> bool:
        return bool(self._books.flow_boxes[flow] or self._books.flow_answers[flow])


def _place(client: ClientBook) -> int:
    return client.place or 0
