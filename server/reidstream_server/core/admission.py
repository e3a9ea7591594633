"""The bounds of the queue: boxes that are not answered yet, bytes of messages that are not staged yet, and bytes of
vectors that are not written yet.

A flow may hold as much as is still free (see `sharing`). What it holds is the mean of its own and its whole source's:
for the only camera of a source that is the same, and a source with hundreds of cameras leaves a third to others, and
room for one more of its own. A session may park one frame that does not fit; parked frames wait here, in the order of
parking, and their messages have a bound of their own, shared by sources.

Traps: with many greedy flows, the free room can stay smaller than a large frame for ever. So the first parked frame
whose flow holds nothing lets nobody else in until it fits. A flow that holds something makes only its own later frames
wait, of all its sessions. But then a few large frames would make every small camera wait for them. So a frame that is
much smaller passes them; those that have passed hold a part of each bound at most, so the large ones get in, too. And a
source with hundreds of cameras has always some that hold nothing. So they let in whoever's source holds less, without
what has passed: a source of which all the rest is done goes first.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from .sharing import Pool
from .state import FrameState, SessionState, Unwritten
from .terms import Bound, Flow, SchedulerLimits, SessionKey

P = TypeVar("P")

MUCH_SMALLER = 4
"""A frame passes one that waits and takes so many times as much of the queue."""

PASSED_PART = 6
"""Those that have passed hold at most one part in so many of each bound. So half of it fits beside them, even if they
are all of the same source.
"""


class _Room:
    """One bound of the queue. `passed`: what frames hold of it that have passed others; `in_turn`: the others, by
    sources. The client of a holder is its source.
    """

    def __init__(self, most: int) -> None:
        self.pool: Pool[Flow] = Pool(most)
        self.sources: Pool[str] = Pool(most)
        self.in_turn: Pool[str] = Pool(most)
        self.passed = 0

    def fits(self, flow: Flow, amount: int) -> bool:
        """Whether the flow may take so much now."""
        return self.pool.fits_beside((self.pool.of(flow) + self.sources.of(flow.client)) / 2, amount)

    def part(self, source: str) -> float:
        """How much of the bound the source holds, without what has passed others."""
        return self.in_turn.of(source) / self.in_turn.most

    def may_pass(self, amount: int) -> bool:
        """Whether a frame that takes so much may still pass others."""
        return self.passed + amount <= self.pool.most // PASSED_PART

    def take(self, flow: Flow, amount: int, *, passes: bool) -> None:
        """The flow holds so much more."""
        self.pool.take(flow, amount)
        self.sources.take(flow.client, amount)
        if passes:
            self.passed += amount
        else:
            self.in_turn.take(flow.client, amount)

    def give_back(self, flow: Flow, amount: int, *, passed: bool) -> None:
        """The flow holds so much less."""
        self.pool.give_back(flow, amount)
        self.sources.give_back(flow.client, amount)
        if passed:
            self.passed -= amount
        else:
            self.in_turn.give_back(flow.client, amount)


class Admission(Generic[P]):
    """Accounts for the queue. Not thread-safe. `refusals`: frames that found no room when they came, so far. Each
    counts once for the queue, and once more if it might not even park.
    """

    def __init__(self, limits: SchedulerLimits) -> None:
        self._boxes = _Room(limits.max_queue_boxes)
        self._bytes = _Room(limits.max_queue_bytes)
        self._answers = _Room(limits.max_held_answer_bytes)
        self._parked: Pool[str] = Pool(limits.max_parked_bytes)
        self._parking: OrderedDict[SessionKey, SessionState[P]] = OrderedDict()
        self._waiting: dict[str, dict[SessionKey, SessionState[P]]] = {}  # the same, by sources
        self._changed = False  # since nobody was found who may go in
        self.refusals: Counter[Bound] = Counter()

    @property
    def boxes(self) -> int:
        """Admitted, not yet answered."""
        return self._boxes.pool.taken

    @property
    def bytes(self) -> int:
        """Of messages admitted and not yet staged."""
        return self._bytes.pool.taken

    @property
    def answer_bytes(self) -> int:
        """Of vectors of admitted frames whose answers are not written."""
        return self._answers.pool.taken

    @property
    def parked(self) -> int:
        """Frames that wait for room."""
        return len(self._parking)

    @property
    def parked_bytes(self) -> int:
        """Of their messages."""
        return self._parked.taken

    def admit(self, frame: FrameState[P]) -> bool:
        """Let the frame in if it fits and no parked frame goes first; False if not, with nothing changed."""
        if self.others_first(frame) or not self._fits(frame):
            return False
        passes = next(self._going_first(frame.session.terms.holder), None) is not None
        self._let_in(frame, passes=passes)
        return True

    def count_refusal(self, frame: FrameState[P]) -> None:
        """The frame has just come, and is not let in: count it for the first bound that has no room for it."""
        self.refusals[self._lacking(frame)] += 1

    def others_first(self, frame: FrameState[P]) -> bool:
        """Whether a parked frame must be let in before this one. The frame's own session has none parked."""
        if not self._parking:
            return False
        flow = frame.session.terms.holder
        if any(session.terms.holder == flow for session in self._waiting.get(flow.client, {}).values()):
            return True
        frame.share = self._share(frame)
        return any(
            session.parked is None or not self._may_pass(frame, session.parked) for session in self._going_first(flow)
        )

    def has_place(self, session: SessionState[P]) -> bool:
        """Whether the session has a place among those that wait, even if the frame that it parked was given up."""
        return session.key in self._parking

    def release_bytes(self, frame: FrameState[P]) -> None:
        """The message was staged, or is not needed any more."""
        if frame.holds_queue_bytes:
            frame.holds_queue_bytes = False
            self._bytes.give_back(frame.session.terms.holder, frame.request.message_bytes, passed=frame.passed)
            self._changed = True

    def release_boxes(self, frame: FrameState[P]) -> None:
        """The frame's answer is known."""
        if frame.holds_queue_boxes:
            frame.holds_queue_boxes = False
            self._boxes.give_back(frame.session.terms.holder, frame.boxes, passed=frame.passed)
            self._changed = True

    def hand_out(self, frame: FrameState[P]) -> int:
        """The frame's answer is handed out; returns the bytes of its vectors, which are held until it is written."""
        if frame.fault is not None or not frame.holds_answer_bytes:
            return 0
        frame.holds_answer_bytes = False
        return frame.request.answer_bytes

    def answer_written(self, session: SessionState[P], answer: Unwritten) -> None:
        """An answer of the session is not held any more."""
        self._answers.give_back(session.terms.holder, answer.answer_bytes, passed=answer.passed)
        self._changed |= answer.answer_bytes > 0

    def release_answer(self, frame: FrameState[P]) -> None:
        """The frame's answer has no vectors, or nobody waits for it."""
        if frame.holds_answer_bytes:
            frame.holds_answer_bytes = False
            self._answers.give_back(frame.session.terms.holder, frame.request.answer_bytes, passed=frame.passed)
            self._changed = True

    def may_park(self, frame: FrameState[P]) -> bool:
        """Whether its message may wait beside those that wait."""
        return self._parked.fits(frame.session.terms.source, frame.request.message_bytes)

    def park(self, frame: FrameState[P]) -> None:
        """Let a frame that may park wait for room; a session that was waiting keeps its place."""
        frame.share = self._share(frame)
        frame.session.parked = frame
        self._parked.take(frame.session.terms.source, frame.request.message_bytes)
        self._parking.setdefault(frame.session.key, frame.session)
        self._waiting.setdefault(frame.session.terms.source, {})[frame.session.key] = frame.session
        self._changed = True

    def give_up_parked(self, session: SessionState[P]) -> None:
        """The frame that it parked is not wanted any more; the session keeps its place."""
        if session.parked is not None:
            self._parked.give_back(session.terms.source, session.parked.request.message_bytes)
            session.parked = None
            self._changed = True

    def unpark(self, session: SessionState[P]) -> None:
        """The session does not wait any more."""
        self.give_up_parked(session)
        if self._parking.pop(session.key, None) is None:
            return
        self._changed = True
        waiting = self._waiting[session.terms.source]
        del waiting[session.key]
        if not waiting:
            del self._waiting[session.terms.source]

    def next_admitted(self) -> FrameState[P] | None:
        """Let in the first parked frame that may go, and return it; None if none may. One pass: every event asks."""
        if not self._changed:
            return None
        found, passes = self._next()
        if found is None:
            self._changed = False
        else:
            self._let_in(found, passes=passes)
        return found

    def _next(self) -> tuple[FrameState[P] | None, bool]:
        """The first that may go, and whether it passes one that waits."""
        fitting: list[FrameState[P]] = []
        flows: set[Flow] = set()
        blocking: dict[str, FrameState[P]] = {}  # of each source, the smallest that lets in only what is much smaller
        before: dict[str, list[FrameState[P]]] = {}  # those of them that go before a source
        parts = {source: self._part(source) for source in self._waiting}
        for session in self._parking.values():
            frame, flow = session.parked, session.terms.holder
            if frame is None:
                continue
            in_turn = flow not in flows
            flows.add(flow)
            others = before.get(flow.client)
            if others is None:
                others = [other for source, other in blocking.items() if parts[source] <= parts[flow.client]]
                before[flow.client] = others
            fits = in_turn and all(self._may_pass(frame, other) for other in others) and self._fits(frame)
            if self._holds_anything(flow):
                fitting += [frame] if fits else []
                continue
            if fits:
                return frame, bool(others)
            if flow.client not in blocking or frame.share < blocking[flow.client].share:
                blocking[flow.client] = frame
                before.clear()
        for frame in fitting:
            others = [other for source, other in blocking.items() if parts[source] <= parts[frame.session.terms.source]]
            if all(self._may_pass(frame, other) for other in others):
                return frame, bool(others)
        return None, False

    def _going_first(self, flow: Flow) -> Iterator[SessionState[P]]:
        """The sessions that wait and let in only what is much smaller, if it is of this flow."""
        part = self._part(flow.client)
        for source, sessions in self._waiting.items():
            if self._part(source) <= part:
                yield from (session for session in sessions.values() if not self._holds_anything(session.terms.holder))

    def _part(self, source: str) -> float:
        """How much a source holds in turn: of the bound that it holds most of."""
        return max(room.part(source) for room in (self._boxes, self._bytes, self._answers))

    def _let_in(self, frame: FrameState[P], *, passes: bool) -> None:
        flow, request = frame.session.terms.holder, frame.request
        self._boxes.take(flow, frame.boxes, passes=passes)
        self._bytes.take(flow, request.message_bytes, passes=passes)
        self._answers.take(flow, request.answer_bytes, passes=passes)
        frame.holds_queue_boxes = frame.holds_queue_bytes = frame.holds_answer_bytes = True
        frame.passed = passes
        self.unpark(frame.session)

    def _fits(self, frame: FrameState[P]) -> bool:
        flow, request = frame.session.terms.holder, frame.request
        return (
            self._boxes.fits(flow, frame.boxes)
            and self._bytes.fits(flow, request.message_bytes)
            and self._answers.fits(flow, request.answer_bytes)
        )

    def _lacking(self, frame: FrameState[P]) -> Bound:
        """What keeps a frame out."""
        flow, request = frame.session.terms.holder, frame.request
        if not self._boxes.fits(flow, frame.boxes):
            return Bound.BOXES
        if not self._bytes.fits(flow, request.message_bytes):
            return Bound.BYTES
        if not self._answers.fits(flow, request.answer_bytes):
            return Bound.ANSWERS
        return Bound.TURN

    def _may_pass(self, frame: FrameState[P], other: FrameState[P]) -> bool:
        """Whether it is much smaller than the other, and those that have passed do not hold too much."""
        request = frame.request
        return (
            MUCH_SMALLER * frame.share <= other.share
            and self._boxes.may_pass(frame.boxes)
            and self._bytes.may_pass(request.message_bytes)
            and self._answers.may_pass(request.answer_bytes)
        )

    def _share(self, frame: FrameState[P]) -> float:
        """How much of the queue it takes: of the bound that it takes most of."""
        request = frame.request
        return max(
            frame.boxes / self._boxes.pool.most,
            request.message_bytes / self._bytes.pool.most,
            request.answer_bytes / self._answers.pool.most,
        )

    def _holds_anything(self, flow: Flow) -> bool:
        return self._boxes.pool.of(flow) > 0 or self._answers.pool.of(flow) > 0
