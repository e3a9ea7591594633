"""What others and this client have taken of the server: penalties, and bounds that are nearly reached."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from reidstream_client.admin import OpenSession, ServerSessions
from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning
from reidstream_client.cli.doctor.seen import Seen

from .metrics import course_of, newest
from .words import is_stranger, listed, number, silence

NEARLY: Final = 0.9
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "sessions": ("reidstream_sessions", "--max-sessions"),
        "calls": ("reidstream_calls", "--max-calls"),
        "queue_boxes": ("reidstream_queue_boxes", "--max-queue-boxes"),
        "queue_bytes": ("reidstream_queue_bytes", "--max-queue-bytes"),
        "parked_bytes": ("reidstream_parked_bytes", "--max-parked-bytes"),
        "staged_bytes": ("reidstream_staged_bytes", "--max-staged-bytes"),
        "held_answer_bytes": ("reidstream_held_answer_bytes", "--max-held-answer-bytes"),
    }
)
"""The admin service's name for each bound, the series, whose limit ends in `_limit`, and the setting."""

_OURS: Final = frozenset({"unauthenticated", "unknown_model", "wrong_space", "not_permitted", "not_offered"})
"""Refusals that say something of who calls, and not of the server's room."""


def penalty(seen: Seen) -> Finding:
    """Nobody makes this client wait."""
    sessions = None if seen.calls is None else seen.calls.sessions
    own = None if seen.frames is None else seen.frames.own
    if not isinstance(sessions, ServerSessions):
        why = "The server's --admin does not allow this client to ask." if is_stranger(sessions) else ""
        return unseen("penalty", silence(seen) or why or "The server does not say.")
    if own is None:
        return unseen("penalty", "No session was opened.")
    mine = [own, *(one for one in sessions.sessions if one.client and one.client == own.client)]
    paying = {one.camera_id: _how(one) for one in mine if one.paused or one.slowed}
    if paying:
        told = listed(f"{camera} is {how}" for camera, how in paying.items())
        whose = f"client {own.client}" if own.client else "this connection"
        return warning(
            "penalty",
            f"Sessions of {whose} pay for what they cost: {told}.",
            "Look for cameras that send refused or very slow pictures, or programs that call too often, under this "
            "name; give them names of their own.",
        )
    return ok("penalty", "This client pays for nothing.")


def room(seen: Seen) -> Finding:
    """No bound that all share is nearly reached."""
    sessions = None if seen.calls is None else seen.calls.sessions
    told: dict[str, tuple[float, float]] = {}
    if isinstance(sessions, ServerSessions):
        told = {one.name: (one.used, one.limit) for one in sessions.server.budgets if one.name in _BOUNDS}
    elif (metrics := newest(seen)) is not None:
        for name, (series, _) in _BOUNDS.items():
            used, limit = metrics.value(series), metrics.value(f"{series}_limit")
            if used is not None and limit is not None:
                told[name] = (used, limit)
    if not told:
        return unseen("room", silence(seen) or "Neither metrics nor the admin service say how full the server is.")
    full = {name: pair for name, pair in told.items() if pair[1] and pair[0] >= NEARLY * pair[1]}
    if full:
        which = listed(f"{name} {number(used)} of {number(limit)}" for name, (used, limit) in full.items())
        settings = listed(dict.fromkeys(_BOUNDS[name][1] for name in full))
        return warning(
            "room",
            f"Nearly full: {which}.",
            f"Fewer frames or cameras, another server, or more room ({settings}) if its cores are not full.",
        )
    name, (used, limit) = max(told.items(), key=lambda one: one[1][0] / (one[1][1] or 1))
    share = used / (limit or 1)
    return ok("room", f"Of {len(told)} bounds, {name} is the fullest: {number(used)} of {number(limit)}.", share=share)


def windows(seen: Seen) -> Finding:
    """Sessions have room for their next frame."""
    metrics = newest(seen)
    full = None if metrics is None else metrics.value("reidstream_full_windows")
    if full is None:
        return unseen("windows", "There are no metrics.")
    if full:
        return warning(
            "windows",
            f"Sessions whose window is full, so that their next frame waits or is lost: {number(full)}.",
            "If the server's cores are not full, ask for larger windows; else send fewer frames.",
        )
    return ok("windows", "No session's window is full.")


def refusals(seen: Seen) -> Finding:
    """Frames and calls find room."""
    course = course_of(seen)
    if course is None:
        return unseen("refusals", "There are no metrics.")
    frames = course.grown("reidstream_admission_refusals_total", "bound") or {}
    calls = course.grown("reidstream_calls_refused_total", "reason") or {}
    now = {name: count for name, count in {**frames, **calls}.items() if count and name not in _OURS}
    if now:
        told = listed(f"{number(count)} {name}" for name, count in now.items())
        return warning(
            "refusals",
            f"While doctor looked, the server had no room: {told}.",
            "The page of metrics says which setting each of these bounds is.",
        )
    return ok("refusals", "The server had room for whatever came while doctor looked.")


def paused(seen: Seen) -> Finding:
    """Nobody is being punished."""
    metrics = newest(seen)
    count = None if metrics is None else metrics.value("reidstream_paused_clients")
    if count is None:
        return unseen("paused clients", "There are no metrics.")
    if count:
        return warning(
            "paused clients",
            f"Clients that are not read at present, because they cost more than their share: {number(count)}.",
            "`reidstream-client top` names them (PAUSED); look at what their cameras send.",
        )
    return ok("paused clients", "No client is paused.")


def losses(seen: Seen) -> Finding:
    """Frames of all cameras get vectors."""
    course = course_of(seen)
    grown = None if course is None else course.grown("reidstream_frames_total", "outcome")
    if course is None or grown is None:
        return unseen("losses", "There are no metrics.")
    lost = {outcome: count for outcome, count in grown.items() if count and outcome != "answered"}
    if lost:
        told = listed(f"{number(count)} {outcome}" for outcome, count in lost.items())
        return warning(
            "losses",
            f"While doctor looked, frames got no vectors: {told}; {number(grown.get('answered', 0))} did.",
            "`reidstream-client top` says which camera suffers.",
        )
    return ok("losses", f"While doctor looked, all {number(grown.get('answered', 0))} frames got their vectors.")


def _how(session: OpenSession) -> str:
    return "not read for some time" if session.paused else "served behind all others"
