"""A plaza in the sun, before a cafe."""

from __future__ import annotations

import math

import numpy as np

from reidstream_synthetic.painting.brush import Light
from reidstream_synthetic.painting.fabric import Colour
from reidstream_synthetic.painting.optics import View
from reidstream_synthetic.painting.shadows import Sun

from .masonry import Site, empty_site, shaded
from .place import HEIGHT, WIDTH, Place, lit, prop, rod, stains

_TABLES = (-8.8, -1.6, 8.2)


VIEW = View(width=WIDTH, height=HEIGHT, height_m=3.1, pitch=math.radians(9.5), focal=1080)
BACK_M = 20.9  # metres to the cafe's front, behind which nobody walks


def plaza(rng: np.random.Generator, view: View = VIEW) -> Place:
    """Pale paving, a cafe front, low warm sun from the left; stones and leaves are drawn from `rng`."""
    sun = Sun(x=0.95, z=0.35, dark=0.42, blur=1.1)
    site = empty_site(view)
    _pave(site, rng, turned=math.radians(32), tile=0.9, colour=(176, 190, 198))
    _cafe(site, rng)
    props = (
        prop(view, 9.4, lambda site: _bench(site, -3.4, 9.2)),
        prop(view, 12.0, lambda site: _poster_column(site, 2.6, 12.0)),
        prop(view, 14.4, lambda site: _planter(site, rng, -5.4, 14.4, 1.5)),
        prop(view, 15.4, lambda site: _planter(site, rng, 5.6, 15.4, 1.5)),
    )
    rods = (
        rod((2.6, 0, 12.0), (2.6, 3.0, 12.0), 0.5),
        *(
            rod((x, 0.30, z + 0.35), (x + width, 0.30, z + 0.35), 0.45)
            for x, width, z in ((-6.0, 1.2, 14.4), (5.0, 1.2, 15.4))
        ),
        *(
            rod((-4.5, y, z), (-2.3, y, z), 0.10)
            for y, z in ((0.46, 9.3), (0.46, 9.5), (0.6, 9.2), (0.8, 9.2), (0.95, 9.2))
        ),
        *(rod((x, 0, z), (x, 0.9, z), 0.06) for x in (-4.3, -2.5) for z in (9.25, 9.6)),
        *(rod((x + side, 0.4, 18.6), (x + side, 0.4, 18.6), 0.3) for x in _TABLES for side in (-0.75, 0, 0.75)),
        rod((-30, 0, 20.9), (30, 0, 20.9), 0.25),
    )
    light = Light(direction=(-0.62, 0.48, 0.62), ambient=0.58, diffuse=0.58)
    return Place(view=view, light=light, sun=sun, ground=lit(site, view, rods, sun), props=props)


def _pave(site: Site, rng: np.random.Generator, *, turned: float, tile: float, colour: Colour) -> None:
    """Cover the ground with square tiles (metres); joints fade with distance before they alias."""
    x, z = site.view.ground()
    known = np.isfinite(z)
    x, z = np.where(known, x, 0), np.where(known, z, 0)
    u = (x * math.cos(turned) - z * math.sin(turned)) / tile + 1000
    v = (x * math.sin(turned) + z * math.cos(turned)) / tile + 1000
    tones = 1 + rng.normal(0, 0.045, (64, 64)).astype(np.float32)
    tone = tones[np.floor(u).astype(np.int64) % 64, np.floor(v).astype(np.int64) % 64]
    gap = np.minimum(np.abs(u - np.round(u)), np.abs(v - np.round(v))) * tile
    line = np.clip(1.2 - gap / (0.018 * np.clip(z / 14, 0.5, 1.6)), 0, 1)
    tone *= 1 - 0.18 * line * np.clip(22 / np.maximum(z, 1) - 0.6, 0, 1)
    tone *= stains(rng, site.view)
    site.pixels[...] = np.clip(tone[..., None] * np.array(colour, np.float32), 0, 255).astype(np.uint8)


def _cafe(site: Site, rng: np.random.Generator) -> None:
    wall: Colour = (168, 203, 222)
    z = 21.0
    site.upright((-30, 30), (0, 16), z, wall)
    site.upright((-30, 30), (0, 0.7), z, shaded(wall, 0.68))
    site.upright((-30, 30), (4.25, 4.55), z, shaded(wall, 1.1))
    site.upright((-30, 30), (4.15, 4.25), z, shaded(wall, 0.7))
    for index, x in enumerate(np.arange(-14.4, 14.5, 4.8)):
        left = float(x)
        if index % 3 == 1:
            site.upright((left - 0.85, left + 0.85), (0, 3.3), z, (62, 84, 72))
            site.upright((left - 0.65, left + 0.65), (1.1, 3.1), z, (112, 104, 84))
            site.upright((left - 0.02, left + 0.02), (0, 3.3), z, (44, 60, 52))
            site.upright((left - 0.9, left + 0.9), (3.3, 3.5), z, shaded(wall, 0.75))
        else:
            site.upright((left - 1.75, left + 1.75), (0.75, 3.25), z, (70, 66, 58))
            site.upright((left - 1.62, left + 1.62), (0.88, 3.12), z, (104, 92, 70))
            site.polygon(
                [(left - 1.62, 0.88, z), (left - 0.5, 0.88, z), (left + 0.6, 3.12, z), (left - 1.0, 3.12, z)],
                (128, 116, 92),
            )
            site.upright((left - 1.95, left + 1.85), (2.45, 3.55), z, shaded(wall, 0.72))
            site.upright((left - 1.62, left + 1.62), (2.45, 3.12), z, (70, 62, 48))
            for bar in (-0.54, 0.54):
                site.upright((left + bar - 0.04, left + bar + 0.04), (0.88, 3.12), z, (70, 66, 58))
            _awning(site, left, z, (52, 62, 178) if index % 2 else (96, 118, 46))
        for storey in (5.5, 9.0):
            site.upright((left - 0.72, left + 0.72), (storey - 0.1, storey + 2.3), z, shaded(wall, 1.14))
            site.upright((left - 0.58, left + 0.58), (storey, storey + 2.2), z, (112, 98, 76))
            site.polygon(
                [
                    (left - 0.58, storey, z),
                    (left, storey, z),
                    (left + 0.5, storey + 2.2, z),
                    (left - 0.3, storey + 2.2, z),
                ],
                (140, 126, 102),
            )
            site.upright((left - 0.03, left + 0.03), (storey, storey + 2.2), z, shaded(wall, 1.1))
            site.upright((left - 0.58, left + 0.58), (storey + 1.35, storey + 1.41), z, shaded(wall, 1.1))
            for shutter in (-1.05, 0.72):
                site.upright((left + shutter, left + shutter + 0.33), (storey, storey + 2.2), z, (118, 128, 84))
    for x in _TABLES:
        _table(site, rng, x, 18.6)


def _awning(site: Site, x: float, z: float, colour: Colour) -> None:
    stripes = 9
    width = 3.9 / stripes
    for index in range(stripes):
        left = x - 1.95 + index * width
        tone = colour if index % 2 == 0 else (222, 232, 236)
        site.polygon(
            [(left, 3.62, z), (left + width, 3.62, z), (left + width, 2.95, z - 1.1), (left, 2.95, z - 1.1)], tone
        )
        site.upright((left, left + width), (2.75, 2.95), z - 1.1, shaded(tone, 0.82))


def _table(site: Site, rng: np.random.Generator, x: float, z: float) -> None:
    for chair in (-0.75, 0.75):
        site.upright((x + chair - 0.22, x + chair + 0.22), (0.42, 0.48), z, (60, 92, 128))
        for leg in (-0.2, 0.18):
            site.upright((x + chair + leg, x + chair + leg + 0.04), (0, 0.45), z, (48, 60, 78))
        back = x + chair + (0.2 if chair > 0 else -0.24)
        site.upright((back, back + 0.05), (0.42, 0.95), z, (60, 92, 128))
    site.upright((x - 0.03, x + 0.03), (0, 0.74), z, (56, 58, 60))
    site.level((x - 0.42, x + 0.42), 0.74, (z - 0.35, z + 0.35), (206, 214, 218))
    site.leaves(rng, (x, 0.86, z), (0.10, 0.12), (70, 128, 84), count=24)


def _bench(site: Site, x: float, z: float) -> None:
    wood: Colour = (66, 108, 158)
    for end in (-0.95, 0.85):
        site.box((x + end, x + end + 0.10), (0, 0.46), (z, z + 0.45), (62, 60, 58))
        site.upright((x + end, x + end + 0.10), (0.46, 0.98), z, (62, 60, 58))
    for step in range(3):
        site.level((x - 1.1, x + 1.1), 0.46, (z + 0.02 + 0.16 * step, z + 0.14 + 0.16 * step), shaded(wood, 1.15))
    for bottom in (0.52, 0.70, 0.88):
        site.upright((x - 1.1, x + 1.1), (bottom, bottom + 0.13), z - 0.04, wood)
        site.upright((x - 1.1, x + 1.1), (bottom, bottom + 0.025), z - 0.04, shaded(wood, 0.75))


def _poster_column(site: Site, x: float, z: float) -> None:
    site.column(x, z, (0, 0.25), 0.52, (92, 96, 98))
    site.column(x, z, (0.25, 2.75), 0.46, (120, 158, 96))
    for left, right, bottom, top, colour in (
        (-0.40, 0.02, 1.35, 2.25, (214, 226, 232)),
        (0.07, 0.38, 1.45, 2.40, (60, 150, 226)),
        (-0.34, 0.12, 0.45, 1.22, (150, 92, 62)),
        (0.16, 0.40, 0.55, 1.30, (206, 214, 222)),
    ):
        site.upright((x + left, x + right), (bottom, top), z - 0.44, shaded(colour, 1.0 if left < 0 else 0.8))
        site.upright((x + left + 0.05, x + right - 0.05), (top - 0.2, top - 0.12), z - 0.44, shaded(colour, 0.55))
    site.column(x, z, (2.75, 2.95), 0.56, (84, 110, 68))
    site.column(x, z, (2.95, 3.12), 0.36, (84, 110, 68))


def _planter(site: Site, rng: np.random.Generator, x: float, z: float, width: float) -> None:
    site.box((x - width / 2, x + width / 2), (0, 0.55), (z, z + 0.7), (132, 142, 150))
    for step in (-0.32, 0.0, 0.32):
        site.leaves(rng, (x + step * width, 0.95, z + 0.3), (0.36 * width, 0.46), (62, 138, 92), count=220)
