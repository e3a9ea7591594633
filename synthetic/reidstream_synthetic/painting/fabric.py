"""Cloth: two colours and the pattern that they form. Colours are BGR, 0 to 255, as OpenCV has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Colour = tuple[float, float, float]


class Pattern(Enum):
    """How two colours share a fabric."""

    PLAIN = "plain"
    HOOPS = "hoops"
    STRIPES = "stripes"
    CHECKS = "checks"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """One piece of cloth. `period_m`: metres from one stripe to the next of the same colour."""

    colour: Colour
    second: Colour
    pattern: Pattern = Pattern.PLAIN
    period_m: float = 0.12


def plain(colour: Colour) -> Fabric:
    """Cloth (or skin, or leather) of one colour."""
    return Fabric(colour=colour, second=colour, pattern=Pattern.PLAIN)


def bgr(code: int) -> Colour:
    """The colour of a code 0xRRGGBB."""
    return (float(code & 255), float(code >> 8 & 255), float(code >> 16))
