"""A person as the drawing knows one: body, clothes, hair and luggage. Colours are BGR, 0 to 255, as OpenCV has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from reidstream_synthetic.painting.fabric import Colour, Fabric


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
