"""Reads JSON from outside, field by field and strictly.

Why: other programs may write to a manifest's disk, and the process that examines a plan may be dying; but both decide
what is run. An error names the field, the value found and the value expected. Trap: in Python True is an int.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NoReturn, TypeVar

from reidstream_engines.errors import PlanError

E = TypeVar("E", bound=Enum)


class JsonFields:
    """The fields of a JSON object. `where` begins each message. One thread."""

    def __init__(self, form: object, where: str) -> None:
        if not isinstance(form, dict):
            raise PlanError(f"{where}: it is {shown(form)}; expected: a JSON object")
        self._form = form
        self._left = set(form)
        self._where = where

    def wrong(self, field: str, expected: object) -> NoReturn:
        """Raise PlanError: a field is not as expected."""
        found = shown(self._form[field]) if field in self._form else "missing"
        raise PlanError(f"{self._where}: {field} is {found}; expected: {expected}")

    def done(self) -> None:
        """Raise PlanError if there are fields that nobody has read."""
        if self._left:
            field = min(self._left)
            raise PlanError(f"{self._where}: {field} is {shown(self._form[field])}; expected: no such field")

    def inner(self, field: str) -> JsonFields:
        """An object."""
        value = self._take(field)
        if not isinstance(value, dict):
            self.wrong(field, "an object")
        return JsonFields(value, f"{self._where}, {field}")

    def text(self, field: str, *, empty: bool = False) -> str:
        """A string; an empty one only with `empty`."""
        value = self._take(field)
        if not isinstance(value, str) or (not value and not empty):
            self.wrong(field, "text")
        return value

    def matching(self, field: str, pattern: re.Pattern[str]) -> str:
        """A string that matches a pattern as a whole."""
        value = self.text(field)
        if not pattern.fullmatch(value):
            self.wrong(field, pattern.pattern)
        return value

    def member(self, field: str, kind: type[E]) -> E:
        """A member of an enum, by its value."""
        value = self.text(field)
        try:
            return kind(value)
        except ValueError:
            self.wrong(field, "one of " + ", ".join(item.value for item in kind))

    def number(self, field: str, *, least: int = 1) -> int:
        """A whole number."""
        value = self._take(field)
        if not _is_number(value, least):
            self.wrong(field, f"a whole number from {least}")
        return int(str(value))

    def number_or_none(self, field: str) -> int | None:
        """A whole number from 1, or null."""
        return None if self._take(field) is None else self.number(field)

    def numbers(self, field: str, *, least: int) -> tuple[int, ...]:
        """A list of whole numbers."""
        value = self._take(field)
        if not isinstance(value, list) or not all(_is_number(item, least) for item in value):
            self.wrong(field, f"a list of whole numbers from {least}")
        return tuple(value)

    def objects(self, field: str) -> tuple[JsonFields, ...]:
        """A list of objects."""
        value = self._take(field)
        if not isinstance(value, list):
            self.wrong(field, "a list of objects")
        return tuple(JsonFields(item, f"{self._where}, {field} {index}") for index, item in enumerate(value))

    def _take(self, field: str) -> object:
        if field not in self._form:
            self.wrong(field, "a value")
        self._left.discard(field)
        found: object = self._form[field]
        return found


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def shown(value: object) -> str:
    """A value for a message, shortened if it is long."""
    return repr(plain(value))[:100]


def plain(value: object) -> object:
    """A value as it is written in JSON."""
    match value:
        case Enum():
            return value.value
        case tuple():
            return list(value)
        case _:
            return value
