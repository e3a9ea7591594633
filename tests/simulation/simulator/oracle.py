"""Checks every effect against the books at the moment it comes out of the core, and writes it there.

    world --event--> Oracle --(told)--> Scheduler --effects--> Oracle.effect, each --> world carries it out --> Audit.step

Trap: an effect is judged by what was true when it was emitted, and one call emits many: each is entered in the books
before the next is judged.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

from reidstream_server.core.effects import (
    Answer,
    BatchFailed,
    Effect,
    End,
    EndCause,
    EngineDied,
    Readable,
    Release,
    Run,
    SendDrain,
    Stage,
)
from reidstream_server.core.faults import FaultReason
from reidstream_server.core.terms import BatchKey, Ordering, OverloadPolicy

from .books import DECIDED, BatchBook, Books, ClientBook, Crop, FrameBook, Pixels, Violation
from .plan import FramePlan
from .situations import Situation

FrameEffect: TypeAlias = Effect[FrameBook]

_CROP_STATES_OF_A_LIVE_FRAME = (Crop.READY, Crop.ALONE)


class Oracle:
    """The rules about single events and effects."""

    def __init__(self, books: Books) -> None:
        self._books = books

    # Events: what the scheduler is about to be told.

    def told_of_frame(self, client: ClientBook, plan: FramePlan, now: int) -> FrameBook | None:
        """A frame was read; None if it came after the drain and must be ignored."""
        books = self._books
        if client.drain_ns is not None:
            books.seen[Situation.DRAIN_IGNORED] += 1
            return None
        books.frames_told += 1
        budget = client.plan.terms.latency_budget_ns
        valid = client.last_id is None or plan.frame_id > client.last_id
        if valid:
            client.last_id = plan.frame_id
        frame = FrameBook(
            client=client,
            plan=plan,
            number=books.frames_told,
            arrived_ns=now,
            due_ns=None if budget is None or not plan.crops or plan.refused else now + budget - plan.age_ns,
            id_valid=valid,
            crops=[Crop.UNSTAGED] * len(plan.crops),
            undecided=len(plan.crops),
        )
        client.unanswered[frame.number] = frame
        books.frames[frame.number] = frame
        return frame

    def told_staged(self, frame: FrameBook, now: int) -> None:
        """Staging is done."""
        seen = self._books.seen
        self._books.staging -= 1
        frame.pixels = Pixels.STAGED
        frame.staged_ns = now
        for index, model in enumerate(frame.plan.crops):
            if index in frame.plan.undecodable:
                frame.crops[index] = Crop.UNDECODABLE
                frame.undecided -= 1
            else:
                frame.crops[index] = Crop.READY
                frame.ready[model] += 1
        if frame.view is not None and frame.view.resolved:
            seen[Situation.STAGED_TOO_LATE] += 1
        elif frame.plan.undecodable:
            seen[Situation.SOME_UNDECODABLE if frame.undecided else Situation.ALL_UNDECODABLE] += 1
        if len(set(frame.plan.crops)) > 1:
            seen[Situation.MODELS_MIXED] += 1

    def told_staging_failed(self, frame: FrameBook) -> None:
        """Staging did not succeed."""
        self._books.staging -= 1
        self._books.staged_bytes -= frame.plan.staged_bytes
        frame.pixels = Pixels.FAILED
        late = frame.view is not None and frame.view.resolved
        self._books.seen[Situation.STAGING_FAILED_TOO_LATE if late else Situation.STAGING_FAILED] += 1

    def told_batch_over(self, key: BatchKey, *, failed: bool, now: int) -> None:
        """A batch came back."""
        books = self._books
        batch = books.batches.pop(key)
        size = len(batch.crops)
        for frame in {ref.payload.number: ref.payload for ref in batch.crops}.values():
            frame.batch_sizes.append(size)
            frame.last_batch_ns = now
        for ref in batch.crops:
            frame = ref.payload
            frame.running -= 1
            if failed and size > 1:
                frame.crops[ref.index] = Crop.ALONE
                frame.alone[batch.model] += 1
                frame.isolated.add(ref.index)
            else:
                frame.crops[ref.index] = Crop.FAILED if failed else Crop.EMBEDDED
                frame.undecided -= 1
                books.seen[Situation.POISON_ALONE] += failed and ref.index in frame.plan.poison
                books.seen[Situation.INNOCENT_SAVED] += not failed and ref.index in frame.isolated
        if failed:
            books.seen[Situation.ENGINE_RAISED] += 1

    def told_written(self, client: ClientBook, now: int) -> None:
        """The client took its oldest answer."""
        frame = client.unwritten.popleft()
        frame.written = True
        waited = now - frame.answered_ns
        self._books.seen[Situation.CLIENT_SLOW] += waited > self._books.scenario.limits.stall_timeout_ns
        client.stalled_since_ns = now

    def told_lost(self, client: ClientBook) -> None:
        """The client vanished."""
        client.over = True
        seen = self._books.seen
        for frame in client.unanswered.values():
            if frame is client.parked:
                seen[Situation.VANISHED_WAITING] += 1
            elif not frame.resolved:
                if frame.pixels is Pixels.NOWHERE:
                    seen[Situation.VANISHED_QUEUED] += 1
                if frame.pixels is Pixels.STAGING:
                    seen[Situation.VANISHED_STAGING] += 1
                for crop, situation in (
                    (Crop.READY, Situation.VANISHED_READY),
                    (Crop.RUNNING, Situation.VANISHED_RUNNING),
                    (Crop.ALONE, Situation.VANISHED_ISOLATING),
                ):
                    seen[situation] += crop in frame.crops

    # Effects.

    def effect(self, effect: FrameEffect, now: int) -> None:
        """One effect, before it is carried out."""
        books = self._books
        books.checks += 1
        match effect:
            case Stage():
                self._stage(effect, now)
            case Run():
                self._run(effect, now)
            case Release():
                self._release(effect.payload)
            case Answer():
                self._answer(effect, now)
            case Readable():
                self._client(effect)
            case SendDrain():
                client = self._client(effect)
                if client.drain_sent or effect.last_accepted_frame_id != client.last_id:
                    raise Violation(
                        "drain", f"{effect}, after frame id {client.last_id}; sent before: {client.drain_sent}"
                    )
                client.drain_sent = True
            case End():
                self._end(effect, now)
            case EngineDied():
                if effect.model in books.lost:
                    raise Violation("engine lost", f"model {effect.model} died twice")
                timeout = books.scenario.limits.batch_timeout_ns
                late = any(
                    batch.model == effect.model and now - batch.started_ns >= timeout
                    for batch in books.batches.values()
                )
                books.seen[Situation.BATCH_TIMED_OUT] += late
                if not late and effect.model not in books.told_lost:
                    raise Violation("engine lost", f"{effect} without a reason")
                books.lost.add(effect.model)
                books.seen[Situation.ENGINE_LOST] += 1
            case BatchFailed():
                if effect.retried != (effect.size > 1):
                    raise Violation("isolation", f"{effect}")
            case _:
                assert_never(effect)

    def _client(self, effect: Answer[FrameBook] | Readable | SendDrain | End) -> ClientBook:
        client = self._books.clients.get(effect.session)
        if client is None or not client.known:
            raise Violation("forgotten sessions", f"{effect} is for a session that is over")
        return client

    def _stage(self, effect: Stage[FrameBook], now: int) -> None:
        books, frame = self._books, effect.payload
        limits = books.scenario.limits
        if not frame.client.known or frame.answered or frame.pixels is not Pixels.NOWHERE:
            raise Violation("staging", f"{frame} is staged, though {frame.pixels}, answered: {frame.answered}")
        if frame.view is not None and frame.view.resolved:
            raise Violation("staging", f"{frame} is staged, though its answer is decided")
        if frame.due_ns is not None and now >= frame.due_ns:
            raise Violation("budget", f"{frame} costs a decode after its deadline")
        frame.pixels = Pixels.STAGING
        frame.staging_ns = now
        books.staged_now.append(frame)
        books.staging += 1
        books.staged_bytes += frame.plan.staged_bytes
        if books.staging > limits.staging_slots:
            raise Violation("bounds", f"{books.staging} frames are being staged; {limits.staging_slots} may be")
        if books.staged_bytes > limits.max_staged_bytes:
            raise Violation("bounds", f"{books.staged_bytes} bytes are staged; {limits.max_staged_bytes} may be")

    def _run(self, effect: Run[FrameBook], now: int) -> None:
        books = self._books
        terms = books.scenario.limits.models[effect.model]
        if effect.model in books.lost:
            raise Violation("engine lost", f"{effect} is for a lost engine")
        if not 1 <= len(effect.crops) <= terms.max_batch:
            raise Violation("bounds", f"a batch of {len(effect.crops)} crops; {terms.max_batch} may be")
        if sum(batch.model == effect.model for batch in books.batches.values()) >= terms.slots:
            raise Violation("bounds", f"more than {terms.slots} batches in flight for model {effect.model}")
        for ref in effect.crops:
            frame, index = ref.payload, ref.index
            state = frame.crops[index]
            if frame.plan.crops[index] != effect.model:
                raise Violation("routing", f"crop {index} of {frame} ran on model {effect.model}")
            if frame.pixels is not Pixels.STAGED or state not in _CROP_STATES_OF_A_LIVE_FRAME:
                raise Violation("crops", f"crop {index} of {frame} runs, though {state}, its frame {frame.pixels}")
            if not frame.client.known or frame.answered:
                raise Violation("crops", f"crop {index} of {frame} runs, though nobody waits for it")
            if state is Crop.ALONE and len(effect.crops) > 1:
                raise Violation("isolation", f"crop {index} of {frame} of a failed batch runs with others")
            if not frame.begun and frame.due_ns is not None and now >= frame.due_ns:
                raise Violation("budget", f"{frame} begins after its deadline")
            if state is Crop.ALONE:
                frame.alone[effect.model] -= 1
            else:
                frame.ready[effect.model] -= 1
                books.ran_now.append((effect.model, frame))
            frame.begun = True
            frame.running += 1
            frame.crops[index] = Crop.RUNNING
        books.batches[effect.batch] = BatchBook(effect.model, effect.batch, effect.crops, now)
        books.seen[Situation.CAMERAS_MIXED] += len({ref.payload.client.number for ref in effect.crops}) > 1
        books.seen[Situation.BATCH_FULL] += len(effect.crops) == terms.max_batch > 1

    def _release(self, frame: FrameBook) -> None:
        books = self._books
        if frame.pixels is not Pixels.STAGED or frame.running:
            raise Violation("release", f"{frame} is released, though {frame.pixels}, {frame.running} crops running")
        if frame.view is None or not frame.view.resolved:
            raise Violation("release", f"{frame} is released, though its answer is open")
        frame.pixels = Pixels.RELEASED
        books.staged_bytes -= frame.plan.staged_bytes

    def _answer(self, effect: Answer[FrameBook], now: int) -> None:
        books, client = self._books, self._client(effect)
        frame = self._answered_frame(client, effect)
        if frame.fault is None and effect.fault is not None:
            frame.fault = effect.fault.reason
        self._outcome(frame, effect, now)
        times = effect.times
        if (times.arrived_ns, times.staging_ns, times.last_batch_ns, times.batch_sizes) != (
            frame.arrived_ns,
            frame.staging_ns,
            frame.last_batch_ns,
            tuple(frame.batch_sizes),
        ):
            raise Violation("times", f"{times} of {frame}")
        del client.unanswered[frame.number]
        if not client.unwritten:
            client.stalled_since_ns = now
        client.unwritten.append(frame)
        frame.answered = frame.resolved = True
        frame.answered_ns = now
        books.seen[Situation.DRAIN_CUT] += frame.fault is FaultReason.SHUTTING_DOWN
        books.seen[Situation.FRAME_SPLIT] += len(frame.batch_sizes) > 1

    def _answered_frame(self, client: ClientBook, effect: Answer[FrameBook]) -> FrameBook:
        first = next(iter(client.unanswered.values()), None)
        if first is None:
            raise Violation("exactly once", f"{effect} of {client}, which has nothing unanswered")
        match client.plan.terms.ordering:
            case Ordering.IN_ORDER:
                if effect.frame_id != first.plan.frame_id or effect.payload is not (
                    None if first.plan.refused else first
                ):
                    raise Violation("order", f"frame {effect.frame_id} was answered; the next is {first}")
                return first
            case Ordering.AS_COMPLETED:
                for frame in client.unanswered.values():
                    if frame is effect.payload or (
                        effect.payload is None and frame.plan.refused and frame.plan.frame_id == effect.frame_id
                    ):
                        self._books.seen[Situation.ANSWER_OVERTOOK] += frame is not first
                        return frame
                raise Violation("exactly once", f"{effect} was answered before, or never asked for")

    def _outcome(self, frame: FrameBook, effect: Answer[FrameBook], now: int) -> None:
        """The answer says what happened to the frame."""
        if effect.fault is None:
            if frame.undecided:
                raise Violation("outcome", f"{frame} was answered with {frame.undecided} crops undecided")
            expected = tuple(DECIDED[crop] for crop in frame.crops)
            if not frame.id_valid or frame.plan.refused or frame.pixels is Pixels.FAILED or effect.outcomes != expected:
                raise Violation("outcome", f"{frame} was answered {effect.outcomes}; it should be {expected}")
            return
        if effect.outcomes or not _justified(self._books, frame, effect.fault.reason, now):
            raise Violation("outcome", f"{frame} was answered {effect.fault}")

    def _end(self, effect: End, now: int) -> None:
        books, client = self._books, self._client(effect)
        client.over = True
        done = not client.unanswered and not client.unwritten
        limit = client.stalled_since_ns + books.scenario.limits.stall_timeout_ns
        match effect.cause:
            case EndCause.FINISHED:
                right = client.half_closed and done
            case EndCause.DRAINED:
                right = client.drain_ns is not None and not client.half_closed and done
                books.seen[Situation.DRAINED] += 1
            case EndCause.STALLED:
                right = bool(client.unwritten) and now >= limit
                books.seen[Situation.CLIENT_STALLED] += 1
        if not right:
            raise Violation("end", f"{client} ended: {effect.cause}; {len(client.unanswered)} unanswered")


def _justified(books: Books, frame: FrameBook, reason: FaultReason, now: int) -> bool:
    """Whether a frame may be answered with this fault."""
    client = frame.client
    policy = client.plan.terms.overload_policy
    if not frame.id_valid or reason is FaultReason.INVALID_FRAME_ID:
        return not frame.id_valid and reason is FaultReason.INVALID_FRAME_ID
    if frame.plan.refused or reason is FaultReason.INVALID_ARGUMENT:
        return frame.plan.refused and reason is FaultReason.INVALID_ARGUMENT
    match reason:
        case FaultReason.DROPPED:
            return policy is OverloadPolicy.DROP_OLDEST and frame.pixels is Pixels.NOWHERE
        case FaultReason.WINDOW_FULL | FaultReason.QUEUE_FULL:
            return policy is OverloadPolicy.REJECT and frame.pixels is Pixels.NOWHERE
        case FaultReason.OVER_BUDGET:
            return frame.due_ns is not None and now >= frame.due_ns and not frame.begun
        case FaultReason.ENGINE_LOST:
            return any(model in books.lost for model in frame.plan.crops)
        case FaultReason.SHUTTING_DOWN:
            return client.drain_ns is not None and now >= client.drain_ns
        case FaultReason.INVALID_IMAGE:
            return frame.pixels is Pixels.FAILED
        case _:
            return False
