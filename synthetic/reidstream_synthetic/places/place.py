"""A place: what a camera sees while nobody is there, and helpers to build one.

Why props are patches of their own: people walk behind and before them, so each frame paints people and props in the
order of their depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from reidstream_synthetic.painting.brush import Light, Pixels
from reidstream_synthetic.painting.optics import Floats, View
from reidstream_synthetic.painting.shadows import Rod, Sun, cast_shadows

from .masonry import Site, empty_site

WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prop:
    """Something that hides who walks behind it: a patch of the picture, and how far away it stands (metres)."""

    depth: float
    left: int
    top: int
    pixels: Pixels
    cover: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A view, its light, its background and what stands in the way."""

    view: View
    light: Light
    sun: Sun
    ground: Pixels
    props: tuple[Prop, ...]


def lit(site: Site, view: View, rods: Sequence[Rod], sun: Sun) -> Pixels:
    """The finished ground of a site, with the shadows of what stands on it."""
    ground, _ = site.finish()
    cast_shadows(ground, view, rods, sun)
    return ground


def rod(start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> Rod:
    """A rod between two points in metres."""
    return Rod(start=np.array(start, np.float32), end=np.array(end, np.float32), radius=radius)


def prop(view: View, depth: float, build: Callable[[Site], None]) -> Prop:
    """What `build` builds, as a patch that stands `depth` metres away."""
    site = empty_site(view)
    build(site)
    pixels, cover = site.finish()
    ys, xs = np.nonzero(cover.any(axis=1))[0], np.nonzero(cover.any(axis=0))[0]
    top, bottom, left, right = int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1
    # The site's own background is black: divide it out, so that blending does not darken the edge.
    part = np.maximum(cover[top:bottom, left:right], np.float32(0.01))
    colours = np.clip(pixels[top:bottom, left:right] / part[..., None], 0, 255).astype(np.uint8)
    return Prop(depth=depth, left=left, top=top, pixels=colours, cover=cover[top:bottom, left:right])


def stains(rng: np.random.Generator, view: View) -> Floats:
    """Soft brightness variation, about 1."""
    coarse = rng.normal(0, 1, (9, 16)).astype(np.float32)
    smooth = cv2.resize(coarse, (view.width, view.height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 1, (view.height // 2, view.width // 2)).astype(np.float32)
    fine = cv2.resize(grain, (view.width, view.height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 + 0.025 * smooth + 0.018 * fine, np.float32)
