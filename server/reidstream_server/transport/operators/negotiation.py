"""Which of the forms of a page a caller gets, by RFC 9110: content types in Accept, and gzip in Accept-Encoding.

Why our own: scrapers ask for several forms, each with a weight, and prometheus_client looks at neither weights nor
unknown versions. Trap: what a caller sends is only compared with what there is; nothing of it comes back. A range that
nobody can read is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_IGNORED = frozenset({"charset", "escaping"})  # all forms are UTF-8, and all names are plain


@dataclass(frozen=True, slots=True)
class _Range:
    """A range of content types, such as `text/*`, that a caller reads."""

    kind: str
    parameters: frozenset[tuple[str, str]]
    weight: float

    def covers(self, kind: str, parameters: frozenset[tuple[str, str]]) -> bool:
        """Whether a form of this type is in it."""
        main, _, sub = self.kind.partition("/")
        fits = self.kind in {"*/*", kind} or (sub == "*" and main == kind.partition("/")[0])
        return fits and self.parameters <= parameters

    @property
    def precision(self) -> tuple[bool, bool, int]:
        """Of several that cover a form, the most precise one says its weight."""
        return self.kind != "*/*", not self.kind.endswith("/*"), len(self.parameters)


def chosen(accept: str, content_types: Sequence[str]) -> int:
    """The place of the form that the caller likes best; the first, if it says nothing or reads none of them.

    Of those that it likes equally: the one that it names most precisely, then the first.
    """
    ranges = [_range(value) for value in accept.split(",") if value.strip()]
    best, found = (0.0, (False, False, 0)), 0
    for place, content_type in enumerate(content_types):
        form = _range(content_type)
        covering = [asked for asked in ranges if asked.covers(form.kind, form.parameters)]
        if covering:
            asked = max(covering, key=lambda asked: asked.precision)
            if (liking := (asked.weight, asked.precision)) > best and asked.weight > 0:
                best, found = liking, place
    return found


def reads_gzip(accept_encoding: str) -> bool:
    """Whether a page may come compressed."""
    weights = {name: weight for name, _, weight in map(_parsed, accept_encoding.split(","))}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _range(value: str) -> _Range:
    name, parameters, weight = _parsed(value)
    known = frozenset((key, item) for key, item in parameters if key not in _IGNORED)
    return _Range(name, known, weight)


def _parsed(value: str) -> tuple[str, tuple[tuple[str, str], ...], float]:
    """A value's name, its parameters, and its weight `q`: 1 without one, 0 if it cannot be read."""
    name, *rest = value.split(";")
    parameters = tuple(_parameters(rest))
    weight = next((item for key, item in parameters if key == "q"), "1")
    return name.strip().lower(), tuple(item for item in parameters if item[0] != "q"), _weight(weight)


def _parameters(items: Sequence[str]) -> Iterator[tuple[str, str]]:
    for item in items:
        key, _, value = item.partition("=")
        if key.strip():
            yield key.strip().lower(), value.strip().strip('"')


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
