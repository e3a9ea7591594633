"""Adds models and retires them, as the scenario has it, and says what sessions that open get.

Trap: what comes too late comes to a model that is gone. Nothing real does that on purpose, but threads and operators
repeat themselves; so here somebody always does, soon after a model is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TypeAlias

from reidstream_server.core.terms import ModelIndex, SessionTerms

from .books import Books, ClientBook, ModelBook, Violation
from .mistakes import opens_in_vain
from .models_rule import is_used, told_added, told_retiring
from .oracle import FrameEffect
from .plan import MS, ModelPlan
from .situations import Situation
from .timeline import Timeline

Report: TypeAlias = Callable[[str, object, list[FrameEffect]], None]


class Administrator:
    """See the module. Both reports take an event's name, what it is about, and its effects: `note` for the trace only,
    `step` for everything that follows from an event.
    """

    def __init__(self, books: Books, timeline: Timeline, *, note: Report, step: Report) -> None:
        self._books = books
        self._scheduler = books.scheduler
        self._timeline = timeline
        self._note = note
        self._step = step
        self._rng = Random(f"administrator {books.scenario.seed}")  # noqa: S311 - it must be repeatable
        self._pending: list[ModelBook] = []

    def start(self) -> None:
        """Add what is there from the beginning, and see to the rest when it is time."""
        for plan in self._books.scenario.models:
            if plan.comes_ns is None:
                self._add(plan)
            else:
                self._timeline.at(plan.comes_ns, self._add, plan)

    def terms_for(self, client: ClientBook) -> SessionTerms | None:
        """What a session that opens now gets: the newest model of each name. None if there is none of some name."""
        books, plan = self._books, client.plan
        if not plan.names <= books.newest.keys():
            return None
        client.models = {name: books.newest[name] for name in sorted(plan.names)}
        terms = replace(plan.terms, models=frozenset(client.models.values()))
        opens_in_vain(books, plan, terms)
        older = (model for model in books.there.values() if model.retiring and model.plan.name in plan.names)
        books.seen[Situation.OPENED_ON_NEWER] += any(older)
        needed = {client.models[name] for frame in plan.frames for name in frame.crops}
        for lane in client.lanes:
            books.lane_models.setdefault(lane, set()).update(needed)
        return terms

    def look(self) -> None:
        """After a step: retire whatever has come to what it was to be in the middle of."""
        for model in self._pending[:]:
            use = model.plan.retires_when
            if use is None or is_used(self._books, model, use, self._timeline.now):
                self._pending.remove(model)
                self._timeline.at(self._timeline.now, self._retire, model)

    def gone(self, index: ModelIndex) -> None:
        """A model is gone; somebody will not have heard of it."""
        self._timeline.at(self._timeline.now + self._rng.randint(0, 20) * MS, self._too_late, index)

    def finish(self) -> None:
        """Nothing will happen any more: whatever is retiring is gone, but for batches that never came back."""
        stuck = [ref.payload for batch in self._books.batches.values() for ref in batch.crops]
        for model in self._books.there.values():
            if model.retiring and not any(model.index in frame.models for frame in stuck):
                raise Violation("models", f"{model} is there for ever")
            self._books.seen[Situation.GONE_STAYS] += model.retiring

    def _add(self, plan: ModelPlan) -> None:
        index = self._scheduler.add_model(plan.terms)
        told_added(self._books, plan, index)
        self._note("add_model", plan, [])
        if plan.retires_ns is not None:
            self._timeline.at(plan.retires_ns, self._begin, self._books.models[index])

    def _begin(self, model: ModelBook) -> None:
        self._pending.append(model)
        self.look()

    def _retire(self, model: ModelBook) -> None:
        now = self._timeline.now
        told_retiring(self._books, model, now)
        self._step("retire_model", model, self._scheduler.retire_model(model.index, now))
        if self._rng.random() < 0.5 and model.index in self._books.there:
            self._timeline.at(now + self._rng.randint(0, 10) * MS, self._retire, model)

    def _too_late(self, index: ModelIndex) -> None:
        now, scheduler, batch = self._timeline.now, self._scheduler, self._books.models[index].last_batch
        self._books.seen[Situation.GONE_TOLD] += 1
        match self._rng.choice(("done", "failed", "lost", "retire")):
            case "done":
                self._step("batch_done", batch, scheduler.batch_done(index, batch, now))
            case "failed":
                self._step("batch_failed", batch, scheduler.batch_failed(index, batch, "raised", now))
            case "lost":
                self._step("engine_lost", index, scheduler.engine_lost(index, "lost", now))
            case _:
                self._step("retire_model", index, scheduler.retire_model(index, now))
