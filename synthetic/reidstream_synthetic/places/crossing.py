"""A street crossing under clouds, before a brick house."""

from __future__ import annotations

import math

import numpy as np

from reidstream_synthetic.painting.brush import Light
from reidstream_synthetic.painting.fabric import Colour
from reidstream_synthetic.painting.optics import View
from reidstream_synthetic.painting.shadows import Sun

from .masonry import Site, empty_site, shaded
from .place import HEIGHT, WIDTH, Place, lit, prop, rod, stains

_TREES = (-6.0, 6.1)


VIEW = View(width=WIDTH, height=HEIGHT, height_m=4.3, pitch=math.radians(15.5), focal=1150)
BACK_M = 19.3  # metres to the house, behind which nobody walks


def crossing(rng: np.random.Generator, view: View = VIEW) -> Place:
    """Asphalt with a zebra crossing, a brick front, grey light from above; bricks and leaves are drawn from `rng`."""
    sun = Sun(x=-0.10, z=0.06, dark=0.34, blur=2.6)
    site = empty_site(view)
    _asphalt(site, rng)
    _brick_front(site, rng)
    props = (
        prop(view, 9.0, lambda site: _lamp_post(site, 2.7, 9.0)),
        prop(view, 14.1, lambda site: _letter_box(site, -3.9, 14.1)),
        prop(view, 14.2, lambda site: _railing(site, 3.7, 7.0, 14.2)),
    )
    rods = (
        rod((2.7, 0, 9.0), (2.7, 3, 9.0), 0.14),
        rod((-4.1, 0.1, 14.45), (-3.7, 0.1, 14.45), 0.5),
        rod((3.7, 0.1, 14.2), (7.0, 0.1, 14.2), 0.10),
        rod((-30, 0, 19.3), (30, 0, 19.3), 0.4),
        *(rod((x, 0, 17.3), (x, 0, 17.3), 0.9) for x in _TREES),
    )
    light = Light(direction=(0.25, 0.75, 0.61), ambient=0.70, diffuse=0.30)
    return Place(view=view, light=light, sun=sun, ground=lit(site, view, rods, sun), props=props)


def _asphalt(site: Site, rng: np.random.Generator) -> None:
    tar = np.array((112, 108, 104), np.float32)
    site.pixels[...] = np.clip(stains(rng, site.view)[..., None] * tar, 0, 255).astype(np.uint8)
    white: Colour = (206, 208, 206)
    for index in range(9):
        site.level((-2.9, 3.1), 0, (4.6 + index, 5.1 + index), shaded(white, 1 - 0.03 * (index % 3)))
    kerb = 13.6
    x, z = site.view.ground()
    path = np.isfinite(z) & (z > kerb + 0.22)
    u, v = np.where(path, x, 0) / 0.6 + 500, np.where(path, z, 0) / 0.6 + 500
    tones = 1 + rng.normal(0, 0.05, (32, 32)).astype(np.float32)
    tone = tones[np.floor(u).astype(np.int64) % 32, np.floor(v).astype(np.int64) % 32]
    gap = np.minimum(np.abs(u - np.round(u)), np.abs(v - np.round(v)))
    tone *= 1 - 0.12 * np.clip(1.2 - gap / 0.03, 0, 1)
    slabs = tone[..., None] * np.array((142, 146, 146), np.float32)
    site.pixels[path] = np.clip(slabs[path], 0, 255).astype(np.uint8)
    site.level((-40, 40), 0, (kerb, kerb + 0.10), (128, 130, 130))
    site.level((-40, 40), 0, (kerb + 0.10, kerb + 0.24), (176, 180, 180))
    for left in (-9.6, 4.4):
        site.level((left, left + 4.2), 0, (9.0, 9.14), shaded(white, 0.92))


def _brick_front(site: Site, rng: np.random.Generator) -> None:
    z = 19.5
    brick: Colour = (78, 92, 146)
    site.upright((-30, 30), (0, 14), z, shaded(brick, 0.80))
    for row in range(64):
        bottom = 0.6 + 0.16 * row
        for column in range(-25, 26):
            left = 0.48 * column + (0.24 if row % 2 else 0)
            site.upright(
                (left, left + 0.455), (bottom, bottom + 0.135), z, shaded(brick, float(rng.uniform(0.88, 1.10)))
            )
    site.upright((-30, 30), (0, 0.6), z, (104, 108, 110))
    for x in np.arange(-12.0, 12.1, 4.0):
        left = float(x)
        if abs(left) < 1:
            site.upright((left - 0.95, left + 0.95), (0, 3.0), z, (196, 198, 196))
            site.upright((left - 0.78, left + 0.78), (0, 2.85), z, (86, 62, 40))
            for panel in (-0.62, 0.10):
                site.upright((left + panel, left + panel + 0.52), (1.35, 2.6), z, (104, 78, 54))
                site.upright((left + panel, left + panel + 0.52), (0.25, 1.15), z, (104, 78, 54))
            site.level((left - 1.3, left + 1.3), 0.16, (z - 0.6, z), (158, 160, 160))
            site.upright((left - 1.3, left + 1.3), (0, 0.16), z - 0.6, (128, 130, 130))
        else:
            site.upright((left - 0.95, left + 0.95), (1.05, 3.05), z, (204, 206, 204))
            site.upright((left - 0.82, left + 0.82), (1.2, 2.95), z, (92, 84, 72))
            site.polygon(
                [(left - 0.82, 1.2, z), (left - 0.2, 1.2, z), (left + 0.5, 2.95, z), (left - 0.5, 2.95, z)],
                (116, 108, 96),
            )
            site.upright((left - 0.04, left + 0.04), (1.2, 2.95), z, (204, 206, 204))
            site.upright((left - 0.82, left + 0.82), (2.2, 2.28), z, (204, 206, 204))
            site.upright((left - 1.05, left + 1.05), (0.93, 1.05), z - 0.08, (182, 186, 186))
    for x in _TREES:
        site.upright((x - 0.16, x + 0.16), (0, 4.0), z - 2.2, (54, 66, 76))
        site.leaves(rng, (x, 4.6, z - 2.2), (1.9, 1.5), (66, 112, 84), count=420)


def _lamp_post(site: Site, x: float, z: float) -> None:
    site.column(x, z, (0, 0.75), 0.15, (70, 66, 58))
    site.column(x, z, (0.75, 6.0), 0.085, (78, 74, 66))
    site.upright((x - 0.33, x + 0.33), (2.15, 2.75), z - 0.1, (150, 84, 34))
    site.upright((x - 0.29, x + 0.29), (2.19, 2.71), z - 0.1, (176, 102, 44))
    site.polygon([(x - 0.2, 2.26, z - 0.1), (x + 0.2, 2.26, z - 0.1), (x, 2.64, z - 0.1)], (232, 234, 232))


def _letter_box(site: Site, x: float, z: float) -> None:
    red: Colour = (44, 46, 176)
    site.box((x - 0.38, x + 0.38), (0, 0.2), (z, z + 0.6), (64, 64, 64))
    site.box((x - 0.42, x + 0.42), (0.2, 1.45), (z, z + 0.65), red)
    site.upright((x - 0.28, x + 0.28), (1.08, 1.16), z - 0.01, (34, 34, 60))
    site.upright((x - 0.22, x + 0.22), (0.62, 0.92), z - 0.01, (206, 212, 214))


def _railing(site: Site, x1: float, x2: float, z: float) -> None:
    steel: Colour = (96, 92, 84)
    for height in (0.32, 0.62, 0.98):
        site.upright((x1, x2), (height, height + 0.06), z, shaded(steel, 1.1))
    for x in np.arange(x1, x2 + 0.01, 1.1):
        site.upright((float(x) - 0.04, float(x) + 0.04), (0, 1.04), z, steel)
