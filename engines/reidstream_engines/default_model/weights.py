"""The numbers of the descriptor: the chosen constants, and the matrices that follow from them.

Nothing here is learned. The constants below, all round numbers, say how pixels vote, which pixels count for a stripe,
and how much of the usual exposure and tint is removed. Centre and whitening are the moments of a *prior*: stripes of
one colour, whose luminance is log-normal and whose chromaticities are Laplace-distributed around grey.

Traps: the sign of an eigenvector is arbitrary and differs between machines, so `whitening` fixes it. And the prior is
narrower in red-green than in blue-yellow, also because with equal widths eigenvectors would not be unique.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

CROP_HEIGHT, CROP_WIDTH = 128, 64
HEIGHT, WIDTH = CROP_HEIGHT // 2, CROP_WIDTH // 2
"""Of the halved crop: what is looked at."""

SCALES = (2, 6)
"""Numbers of stripes over the height: coarse stripes and fine stripes. Neighbours overlap by half."""
STRIPES = sum(SCALES)
TOP_WEIGHT, BOTTOM_WEIGHT = 1.25, 0.75
"""Heads and torsos are hidden less often than feet."""
CENTRE_SPREAD = 0.2
"""Standard deviation, in crop widths, of the weight that falls off from the vertical centre line."""

LUMINANCES = (-1.5, -0.75, 0.0, 0.75, 1.5)
"""Of the bins: natural logarithms of a pixel's luminance over the reference's."""
LUMINANCE_SPREAD = 0.5
RINGS = ((0.08, 6), (0.2, 12))
"""(radius, bins) about grey in the plane of chromaticities."""
CHROMA_SPREAD = 0.06
CHROMA_LIMIT = 0.5
DARK = 0.08
"""Added to a luminance of 0 to 1 before it divides or its logarithm is taken: noise of dark pixels stays small."""

EXPOSURE_SHARE = 0.75
"""How much of the crop's exposure is removed; the rest distinguishes people in black from people in white."""
USUAL_LUMINANCE = 0.35
TORSO_Y, TORSO_SPREAD_Y, TORSO_SPREAD_X = 0.35, 0.2, 0.18
"""Where exposure is measured, in crop heights and widths. The tint is measured on the whole crop."""
TINT_SHARE = 0.7

PRIOR_LUMINANCE = 0.8
PRIOR_RED_GREEN, PRIOR_BLUE_YELLOW = 0.09, 0.12
"""Standard deviations of the prior."""
PRIOR_POINTS = 24
COMPONENTS = 32
"""Whitened colour dimensions of a stripe."""
RIDGE = 0.05
"""Added to each variance before whitening, as a share of the largest."""

REACHES = (1, 2)
"""In pixels to both sides. Two of them, since each one misses patterns that repeat at its distance."""
MARGIN = max(REACHES)
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""(rows, columns), times a reach."""
CHANNELS = 2 * len(REACHES) * len(DIRECTIONS)
CONTRAST = 0.15
"""A difference of log luminances counts from half of this, and fully from one and a half times this."""
SOME = 0.001
"""Added to a texture's rate before its root is taken: the difference of none and next to none stays small."""
USUAL_ROOT = 0.4
"""Of a texture's rate: the centre of its feature."""
TEXTURE_WEIGHT = 0.4
"""Length of the texture's part beside the colour's, which is 1."""
SMALL = 0.01
"""Added to a part's length before it divides. Lengths are about 6 (colour) and 1 (texture)."""

DIM = STRIPES * (COMPONENTS + CHANNELS)


def _centres(count: int, margin: int = 0) -> Floats:
    """Of `count` pixels across 0..1, less `margin` of them at each end."""
    return (np.arange(margin, count - margin, dtype=np.float64) + 0.5) / count


def _bell(x: Floats, centre: float, spread: float) -> Floats:
    return np.asarray(np.exp(-0.5 * ((x - centre) / spread) ** 2), np.float64)


def stripes(margin: int = 0) -> Floats:
    """(STRIPES, pixels): each row weighs the pixels of one stripe and sums to 1."""
    y, across = _centres(HEIGHT, margin), _bell(_centres(WIDTH, margin), 0.5, CENTRE_SPREAD)
    rows: list[Floats] = []
    for count in SCALES:
        for centre in _centres(count):
            weights = np.outer(np.maximum(0, 1 - np.abs(y - centre) * count), across).ravel()
            rows.append(weights / weights.sum())
    return np.array(rows)


def stripe_weights() -> Floats:
    """(STRIPES,), in the order of `stripes`."""
    centres = np.concatenate([_centres(count) for count in SCALES])
    return np.asarray(TOP_WEIGHT + (BOTTOM_WEIGHT - TOP_WEIGHT) * centres, np.float64)


def torso() -> Floats:
    """(pixels, 1), sums to 1: where exposure is measured."""
    down, across = _bell(_centres(HEIGHT), TORSO_Y, TORSO_SPREAD_Y), _bell(_centres(WIDTH), 0.5, TORSO_SPREAD_X)
    weights = np.outer(down, across).reshape(-1, 1)
    return np.asarray(weights / weights.sum(), np.float64)


def luminance_bins() -> Floats:
    """(bins, 1), in spreads."""
    return np.array(LUMINANCES)[:, None] / LUMINANCE_SPREAD


def chroma_bins() -> Floats:
    """(bins, 2), in spreads: grey, then rings turned by half a step against one another."""
    bins = [(0.0, 0.0)]
    for ring, (radius, count) in enumerate(RINGS):
        angles = [2 * math.pi * (step + ring % 2 / 2) / count for step in range(count)]
        bins += [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
    return np.array(bins) / CHROMA_SPREAD


def step_kernels() -> Floats:
    """(CHANNELS, 1, size, size): differences across a pixel by reach and direction, then the same the other way."""
    steps = [(reach * down, reach * right) for reach in REACHES for down, right in DIRECTIONS]
    kernels = np.zeros((len(steps), 1, 2 * MARGIN + 1, 2 * MARGIN + 1))
    for kernel, (down, right) in zip(kernels, steps, strict=True):
        kernel[0, MARGIN + down, MARGIN + right] = 1 / CONTRAST
        kernel[0, MARGIN - down, MARGIN - right] = -1 / CONTRAST
    return np.concatenate([kernels, -kernels])


def _votes(points: Floats, bins: Floats) -> Floats:
    """(points, bins): Gaussians about the bins, normalised over them. What the graph computes, for the prior."""
    distances = ((points[:, None] - bins[None]) ** 2).sum(axis=2)
    votes = np.exp(-0.5 * (distances - distances.min(axis=1, keepdims=True)))
    return np.asarray(votes / votes.sum(axis=1, keepdims=True), np.float64)


def whitening() -> tuple[Floats, Floats]:
    """((bins, COMPONENTS), (COMPONENTS,)): y = root @ first - second has the prior's mean 0 and about its variance 1.

    Luminance and chromaticity are independent in the prior and in the votes, so the moments are products.
    """
    ranks = _centres(PRIOR_POINTS)
    luminances = np.array([NormalDist(0, PRIOR_LUMINANCE).inv_cdf(rank) for rank in ranks.tolist()])
    laplace = -np.sign(ranks - 0.5) * np.log(1 - 2 * np.abs(ranks - 0.5)) / math.sqrt(2)
    plane = np.meshgrid(laplace * PRIOR_RED_GREEN, laplace * PRIOR_BLUE_YELLOW, indexing="ij")
    chromas = np.stack(plane, axis=-1).reshape(-1, 2)
    by_luminance = np.sqrt(_votes(luminances[:, None] / LUMINANCE_SPREAD, luminance_bins()))
    by_chroma = np.sqrt(_votes(chromas / CHROMA_SPREAD, chroma_bins()))
    mean = np.outer(by_luminance.mean(axis=0), by_chroma.mean(axis=0)).ravel()
    second = np.kron(by_luminance.T @ by_luminance / len(by_luminance), by_chroma.T @ by_chroma / len(by_chroma))
    variances, vectors = np.linalg.eigh(second - np.outer(mean, mean))
    variances, vectors = variances[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    vectors = vectors * np.sign(np.cos(np.arange(1, len(vectors) + 1)) @ vectors)
    projection = vectors / np.sqrt(variances + RIDGE * variances[0])
    return projection, mean @ projection
