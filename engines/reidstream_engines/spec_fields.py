"""A spec as it is written down, in TOML or JSON: complete, or as changes to a profile.

Why strict: a misspelt key would silently keep a default, and the vectors would be in another space. Trap: the number of
channels is not written; it is the length of `mean`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TypeVar

from .errors import SpecError
from .profiles import parse_profile
from .spec import ColorOrder, CropRule, Fit, ModelSpec, Resize

E = TypeVar("E", bound=Enum)

_LARGEST = sys.float_info.max


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFields:
    """What a spec says in addition to the network's own signature; None: it does not say."""

    color_order: ColorOrder
    resize: Resize
    fit: Fit
    crop_rule: CropRule
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    l2_normalize: bool
    output: str | None = None
    width: int | None = None
    height: int | None = None


_REQUIRED = ("color_order", "resize", "fit", "crop_rule", "scale", "mean", "std", "l2_normalize")
_OPTIONAL = ("output", "width", "height")


def fields_from_profile(text: str) -> SpecFields:
    """The fields of a named profile. Raises SpecError."""
    profile = parse_profile(text)
    return SpecFields(**{name: getattr(profile, name) for name in _REQUIRED})


def fields_from_mapping(mapping: Mapping[str, object], *, where: str, profile: str | None = None) -> SpecFields:
    """The fields of `mapping`, which change those of the `profile` that it names; without one, all required fields.

    The parameter `profile` replaces everything that the mapping says about preprocessing. What it says about the
    network (output, width, height) is kept. Raises SpecError, which names `where`, the key and the value.
    """
    known = ("profile", *_REQUIRED, *_OPTIONAL)
    unknown = sorted(set(mapping) - set(known))
    if unknown:
        raise SpecError(f"{where}: unknown {', '.join(unknown)}; the known keys are {', '.join(known)}")
    parsed = {key: _PARSERS[key](key, value, where) for key, value in mapping.items()}
    base = parsed.pop("profile", None)
    if profile is not None:
        base = fields_from_profile(profile)
        parsed = {key: value for key, value in parsed.items() if key in _OPTIONAL}
    if isinstance(base, SpecFields):
        return replace(base, **parsed)  # type: ignore[arg-type]  # _PARSERS has a parser of its type for each field
    missing = [key for key in _REQUIRED if key not in mapping]
    if missing:
        raise SpecError(f"{where}: {', '.join(missing)} missing; add them, or name a profile")
    return SpecFields(**parsed)  # type: ignore[arg-type]  # the same


def set_aside(mapping: Mapping[str, object], profile: str | None, *, where: str) -> str:
    """What a mapping says of the preprocessing and `profile` replaces with something else; empty if there is nothing.

    The mapping is one that `fields_from_mapping` has read.
    """
    if profile is None:
        return ""
    fields = fields_from_profile(profile)
    named = mapping.get("profile")
    other = {} if named in (None, profile) else {"profile": named}
    other |= {
        key: mapping[key]
        for key in _REQUIRED
        if key in mapping and _PARSERS[key](key, mapping[key], where) != getattr(fields, key)
    }
    said = ", ".join(f"{key} = {json.dumps(value)}" for key, value in other.items())
    return f"{where} says {said}; the profile {profile} is used instead" if said else ""


def fields_to_mapping(spec: ModelSpec) -> dict[str, object]:
    """The preprocessing and L2, as `fields_from_mapping` reads them back. Sizes and names come from the network."""
    source = spec.input
    return {
        "color_order": source.color_order.value,
        "resize": source.resize.value,
        "fit": source.fit.value,
        "crop_rule": source.crop_rule.value,
        "scale": source.scale,
        "mean": list(source.mean),
        "std": list(source.std),
        "l2_normalize": spec.output.l2_normalize,
    }


def _numbers(key: str, value: object, where: str) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) not in (1, 3):
        raise SpecError(f"{where}: {key} is {value!r}; it must be a list of 1 or 3 numbers")
    numbers = tuple(_number(key, item, where) for item in value)
    if key == "std" and min(numbers) <= 0.0:
        raise SpecError(f"{where}: std is {value!r}; each number must be greater than 0")
    return numbers


def _switch(key: str, value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"{where}: {key} is {value!r}; it must be true or false")
    return value


def _pixels(key: str, value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SpecError(f"{where}: {key} is {value!r}; it must be a whole number, at least 1")
    return value


def _text(key: str, value: object, where: str) -> str:
    if not isinstance(value, str):
        raise SpecError(f"{where}: {key} is {value!r}; it must be text")
    return value


def _enum(kind: type[E], key: str, value: object, where: str) -> E:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(member.value) for member in kind)
        raise SpecError(f"{where}: {key} is {value!r}; it must be one of {choices}") from None


def _number(key: str, value: object, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST:
        return float(value)
    raise SpecError(f"{where}: {key} is {value!r}; it must be a finite number")


def _scale(key: str, value: object, where: str) -> float:
    number = _number(key, value, where)
    if number <= 0.0:
        raise SpecError(f"{where}: {key} is {value!r}; it must be greater than 0")
    return number


def _profile(key: str, value: object, where: str) -> SpecFields:
    try:
        return fields_from_profile(_text(key, value, where))
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error


_PARSERS: Mapping[str, Callable[[str, object, str], object]] = {
    "profile": _profile,
    "color_order": partial(_enum, ColorOrder),
    "resize": partial(_enum, Resize),
    "fit": partial(_enum, Fit),
    "crop_rule": partial(_enum, CropRule),
    "scale": _scale,
    "mean": _numbers,
    "std": _numbers,
    "l2_normalize": _switch,
    "output": _text,
    "width": _pixels,
    "height": _pixels,
}
