"""One rule for each kind of argument: text, whole numbers, numbers, words of closed sets.

Each takes the argument's name and whatever was given, and returns it as the rest of the package knows it, or raises
InvalidRequest with the name, the value and what to give instead. What can only mean one thing is accepted: numpy's
numbers, 3.0 for 3, "drop-oldest" for DROP_OLDEST.

Why here: a wrong kind would fail later, deep inside protobuf or gRPC, with words about something else. Trap: bool is an
int for Python. True as a number is a mistake here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum
from typing import Final, TypeVar

import numpy as np

from reidstream_proto.v1.contract import MAX_CLASS_IDS

from .errors import InvalidRequest
from .redaction import without_secrets

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

FOREVER_S: Final = 1e9
"""About 30 years: longer than this is no limit at all. gRPC's clock overflows far above it, and then nothing waits."""

_MOST_CHARS = 60
_MOST_DIGITS_BITS = 256


def shown(value: object) -> str:
    """Any value in a few words, for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, int) and value.bit_length() > _MOST_DIGITS_BITS:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, int | float | np.number | np.bool_ | str | bytes | Enum):
        text = without_secrets(repr(value))
        return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that was meant, whatever dashes and capitals the word has; None where none is near."""
    spellings = {_spelt(name): name for name in known}
    close = get_close_matches(_spelt(word), spellings, n=1)
    return spellings[close[0]] if close else None


def _spelt(name: str) -> str:
    return name.strip("-").replace("_", "-").lower()


def text(name: str, value: object) -> str:
    """Text that UTF-8 can write."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not {shown(value)}{_as_text(name, value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{name} must be text that UTF-8 can write, not {shown(value)}: character {error.start} is half of a pair; "
            f"{name}.encode(errors='replace').decode() puts a question mark there"
        ) from None
    return value


def short_text(name: str, value: object, most: int, *, least: int = 0) -> str:
    """Text of so many bytes of UTF-8."""
    found = text(name, value)
    length = len(found.encode())
    if not least <= length <= most:
        raise InvalidRequest(f"{name} must be {least} to {most} bytes of UTF-8, not {length}: {shown(found)}")
    return found


def unsigned(name: str, value: object, bits: int) -> int:
    """A whole number that a field of so many bits can hold."""
    number = value if type(value) is int else _whole(name, value)  # the usual case first: this runs for every frame
    if not 0 <= number < 1 << bits:
        raise InvalidRequest(f"{name} must lie in 0 to 2**{bits} - 1, not {shown(number)}")
    return number


def between(name: str, value: object, low: int, high: int) -> int:
    """A whole number of this range."""
    number = _whole(name, value)
    if not low <= number <= high:
        raise InvalidRequest(f"{name} must be {low} to {high}, not {shown(number)}")
    return number


def at_least_one(name: str, value: object, bits: int = 32) -> int:
    """A whole number above 0 that a field of so many bits can hold."""
    number = _whole(name, value)
    if number < 1:
        raise InvalidRequest(f"{name} must be at least 1, not {shown(number)}")
    return unsigned(name, number, bits)


def number(name: str, value: object) -> float:
    """Any number; NaN and the infinities are some."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InvalidRequest(f"{name} must be a number, not {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise InvalidRequest(f"{name} must be a number that fits into 64 bits, not {shown(value)}") from None


def not_negative(name: str, value: object) -> float:
    """A finite number of 0 or more."""
    found = number(name, value)
    if not 0 <= found < math.inf:
        raise InvalidRequest(
            f"{name} must be 0 or more, not {shown(value)}{'' if found < 0 else '; it must be finite'}"
        )
    return found


def seconds(name: str, value: object) -> float:
    """A time above 0, at most FOREVER_S; infinity is that, too."""
    found = number(name, value)
    if not found > 0:
        raise InvalidRequest(f"{name} must be above 0, not {shown(value)}")
    return min(found, FOREVER_S)


def flag(name: str, value: object) -> bool:
    """True or False; 1 and 0 say the same."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in {0, 1}):
        return bool(value)
    raise InvalidRequest(f"{name} must be True or False, not {shown(value)}")


def member(kind: type[E], name: str, value: object) -> E:
    """A member of a closed set, or its word in any spelling."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        word = _bare(value)
        for spelling, found in kind.__members__.items():
            if _bare(spelling) == word:
                return found
    choices = ", ".join(f"{kind.__name__}.{found.name}" for found in kind)
    word = next(iter(kind)).name.lower()
    raise InvalidRequest(f'{name} must be one of {choices}, or its name as text, such as "{word}", not {shown(value)}')


def instance(kind: type[T], name: str, value: object, *, example: str) -> T:
    """An object of one of this package's own classes."""
    if not isinstance(value, kind):
        raise InvalidRequest(f"{name} must be {_class(kind)}, such as {example}, not {shown(value)}")
    return value


def _class(kind: type[object]) -> str:
    """A class with its article."""
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def several(name: str, value: object, *, example: str, most: int | None = None) -> tuple[object, ...]:
    """The items of a list, a tuple, an array of one dimension, or anything else that can be gone through; at most
    `most`.
    """
    if isinstance(value, str | bytes | bytearray | dict) or not isinstance(value, Iterable):
        raise InvalidRequest(f"{name} must be a list or a tuple, such as {example}, not {shown(value)}")
    if isinstance(value, np.ndarray) and value.ndim != 1:
        raise InvalidRequest(f"{name} must be of one dimension, such as {example}, not {shown(value)}")
    found = tuple(value)
    if most is not None and len(found) > most:
        raise InvalidRequest(f"{name} must have at most {most} items, not {len(found)}")
    return found


def class_ids(name: str, value: object) -> tuple[int, ...]:
    """Classes of boxes: whole numbers of 32 bits, as many as the contract allows."""
    return tuple(unsigned(name, one, 32) for one in several(name, value, example="(0,)", most=MAX_CLASS_IDS))


def _whole(name: str, value: object) -> int:
    """An int, or a number that has no fraction."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value):
        return int(value)
    raise InvalidRequest(f"{name} must be a whole number, not {shown(value)}{_as_number(name, value)}")


def _bare(word: str) -> str:
    return "".join(character for character in word.casefold() if character.isalnum())


def _as_text(name: str, value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return f"; {name}.decode() is its text"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'; {name}="{shown(value)}" is its text'
    return ""


def _as_number(name: str, value: object) -> str:
    if isinstance(value, str) and value.strip().isdecimal():
        return f"; int({name}) is its number"
    return ""
