"""When a model is gone: exactly when it was told to retire and nothing of it is left.

Why from the books: the core counts users; here everything is looked at again, whenever it matters. Trap: a frame holds
its models until its answer is decided and nothing looks at its pixels any more, be its session over or not.
"""

from __future__ import annotations

from typing import assert_never

from reidstream_server.core.effects import Retired
from reidstream_server.core.state import Phase
from reidstream_server.core.terms import ModelIndex

from .books import Books, FrameBook, ModelBook, Pixels, Violation
from .plan import ModelPlan, Use
from .situations import Situation

_RETIRES = {
    Use.UNUSED: Situation.RETIRES_UNUSED,
    Use.NAMED: Situation.RETIRES_NAMED,
    Use.DRAINING: Situation.RETIRES_DRAINING,
    Use.QUEUED: Situation.RETIRES_QUEUED,
    Use.STAGING: Situation.RETIRES_STAGING,
    Use.LINGERING: Situation.RETIRES_LINGERING,
    Use.RUNNING: Situation.RETIRES_RUNNING,
    Use.ISOLATING: Situation.RETIRES_ISOLATING,
    Use.LOST: Situation.RETIRES_LOST,
}
_GONE = {
    "retire_model": Situation.GONE_AT_ONCE,
    "session_lost": Situation.GONE_WITH_CLIENT,
    "staged": Situation.GONE_AFTER_STAGING,
    "staging_failed": Situation.GONE_AFTER_STAGING,
    "batch_done": Situation.GONE_AFTER_BATCH,
    "batch_failed": Situation.GONE_AFTER_BATCH,
}


def told_added(books: Books, plan: ModelPlan, index: ModelIndex) -> None:
    """A model was added."""
    if index in books.models:
        raise Violation("models", f"the index {index} was given out twice")
    books.models[index] = books.there[index] = ModelBook(index, plan)
    books.newest[plan.name] = index
    books.seen[Situation.MODEL_CAME] += any(not frame.resolved for frame in books.frames.values())


def told_retiring(books: Books, model: ModelBook, now: int) -> None:
    """A model is about to be told to retire, the first time or again."""
    if model.retiring:
        books.seen[Situation.RETIRES_TWICE] += 1
        return
    for use, situation in _RETIRES.items():
        books.seen[situation] += is_used(books, model, use, now)
    model.retiring = True
    if books.newest.get(model.plan.name) == model.index:
        del books.newest[model.plan.name]


def retired(books: Books, effect: Retired, event: str) -> None:
    """The core says that a model is gone."""
    model = books.there.get(effect.model)
    if model is None or not model.retiring:
        raise Violation("models", f"{effect}, though it is gone already, or was not told to retire")
    kept = what_keeps(books, model)
    if kept is not None:
        raise Violation("models", f"{effect}, though {kept} is left")
    del books.there[effect.model]
    books.seen[_GONE.get(event, Situation.GONE_WITH_SESSION)] += 1
    books.seen[Situation.GONE_LOST] += effect.model in books.lost


def check_models(books: Books) -> None:
    """Whatever is retiring is gone as soon as nothing of it is left, and no lost engine is kept secret."""
    for model in books.there.values():
        if model.retiring and what_keeps(books, model) is None:
            raise Violation("models", f"nothing of {model} is left, and nobody was told")
        if model.index in books.told_lost and model.index not in books.lost:
            raise Violation("engine lost", f"{model} has lost its engine, and nobody was told")


def what_keeps(books: Books, model: ModelBook) -> object | None:
    """Something that keeps a retiring model; None if it must be gone."""
    index = model.index
    for client in books.clients.values():
        if client.known and index in client.models.values():
            return client
    for batch in books.batches.values():
        if batch.model == index:
            return batch
    return next((frame for frame in books.frames.values() if index in frame.models and _is_held(frame)), None)


def is_used(books: Books, model: ModelBook, use: Use, now: int) -> bool:
    """Whether a model is in the middle of this."""
    index = model.index
    sessions = [client for client in books.clients.values() if client.known and index in client.models.values()]
    frames = [frame for frame in books.frames.values() if index in frame.models and not frame.resolved]
    match use:
        case Use.UNUSED:
            there = what_keeps(books, model) is None
        case Use.NAMED:
            there = bool(sessions)
        case Use.DRAINING:
            there = any(client.drain_ns is not None and now < client.drain_ns for client in sessions)
        case Use.QUEUED:
            there = any(frame.phase is Phase.QUEUED for frame in frames)
        case Use.STAGING:
            there = any(frame.pixels is Pixels.STAGING for frame in frames)
        case Use.LINGERING:
            there = index in books.lingering
        case Use.RUNNING:
            there = any(batch.model == index for batch in books.batches.values())
        case Use.ISOLATING:
            there = any(frame.alone[index] for frame in frames)
        case Use.LOST:
            there = index in books.lost
        case _:
            assert_never(use)
    return there


def _is_held(frame: FrameBook) -> bool:
    decided = frame.resolved or (frame.view is not None and frame.view.resolved)
    return not decided or frame.pixels in (Pixels.STAGING, Pixels.STAGED)
