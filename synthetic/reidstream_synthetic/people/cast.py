"""Who walks there: a cast of people drawn from a seed, each dressed differently.

The first ten are dealt like cards: no two of them wear the same top. Everybody after them draws clothes until top and
trousers together are new, so that any two people of a cast differ in a garment large enough to be seen. Trap: person i
must not depend on how many come after, or a larger cast would be another one; so people are drawn in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from reidstream_synthetic.painting.fabric import Fabric, Pattern, bgr, plain

from .person import Hair, Hat, Legwear, Luggage, Person

_Card = TypeVar("_Card")

MAX_PEOPLE: Final = 1000
_DEALT: Final = 10

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
_COATS = (True,) * 2 + (False,) * 8
_LONG_SLEEVES = (True,) * 6 + (False,) * 4
_SKINS = (0xF0C8A8, 0xE3B08A, 0xC98E66, 0x9C6843, 0x6E4529, 0xF4D3BC, 0xDDA67E, 0xB57D55, 0x84563A, 0xEBC09C)
_SHOES = (0x2A2522, 0xE9E6E0, 0x6B4630, 0x1E1F24, 0xB8402F, 0xE9E6E0, 0x3A4A63, 0x2A2522, 0x8A7458, 0xF0F0F0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cards:
    """What one person was given: one card of each pack. Colours as 0xRRGGBB."""

    top: tuple[int, int, Pattern]
    bottom: int
    legwear: Legwear
    hair: int
    style: Hair
    hat: Hat
    hat_colour: int
    luggage: Luggage
    luggage_colour: int
    skin: int
    shoes: int
    coat: bool
    long_sleeves: bool


def cast(seed: int, count: int = _DEALT) -> tuple[Person, ...]:
    """`count` people, 1 to MAX_PEOPLE. A larger cast of the same seed begins with the same people."""
    people = list(_deal(seed)[:count])
    worn = {look(person) for person in people}
    for index in range(_DEALT, count):
        rng = np.random.default_rng((seed, 1, index))
        person = _draw(rng)
        while look(person) in worn:
            person = _draw(rng)
        worn.add(look(person))
        people.append(person)
    return tuple(people)


def look(person: Person) -> tuple[object, ...]:
    """What tells people apart from afar: the top's colours and pattern, and the colour below the waist.

    Which colour of a patterned top is the first cannot be seen, except in blocks, where it is the upper one.
    """
    top = person.top
    colours = (top.colour, top.second) if top.pattern is Pattern.BLOCKS else frozenset((top.colour, top.second))
    return (colours, top.pattern, person.bottom.colour)


def _deal(seed: int) -> tuple[Person, ...]:
    """The first ten: each card of a pack goes to one of them."""
    rng = np.random.default_rng([seed, 1])

    def dealt(pack: Sequence[_Card]) -> list[_Card]:
        return [pack[index] for index in rng.permutation(len(pack))]

    tops, bottoms, legwear = dealt(_TOPS), dealt(_BOTTOMS), dealt(_LEGWEAR)
    hairs, styles, hats, hat_colours = dealt(_HAIRS), dealt(_STYLES), dealt(_HATS), dealt(_HAT_COLOURS)
    luggage, luggage_colours, skins, shoes = dealt(_LUGGAGE), dealt(_LUGGAGE_COLOURS), dealt(_SKINS), dealt(_SHOES)
    coats, long_sleeves = dealt(_COATS), dealt(_LONG_SLEEVES)
    return tuple(
        _dressed(
            rng,
            _Cards(
                top=tops[index],
                bottom=bottoms[index],
                legwear=legwear[index],
                hair=hairs[index],
                style=styles[index],
                hat=hats[index],
                hat_colour=hat_colours[index],
                luggage=luggage[index],
                luggage_colour=luggage_colours[index],
                skin=skins[index],
                shoes=shoes[index],
                coat=coats[index],
                long_sleeves=long_sleeves[index],
            ),
        )
        for index in range(_DEALT)
    )


def _draw(rng: np.random.Generator) -> Person:
    """Somebody else: any card of each pack, and a top of any pattern in any two colours."""

    def one(pack: Sequence[_Card]) -> _Card:
        return pack[int(rng.integers(len(pack)))]

    pattern, colour, second = one(tuple(Pattern)), one(_TOPS)[0], one(_TOPS)[0]
    if colour == second:
        pattern = Pattern.PLAIN
    return _dressed(
        rng,
        _Cards(
            top=(colour, colour if pattern is Pattern.PLAIN else second, pattern),
            bottom=one(_BOTTOMS),
            legwear=one(_LEGWEAR),
            hair=one(_HAIRS),
            style=one(_STYLES),
            hat=one(_HATS),
            hat_colour=one(_HAT_COLOURS),
            luggage=one(_LUGGAGE),
            luggage_colour=one(_LUGGAGE_COLOURS),
            skin=one(_SKINS),
            shoes=one(_SHOES),
            coat=one(_COATS),
            long_sleeves=one(_LONG_SLEEVES),
        ),
    )


def _dressed(rng: np.random.Generator, cards: _Cards) -> Person:
    """A body of its own in these clothes."""
    colour, second, pattern = cards.top
    return Person(
        height_m=float(rng.uniform(1.6, 1.9)),
        girth=float(rng.uniform(0.92, 1.15)),
        speed=float(rng.uniform(1.15, 1.5)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        skin=bgr(cards.skin),
        hair=bgr(cards.hair),
        hair_style=cards.style,
        hat=cards.hat,
        hat_colour=bgr(cards.hat_colour),
        top=Fabric(colour=bgr(colour), second=bgr(second), pattern=pattern, period_m=float(rng.uniform(0.11, 0.16))),
        long_sleeves=cards.long_sleeves or cards.coat,
        coat=cards.coat,
        legwear=cards.legwear,
        bottom=plain(bgr(cards.bottom)),
        shoes=bgr(cards.shoes),
        luggage=cards.luggage,
        luggage_colour=bgr(cards.luggage_colour),
    )
