"""Mistakes of the shell, made on purpose: the core must refuse them, and must be as it was.

Trap: that nothing has changed is not looked at here. The rules after the next steps would notice.
"""

from __future__ import annotations

from dataclasses import replace

from reidstream_server.core.terms import FrameRequest, ModelIndex, SessionTerms

from .books import Books, ClientBook, FrameBook, Violation
from .plan import ClientPlan
from .situations import Situation


def opens_in_vain(books: Books, plan: ClientPlan, terms: SessionTerms) -> None:
    """Open a session on models that are retiring, gone, or were never there, beside those that it should open on."""
    old = [model.index for model in books.models.values() if model.retiring and model.plan.name in plan.names]
    for index in (*old[-2:], ModelIndex(len(books.models))):
        try:
            books.scheduler.open_session(replace(terms, models=terms.models | {index}))
        except LookupError as refusal:
            _check(refusal)
        else:
            raise Violation("models", f"a session was opened on model {index}")
    books.seen[Situation.OPENED_ON_OLD] += bool(old)


def sends_in_vain(books: Books, client: ClientBook, request: FrameRequest, payload: FrameBook, now: int) -> None:
    """Send a frame with one more crop, for a model that the session does not name."""
    foreign = next((index for index in books.there if index not in client.models.values()), None)
    if foreign is None or client.key is None or client.drain_ns is not None:
        return
    books.seen[Situation.FRAME_ASTRAY] += 1
    try:
        books.scheduler.frame_arrived(client.key, replace(request, crops=(*request.crops, foreign)), payload, now)
    except LookupError as refusal:
        _check(refusal)
    else:
        raise Violation("models", f"a frame for model {foreign} was let in; its session is {client}")


def _check(refusal: LookupError) -> None:
    if type(refusal) is not LookupError:  # a KeyError, or an IndexError, was nobody's intention
        raise Violation("models", f"a mistake was found by chance: {refusal!r}")
