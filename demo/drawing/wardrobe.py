"""Who walks there: ten people, each with clothes, hair and luggage of their own.

Why a seeded cast: another seed is another crowd, the same seed the same one. Trap: what two people share must not be
everything, so each list is dealt like cards and not drawn with replacement. Colours are BGR, 0 to 255, as OpenCV has
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Colour = tuple[float, float, float]

PEOPLE = 10


class Pattern(Enum):
    """How two colours share a fabric."""

    PLAIN = "plain"
    HOOPS = "hoops"
    STRIPES = "stripes"
    CHECKS = "checks"
    BLOCKS = "blocks"


class Legwear(Enum):
    """What is worn below the waist."""

    TROUSERS = "trousers"
    SHORTS = "shorts"
    SKIRT = "skirt"


class Hair(Enum):
    """Hair, by its length behind."""

    SHORT = "short"
    LONG = "long"
    BUN = "bun"


class Hat(Enum):
    """What is worn on the head."""

    NONE = "none"
    CAP = "cap"
    BEANIE = "beanie"


class Luggage(Enum):
    """What is carried."""

    NONE = "none"
    BACKPACK = "backpack"
    SHOULDER_BAG = "shoulder bag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """One piece of cloth. `period_m`: from one stripe to the next of its kind."""

    colour: Colour
    second: Colour
    pattern: Pattern = Pattern.PLAIN
    period_m: float = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person. `girth` scales widths; `speed` in m/s; `phase` is where the walk cycle starts, in radians."""

    height_m: float
    girth: float
    speed: float
    phase: float
    skin: Colour
    hair: Colour
    hair_style: Hair
    hat: Hat
    hat_colour: Colour
    top: Fabric
    long_sleeves: bool
    coat: bool
    legwear: Legwear
    bottom: Fabric
    shoes: Colour
    luggage: Luggage
    luggage_colour: Colour


def _bgr(code: int) -> Colour:
    return (float(code & 255), float(code >> 8 & 255), float(code >> 16))


_TOPS: tuple[tuple[int, int, Pattern], ...] = (
    (0xE0A526, 0xE0A526, Pattern.PLAIN),
    (0xF0EBDD, 0x24406E, Pattern.HOOPS),
    (0xB83A2E, 0x2B2A33, Pattern.CHECKS),
    (0x1E8C86, 0x1E8C86, Pattern.PLAIN),
    (0xEDE3D0, 0xC9573F, Pattern.STRIPES),
    (0x2E3037, 0x2E3037, Pattern.PLAIN),
    (0x6FA3D6, 0xF2F2EE, Pattern.CHECKS),
    (0x7B3F78, 0x7B3F78, Pattern.PLAIN),
    (0x3F7A48, 0xE8DFC4, Pattern.BLOCKS),
    (0xE88AA0, 0xE88AA0, Pattern.PLAIN),
)
_BOTTOMS = (0x35507C, 0x26282E, 0xB7A27C, 0x7D838B, 0x6A2436, 0xD8D3C6, 0x35507C, 0x2F4A3C, 0x26282E, 0x8A6B4F)
_LEGWEAR = (Legwear.TROUSERS,) * 6 + (Legwear.SHORTS,) * 2 + (Legwear.SKIRT,) * 2
_HAIRS = (0x2A1D16, 0x4A3020, 0x15130F, 0x9A7443, 0x6B4A2C, 0x8E8B88, 0x8A4526, 0x1C1A1A, 0x3A281C, 0xC79A58)
_STYLES = (Hair.SHORT,) * 5 + (Hair.LONG,) * 3 + (Hair.BUN,) * 2
_HATS = (Hat.NONE,) * 6 + (Hat.CAP,) * 2 + (Hat.BEANIE,) * 2
_HAT_COLOURS = (0xC23B30, 0x274C7A, 0xE2B33C, 0x3B3F45, 0x2F7A6B, 0xD9D2C0, 0x7A2E4A, 0x1F6F8C, 0x50603A, 0xE07A3A)
_LUGGAGE = (Luggage.NONE,) * 4 + (Luggage.BACKPACK,) * 3 + (Luggage.SHOULDER_BAG,) * 3
_LUGGAGE_COLOURS = (0xD8602F, 0x2C5D8A, 0x3E3A36, 0x8A2F3B, 0xC9A24A, 0x4D7A4B, 0x6E4A2E, 0x24272D, 0xA3B3BF, 0x5A3F7A)
_SKINS = (0xF0C8A8, 0xE3B08A, 0xC98E66, 0x9C6843, 0x6E4529, 0xF4D3BC, 0xDDA67E, 0xB57D55, 0x84563A, 0xEBC09C)
_SHOES = (0x2A2522, 0xE9E6E0, 0x6B4630, 0x1E1F24, 0xB8402F, 0xE9E6E0, 0x3A4A63, 0x2A2522, 0x8A7458, 0xF0F0F0)


def cast(seed: int) -> tuple[Person, ...]:
    """The ten people of a seed."""
    rng = np.random.default_rng([seed, 1])

    def dealt(cards: Sequence[T]) -> list[T]:
        return [cards[index] for index in rng.permutation(len(cards))]

    tops, bottoms, legwear = dealt(_TOPS), dealt(_BOTTOMS), dealt(_LEGWEAR)
    hairs, styles, hats, hat_colours = dealt(_HAIRS), dealt(_STYLES), dealt(_HATS), dealt(_HAT_COLOURS)
    luggage, luggage_colours, skins, shoes = dealt(_LUGGAGE), dealt(_LUGGAGE_COLOURS), dealt(_SKINS), dealt(_SHOES)
    coats, long_sleeves = dealt((True,) * 2 + (False,) * 8), dealt((True,) * 6 + (False,) * 4)
    people = []
    for index in range(PEOPLE):
        colour, second, pattern = tops[index]
        bottom = _bgr(bottoms[index])
        people.append(
            Person(
                height_m=float(rng.uniform(1.6, 1.9)),
                girth=float(rng.uniform(0.92, 1.15)),
                speed=float(rng.uniform(1.15, 1.5)),
                phase=float(rng.uniform(0, 2 * np.pi)),
                skin=_bgr(skins[index]),
                hair=_bgr(hairs[index]),
                hair_style=styles[index],
                hat=hats[index],
                hat_colour=_bgr(hat_colours[index]),
                top=Fabric(
                    colour=_bgr(colour),
                    second=_bgr(second),
                    pattern=pattern,
                    period_m=float(rng.uniform(0.11, 0.16)),
                ),
                long_sleeves=long_sleeves[index] or coats[index],
                coat=coats[index],
                legwear=legwear[index],
                bottom=Fabric(colour=bottom, second=bottom),
                shoes=_bgr(shoes[index]),
                luggage=luggage[index],
                luggage_colour=_bgr(luggage_colours[index]),
            )
        )
    return tuple(people)
