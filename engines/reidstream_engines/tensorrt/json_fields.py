"""JSON that others wrote, read field by field, strictly.

Why: a manifest lies on a disk that others write to, and an examination comes from a process that may be dying; both
decide what is run. A message names the field, what was found and what was expected. Trap: in Python True is an int.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NoReturn, TypeVar

from reidstream_engines.errors import PlanError

E = TypeVar("E", bound=Enum)


class JsonFields:
    """The fields of an object that was read from JSON. `where` begins each message. One thread."""

    def __init__(self, form: object, where: str) -> None:
        if not isinstance(form, dict):
            raise PlanError(f"{where}: a JSON object is expected, not {shown(form)}")
        self._form = form
        self._left = set(form)
        self._where = where

    def wrong(self, field: str, expected: object) -> NoReturn:
        """Say that a field is not what was expected."""
        found = shown(self._form[field]) if field in self._form else "missing"
        raise PlanError(f"{self._where}: {field} is {found}; expected: {expected}")

    def done(self) -> None:
        """Say that no other field may be there."""
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
        """A string, by default not an empty one."""
        value = self._take(field)
        if not isinstance(value, str) or (not value and not empty):
            self.wrong(field, "text")
        return value

    def matching(self, field: str, pattern: re.Pattern[str]) -> str:
        """A string of a form."""
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
    """A value for a message, not too long."""
    return repr(plain(value))[:100]


def plain(value: object) -> object:
    """A value as JSON has it."""
    match value:
        case Enum():
            return value.value
        case tuple():
            return list(value)
        case _:
            return value
