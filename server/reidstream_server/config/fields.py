"""The kinds of value that a setting can have: how each is read, bounded and shown.

Why: the same text must mean the same in a flag, in the environment and in a file, and the error for a bad value must
say which values are good. A kind reads text from any of them, and the typed values of TOML.

Trap: for Python a boolean is an integer and `nan` is a float. Both are refused here, so that later code never meets
them.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Protocol

from typing_extensions import override

from reidstream_server.logs import quoted

_BINARY_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_DECIMAL_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS = {unit.lower(): size for unit, size in (_BINARY_UNITS | _DECIMAL_UNITS | {"B": 1, "": 1}).items()}
_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]*)\s*", re.ASCII)
_GROUPED_FROM = 1_000_000
_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a value. `key`: the way from the setting to the wrong part ("" or "[1].name")."""

    key: str = ""
    value: object
    message: str


@dataclass(frozen=True, slots=True)
class Faults:
    """Why a value was refused: every reason."""

    faults: tuple[Fault, ...]


class Kind(Protocol):
    """A kind of value, with its bounds.

    Trap: in a dataclass, a field that takes the place of one of these properties needs a default or `field()`. Without
    either, dataclasses take the inherited property for its default.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def metavar(self) -> str:
        """Stands for the value in help texts; "" for a flag without a value."""
        ...

    @property
    @abstractmethod
    def range(self) -> str:
        """The bounds in short, with their unit; "" if there are no bounds to name."""
        ...

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What is accepted, bounds included. Completes "must be ..."."""
        ...

    @abstractmethod
    def parse(self, given: object) -> object | Faults:
        """Read what a flag or a variable (text) or a TOML file (text or typed) holds."""
        ...

    @abstractmethod
    def show(self, value: object) -> str:
        """A parsed value as text, which `parse` reads back to the same value."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeNumber(Kind):
    """An int from `low` to `high`, both included. `unit` is what is counted."""

    low: int
    high: int
    unit: str = ""
    metavar: str = "N"

    @property
    @override
    def range(self) -> str:
        return f"{self.show(self.low)} to {self.show(self.high)} {self.unit}".rstrip()

    @property
    @override
    def allowed(self) -> str:
        return f"a whole number, {self.range}"

    @override
    def parse(self, given: object) -> int | Faults:
        value: int | None = None
        if isinstance(given, str):
            try:
                value = int(given)
            except ValueError:
                value = None
        elif isinstance(given, int) and not isinstance(given, bool):
            value = given
        return value if value is not None and self.low <= value <= self.high else _refused(self, given)

    @override
    def show(self, value: object) -> str:
        """Large numbers are grouped by _, which Python and TOML can read."""
        return f"{value:_}" if isinstance(value, int) and value >= _GROUPED_FROM else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration(Kind):
    """A finite float from `low` to `high`, both included, in `unit` ("ms" or "s")."""

    low: float
    high: float
    unit: str

    @property
    @override
    def metavar(self) -> str:
        return self.unit.upper()

    @property
    @override
    def range(self) -> str:
        return f"{self.low:g} to {self.high:g} {self.unit}"

    @property
    @override
    def allowed(self) -> str:
        return f"a number, {self.range}"

    @override
    def parse(self, given: object) -> float | Faults:
        value = math.nan
        if isinstance(given, str | int | float) and not isinstance(given, bool):
            try:
                value = float(given)
            except (ValueError, OverflowError):
                value = math.nan
        return value if self.low <= value <= self.high else _refused(self, given)

    @override
    def show(self, value: object) -> str:
        return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Kind):
    """A part of a whole: a float from 0 to 1, both included."""

    metavar: str = "SHARE"
    range: str = "0 to 1"
    allowed: str = "a number, 0 to 1"

    @override
    def parse(self, given: object) -> float | Faults:
        value = Duration(low=0, high=1, unit="").parse(given)
        return value if isinstance(value, float) else _refused(self, given)

    @override
    def show(self, value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteSize(Kind):
    """An int of bytes from `low` to `high`, both included; text may carry a unit ("1.5 GiB", in any case)."""

    low: int
    high: int
    metavar: str = "SIZE"

    @property
    @override
    def range(self) -> str:
        return f"{self.show(self.low)} to {self.show(self.high)}"

    @property
    @override
    def allowed(self) -> str:
        return f"a size, {self.range}, in whole bytes or with a unit (KiB, MiB, GiB, KB, MB, GB)"

    @override
    def parse(self, given: object) -> int | Faults:
        value: int | None = None
        if isinstance(given, str):
            match = _SIZE.fullmatch(given)
            unit = _UNITS.get(match[2].lower()) if match else None
            if match and unit is not None:
                exact = Fraction(match[1]) * unit
                value = exact.numerator if exact.denominator == 1 else None
        elif isinstance(given, int) and not isinstance(given, bool):
            value = given
        return value if value is not None and self.low <= value <= self.high else _refused(self, given)

    @override
    def show(self, value: object) -> str:
        """In the largest binary unit that is exact."""
        size = int(str(value))
        for unit, factor in reversed(_BINARY_UNITS.items()):
            if size and size % factor == 0:
                return f"{size // factor} {unit}"
        return str(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch(Kind):
    """A bool. As a flag: --name and --no-name."""

    metavar: str = ""
    range: str = ""

    @property
    @override
    def allowed(self) -> str:
        return "true or false"

    @override
    def parse(self, given: object) -> bool | Faults:
        value = _SWITCH.get(given.lower()) if isinstance(given, str) else given
        return value if isinstance(value, bool) else _refused(self, given)

    @override
    def show(self, value: object) -> str:
        return "true" if value else "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf(Kind):
    """A member of an enum, written as the member's value (text)."""

    members: type[Enum]
    metavar: str = "NAME"

    @property
    @override
    def range(self) -> str:
        return ", ".join(str(member.value) for member in self.members)

    @property
    @override
    def allowed(self) -> str:
        return f"one of {self.range}"

    @override
    def parse(self, given: object) -> Enum | Faults:
        for member in self.members:
            if given == member.value:
                return member
        return _refused(self, given)

    @override
    def show(self, value: object) -> str:
        return str(value.value) if isinstance(value, Enum) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberOf(Kind):
    """One of a few ints."""

    numbers: tuple[int, ...]
    metavar: str = "N"

    @property
    @override
    def range(self) -> str:
        return ", ".join(map(str, self.numbers))

    @property
    @override
    def allowed(self) -> str:
        return f"one of {self.range}"

    @override
    def parse(self, given: object) -> int | Faults:
        for number in self.numbers:
            if given == str(number) or (given == number and not isinstance(given, bool | float)):
                return number
        return _refused(self, given)

    @override
    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Kind):
    """Text that matches `pattern` as a whole. `allowed` says so in words."""

    pattern: str
    allowed: str = field()
    metavar: str = "TEXT"
    range: str = ""

    @override
    def parse(self, given: object) -> str | Faults:
        if isinstance(given, str) and re.fullmatch(self.pattern, given, re.ASCII):
            return given
        return _refused(self, given)

    @override
    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList(Kind):
    """A tuple of different names, at least one. In text: separated by commas; in TOML also a list."""

    metavar: str = "NAME,..."
    range: str = ""

    @property
    @override
    def allowed(self) -> str:
        return "one or more different names of letters, digits and _, with commas between"

    @override
    def parse(self, given: object) -> tuple[str, ...] | Faults:
        items: list[object] = list(given.split(",")) if isinstance(given, str) else _listed(given)
        names = tuple(item.strip() for item in items if isinstance(item, str))
        good = all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in names)
        if not names or len(names) != len(items) or not good or max(Counter(names).values()) > 1:
            return _refused(self, given)
        return names

    @override
    def show(self, value: object) -> str:
        return ",".join(value) if isinstance(value, tuple) else str(value)


def shown(value: object) -> str:
    """A value as it was given, for a message: on one line, and shortened if it is long."""
    limit = 80
    if isinstance(value, str):
        text = quoted(value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        try:
            text = quoted(str(value))[1:-1]
        except ValueError:  # Python writes no integers of thousands of digits
            text = "a huge number"
    return text if len(text) <= limit else f"{text[:limit]}..."


def _listed(given: object) -> list[object]:
    return given if isinstance(given, list) else []


def _refused(kind: Kind, given: object) -> Faults:
    return Faults((Fault(value=given, message=f"must be {kind.allowed}"),))
