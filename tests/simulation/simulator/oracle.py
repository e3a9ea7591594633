"""Checks every effect against the books at the moment it comes out of the core, and writes it there.

    world --event--> Oracle, Scheduler --effects--> Oracle.effect, world carries it out, the next; then Audit.step

Trap: one call has many effects, and each is judged by what was true when it was emitted. So each is written into the
books before the next is judged.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

from reidstream_server.core.effects import (
    Answer,
    BatchFailed,
    CropRef,
    Effect,
    End,
    EndCause,
    EngineDied,
    GiveUpStaging,
    Readable,
    Release,
    Retired,
    Run,
    SendDrain,
    SetAside,
    Stage,
)
from reidstream_server.core.faults import FaultReason

from . import models_rule
from .answer_rule import answered_frame, check_outcome
from .books import BatchBook, Books, ClientBook, Crop, FrameBook, Pixels, Violation
from .situations import Situation

FrameEffect: TypeAlias = Effect[FrameBook]

SET_ASIDE, MOST_LOST = 2, 4


class Oracle:
    """The rules about single effects."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def effect(self, effect: FrameEffect, now: int, event: str) -> None:  # noqa: C901, PLR0912 - one case for each effect
        """One effect of an event, before it is carried out."""
        books = self._books
        books.checks += 1
        match effect:
            case Stage():
                self._stage(effect, now)
            case SetAside():
                self._set_aside(effect.payload, now)
            case GiveUpStaging():
                self._give_up(effect.payload, now)
            case Run():
                self._run(effect, now)
            case Release():
                self._release(effect)
            case Answer():
                self._answer(effect, now)
            case Readable():
                self._client(effect)
            case SendDrain():
                self._send_drain(effect)
            case End():
                self._end(effect, now)
            case EngineDied():
                self._engine_died(effect, now)
            case Retired():
                models_rule.retired(books, effect, event)
            case BatchFailed():
                books.failures_untold -= 1
                if effect.retried != (effect.size > 1) or books.failures_untold:
                    raise Violation("isolation", f"{effect}; {books.failures_untold} more untold")
            case _:
                assert_never(effect)

    def _client(self, effect: Answer[FrameBook] | Readable | SendDrain | End) -> ClientBook:
        client = self._books.clients.get(effect.session)
        if client is None or not client.known:
            raise Violation("forgotten sessions", f"{effect} is for a session that is over")
        return client

    def _send_drain(self, effect: SendDrain) -> None:
        client = self._client(effect)
        if client.drain_sent or effect.last_accepted_frame_id != client.last_id:
            raise Violation("drain", f"{effect}, after frame id {client.last_id}; sent before: {client.drain_sent}")
        client.drain_sent = True

    def _engine_died(self, effect: EngineDied, now: int) -> None:
        books = self._books
        timeout = books.scenario.limits.batch_timeout_ns
        late = any(
            batch.model == effect.model and now - batch.started_ns >= timeout for batch in books.batches.values()
        )
        broken = books.lost_stagings > MOST_LOST * books.scenario.limits.staging_slots
        if effect.model in books.lost or not (late or broken or effect.model in books.told_lost):
            raise Violation("engine lost", f"{effect}, for the second time or without a reason")
        if effect.model not in books.there:
            raise Violation("models", f"{effect}, though it is gone")
        if effect.running != sum(batch.model == effect.model for batch in books.batches.values()):
            raise Violation("engine lost", f"{effect}; {len(books.batches)} batches in flight of all models")
        books.seen[Situation.LOST_RETIRING] += books.models[effect.model].retiring
        books.lost.add(effect.model)
        books.seen[Situation.ENGINE_LOST] += 1
        books.seen[Situation.BATCH_TIMED_OUT] += late
        books.seen[Situation.DECODERS_LOST] += broken

    def _stage(self, effect: Stage[FrameBook], now: int) -> None:
        books, frame = self._books, effect.payload
        limits = books.scenario.limits
        if not frame.client.known or frame.answered or frame.pixels is not Pixels.NOWHERE:
            raise Violation("staging", f"{frame} is staged, though {frame.pixels}, answered: {frame.answered}")
        if frame.view is not None and frame.view.resolved:
            raise Violation("staging", f"{frame} is staged, though its answer is decided")
        if frame.due_ns is not None and now >= frame.due_ns:
            raise Violation("budget", f"{frame} costs a decode after its deadline")
        frame.heavy |= books.accounts.slowed(frame.client.plan.terms.source, now)
        if effect.aside is not frame.heavy:
            raise Violation("heavy", f"{frame} is staged aside: {effect.aside}; it is heavy: {frame.heavy}")
        if not any(books.hungry(model, heavy=frame.heavy) for model in set(frame.models)):
            raise Violation("freshness", f"{frame} is staged, though no engine of its would run dry without it")
        if not frame.heavy and not books.want_work():
            raise Violation("bounds", f"{frame} is staged, though all {limits.cores} cores have enough to do")
        frame.pixels = Pixels.STAGING
        frame.staging_ns = now
        books.staged_now.append(frame)
        frame.aside = frame.heavy
        books.staging += not frame.heavy
        books.aside += frame.heavy
        books.staged_bytes += frame.plan.staged_bytes
        others = books.heavy_bytes > 0
        books.heavy_bytes += frame.plan.staged_bytes * frame.heavy
        if (books.aside if frame.heavy else books.staging) > limits.staging_slots:
            raise Violation("bounds", f"{frame} is staged, and {books.staging} and {books.aside} others aside")
        if frame.heavy and others and books.staged_bytes > limits.max_staged_bytes - limits.max_staged_bytes // 4:
            raise Violation("heavy", f"{frame} is staged, and leaves no room for light ones")
        books.seen[Situation.HEAVY_STAGED] += frame.heavy
        if books.staged_bytes > limits.max_staged_bytes:
            raise Violation("bounds", f"{books.staged_bytes} bytes are staged; {limits.max_staged_bytes} may be")

    def _run(self, effect: Run[FrameBook], now: int) -> None:
        books = self._books
        model = books.there.get(effect.model)
        if model is None:
            raise Violation("models", f"{effect}, though its model is gone")
        terms = model.plan.terms
        if effect.model in books.lost:
            raise Violation("engine lost", f"{effect} is for a lost engine")
        if not 1 <= len(effect.crops) <= terms.max_batch:
            raise Violation("bounds", f"a batch of {len(effect.crops)} crops; {terms.max_batch} may be")
        if sum(batch.model == effect.model for batch in books.batches.values()) >= terms.slots:
            raise Violation("bounds", f"more than {terms.slots} batches in flight for model {effect.model}")
        if terms.cores and not books.want_work():
            raise Violation("bounds", f"{effect}, though all {books.scenario.limits.cores} cores have enough to do")
        model.last_batch = effect.batch
        books.began_now.append(effect.model)
        for ref in effect.crops:
            self._crop_runs(effect, ref, now)
        books.batches[effect.batch] = BatchBook(effect.model, effect.batch, effect.crops, now)
        books.seen[Situation.CAMERAS_MIXED] += len({ref.payload.client.number for ref in effect.crops}) > 1
        books.seen[Situation.BATCH_FULL] += len(effect.crops) == terms.max_batch > 1

    def _crop_runs(self, run: Run[FrameBook], ref: CropRef[FrameBook], now: int) -> None:
        frame, index = ref.payload, ref.index
        state = frame.crops[index]
        if frame.models[index] != run.model:
            raise Violation("routing", f"crop {index} of {frame} ran on model {run.model}")
        if frame.pixels is not Pixels.STAGED or state not in (Crop.READY, Crop.ALONE):
            raise Violation("crops", f"crop {index} of {frame} runs, though {state}, its frame {frame.pixels}")
        if not frame.client.known or frame.answered:
            raise Violation("crops", f"crop {index} of {frame} runs, though nobody waits for it")
        if not frame.begun and frame.due_ns is not None and now >= frame.due_ns:
            raise Violation("budget", f"{frame} begins after its deadline")
        if not frame.begun:
            frame.first_batch_ns = now
        frame.begun = True
        frame.running += 1
        frame.crops[index] = Crop.RUNNING
        if state is Crop.READY:
            frame.ready[run.model] -= 1
            self._books.ran_now.append((run.model, frame))
            return
        frame.alone[run.model] -= 1
        if len(run.crops) > 1:
            raise Violation("isolation", f"crop {index} of {frame} of a failed batch runs with others")

    def _set_aside(self, frame: FrameBook, now: int) -> None:
        """It takes long, and gives its core to others."""
        books, limits = self._books, self._books.scenario.limits
        if frame.pixels is not Pixels.STAGING or frame.aside or now < frame.staging_ns + limits.slow_staging_ns:
            raise Violation("heavy", f"{frame} is set aside, though {frame.pixels}, since {frame.staging_ns}")
        frame.aside = True
        books.staging -= 1
        books.aside += 1
        books.accounts.suspect(frame.client.plan.terms.source, 1)
        if books.aside > SET_ASIDE * limits.staging_slots:
            raise Violation("bounds", f"{books.aside} frames are aside")
        books.seen[Situation.SET_ASIDE] += 1

    def _give_up(self, frame: FrameBook, now: int) -> None:
        """Its decoder may never come back."""
        books, limits = self._books, self._books.scenario.limits
        if frame.pixels is not Pixels.STAGING or frame.given_up or now < frame.staging_ns + limits.staging_timeout_ns:
            raise Violation("heavy", f"{frame} is given up, though {frame.pixels}, since {frame.staging_ns}")
        frame.given_up = True
        books.aside -= frame.aside
        books.staging -= not frame.aside
        books.lost_stagings += 1
        if frame.aside and not frame.heavy:
            books.accounts.suspect(frame.client.plan.terms.source, -1)
        books.accounts.charge(frame.client.plan.terms.source, now - frame.staging_ns, now)
        books.seen[Situation.STAGING_GIVEN_UP] += 1

    def _release(self, effect: Release[FrameBook]) -> None:
        books, frame = self._books, effect.payload
        if frame.view is not None and effect.vectors is not (frame.view.fault is not None):
            raise Violation("release", f"{frame} is released, vectors too: {effect.vectors}; {frame.view.fault}")
        if frame.pixels is Pixels.STAGING or frame.running:
            raise Violation("release", f"{frame} is released, though {frame.pixels}, {frame.running} crops running")
        if frame.released:
            raise Violation("release", f"{frame} is released twice")
        if frame.view is not None and not frame.view.resolved:
            raise Violation("release", f"{frame} is released, though its answer is open")
        frame.released = True
        if frame.pixels is Pixels.STAGED:
            frame.pixels = Pixels.RELEASED
            books.staged_bytes -= frame.plan.staged_bytes
            books.heavy_bytes -= frame.plan.staged_bytes * frame.heavy

    def _answer(self, effect: Answer[FrameBook], now: int) -> None:
        books, client = self._books, self._client(effect)
        frame = answered_frame(books, client, effect)
        if frame.fault is None and effect.fault is not None:
            frame.fault = effect.fault.reason
        check_outcome(books, frame, effect, now)
        times = effect.times
        batches = (times.first_batch_ns, times.last_batch_ns, times.batch_sizes)
        if batches != (frame.first_batch_ns, frame.last_batch_ns, tuple(frame.batch_sizes)) or (
            (times.arrived_ns, times.staging_ns, times.decoded_ns)
            != (frame.arrived_ns, frame.staging_ns, frame.staged_ns)
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

    def _end(self, effect: End, now: int) -> None:
        books, client = self._books, self._client(effect)
        client.over = True
        books.accounts.over(client.plan.terms.source)
        for frame in client.unanswered.values():
            frame.resolved |= frame.view is None  # it came in the very call that ended the session
        done = not client.unanswered and not client.unwritten
        limit = client.stalled_since_ns + books.scenario.limits.stall_timeout_ns
        right = done and client.half_closed
        match effect.cause:
            case EndCause.FINISHED:
                pass
            case EndCause.DRAINED:
                right = done and client.drain_ns is not None and not client.half_closed
                books.seen[Situation.DRAINED] += 1
            case EndCause.STALLED:
                right = bool(client.unwritten) and now >= limit
                books.seen[Situation.CLIENT_STALLED] += 1
            case EndCause.CLOSED:
                right = False  # a client says so to its door, which tells the core that it is gone
        if not right:
            raise Violation("end", f"{client} ended: {effect.cause}; {len(client.unanswered)} unanswered")
