"""What the query and a form's fields ask for. Both have the same names; what the form says goes first.

Trap: a name that is not known is refused. A misspelt `boxes` would otherwise embed the whole frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from reidstream_server.core.terms import Priority
from reidstream_server.errors import InvalidCall
from reidstream_server.identity.access import Caller
from reidstream_server.intake.limits import WindowLimits
from reidstream_server.intake.terms import PlainTerms, agree_on_call
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.models import ModelChoice, ModelTable

from .boxes import AskedBox, parse_boxes

V = TypeVar("V")

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`boxes`: None if whole pictures are to be embedded. `as_base64`: how JSON has the vectors."""

    model: str = ""
    camera_id: str = "http"
    expected_space_id: str | None = None
    latency_budget_ms: int | None = None
    priority: Priority = Priority.NORMAL
    apply_exif_orientation: bool = False
    as_base64: bool = False
    boxes: list[AskedBox] | None = None


def parse_options(fields: Mapping[str, str], max_boxes: int) -> Options:
    """Raises InvalidCall."""
    unknown = [name for name in fields if name not in _PARSERS]
    if unknown:
        raise InvalidCall(f"unknown field {unknown[0][:64]!r}; this call takes {', '.join(sorted(_PARSERS))}, and file")
    values = {name: _PARSERS[name](name, text) for name, text in fields.items()}
    if "boxes" in fields:
        values["boxes"] = parse_boxes(fields["boxes"], max_boxes)
    return Options(**values)  # type: ignore[arg-type]


def agree(options: Options, *, caller: Caller, models: ModelTable, window: WindowLimits) -> Agreement:
    """The agreement of the call. Raises CallRefused."""
    chosen = options.model or options.expected_space_id is not None
    terms = PlainTerms(
        client=caller.client,
        source=caller.source,
        camera_id=options.camera_id,
        latency_budget_ms=options.latency_budget_ms,
        priority=options.priority,
        choices=[ModelChoice(name=options.model, expected_space_id=options.expected_space_id)] if chosen else (),
        upright=options.apply_exif_orientation,
    )
    return agree_on_call(terms, models=models, limits=window)


def _text(name: str, text: str) -> str:
    del name
    return text


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidCall(f"{name} is {text[:64]!r}; it must be a whole number")
    return int(text)


def _switch(name: str, text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise InvalidCall(f"{name} is {text[:64]!r}; it must be true or false")
    return text.lower() in _TRUE


def _priority(name: str, text: str) -> Priority:
    try:
        return Priority[text.upper()]
    except KeyError:
        known = ", ".join(priority.name.lower() for priority in Priority)
        raise InvalidCall(f"{name} is {text[:64]!r}; it must be one of {known}") from None


_PARSERS: Mapping[str, Callable[[str, str], object]] = {
    "model": _text,
    "camera_id": _text,
    "expected_space_id": _text,
    "latency_budget_ms": _whole_number,
    "priority": _priority,
    "apply_exif_orientation": _switch,
    "as_base64": _switch,
    "boxes": _text,  # they are counted before they are read
}
