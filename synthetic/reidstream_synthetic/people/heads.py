"""Paints a head: a ball whose skin, hair, eyes and hat turn with the body.

Why a ball and not a picture of a face: each camera must see the same head from its own side. Lengths in here are in
heads: 1 is from the middle of the head to its edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reidstream_synthetic.painting.brush import Canvas, Light, Owners, Pixels
from reidstream_synthetic.painting.fabric import Colour
from reidstream_synthetic.painting.optics import Floats

from .person import Hair, Hat, Person

_EYE_SIDE = 0.36
_PUPIL: Colour = (38.0, 34.0, 34.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A head at `centre` (pixels), `scale` pixels a metre. `turn`: radians, 0 is from behind, pi from the front."""

    person: Person
    centre: Floats
    scale: float
    turn: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Patch:
    """The rectangle around a head; `right` (1, W) and `up` (H, 1) from its middle, in heads of `size` pixels."""

    target: Pixels
    owners: Owners
    owner: int
    right: Floats
    up: Floats
    size: float
    light: Light

    def ball(self, scale: float, lift: float) -> tuple[Floats, Floats, Floats]:
        """Cover, nearness and brightness of a ball."""
        x, y = self.right / np.float32(scale), (self.up - np.float32(lift)) / np.float32(scale)
        square = x * x + y * y
        near = np.sqrt(np.clip(1 - square, 0, 1))
        right, up, towards = self.light.direction
        bright = self.light.ambient * (0.75 + 0.25 * near) + self.light.diffuse * np.maximum(
            x * right + y * up + near * towards, 0
        )
        return self.soft(1 - np.sqrt(square)), near, bright

    def soft(self, inside: Floats) -> Floats:
        """0 outside, 1 inside, an edge one pixel wide; `inside` is the distance from the edge."""
        return np.asarray(np.clip(inside * self.size + 0.5, 0, 1), np.float32)

    def lay(self, colour: Floats, alpha: Floats) -> None:
        self.target[...] = np.clip(self.target + (colour - self.target) * alpha[..., None], 0, 255)
        self.owners[alpha > 0.5] = self.owner  # noqa: PLR2004 - more than half of the pixel


def paint_head(canvas: Canvas, owner: int, head: Head, light: Light) -> None:
    """Paint `head` over what is there."""
    person = head.person
    tall = 0.072 * person.height_m * head.scale
    wide = 0.82 * tall
    cx, cy = float(head.centre[0]), float(head.centre[1])
    height, width = canvas.owner.shape
    x1, x2 = max(0, int(cx - 1.9 * wide)), min(width, int(cx + 1.9 * wide) + 2)
    y1, y2 = max(0, int(cy - 1.6 * tall)), min(height, int(cy + 1.3 * tall) + 2)
    if x1 >= x2 or y1 >= y2:
        return
    patch = _Patch(
        target=canvas.pixels[y1:y2, x1:x2],
        owners=canvas.owner[y1:y2, x1:x2],
        owner=owner,
        right=(np.arange(x1, x2, dtype=np.float32) + np.float32(0.5 - cx))[None, :] / np.float32(wide),
        up=(np.float32(cy - 0.5) - np.arange(y1, y2, dtype=np.float32))[:, None] / np.float32(tall),
        size=wide,
        light=light,
    )
    _lay_face_and_hair(patch, person, head.turn)
    _lay_hat(patch, person, head.turn)


def _lay_face_and_hair(patch: _Patch, person: Person, turn: float) -> None:
    cover, near, bright = patch.ball(1.0, 0.0)
    front = -near * math.cos(turn) - patch.right * math.sin(turn)
    side = patch.right * math.cos(turn) - near * math.sin(turn)
    fringe = _fringe(person.hair_style, front)
    skin, hair, pupil = (np.array(colour, np.float32) for colour in (person.skin, person.hair, _PUPIL))
    colour = skin + (hair - skin) * patch.soft(patch.up - fringe)[..., None]
    hidden = np.where(front > 0, np.float32(0), np.float32(9))
    eyes = np.minimum(np.abs(side - _EYE_SIDE), np.abs(side + _EYE_SIDE))
    eye = patch.soft(0.15 - np.hypot(eyes, 1.4 * (patch.up + 0.02)) - hidden)
    colour = colour + (pupil - colour) * (0.8 * eye)[..., None]
    lips = patch.soft(0.22 - np.hypot(0.7 * side, 2.4 * (patch.up + 0.50)) - hidden)
    colour = colour * (1 - 0.25 * lips)[..., None]
    patch.lay(colour * bright[..., None], cover)
    if person.hair_style is Hair.BUN:
        bun = np.hypot(patch.right - np.float32(0.8 * math.sin(turn)), patch.up - np.float32(0.55))
        patch.lay(hair * np.maximum(bright, patch.light.ambient)[..., None], patch.soft(0.40 - bun))


def _fringe(style: Hair, front: Floats) -> Floats:
    """How far down the hair comes, in heads above the middle."""
    match style:
        case Hair.SHORT:
            return np.asarray(0.04 + 0.55 * front, np.float32)
        case Hair.LONG | Hair.BUN:
            return np.where(front < 0.30, np.float32(-1.5), np.float32(0.12) + np.float32(0.40) * front)  # noqa: PLR2004 - before the ears


def _lay_hat(patch: _Patch, person: Person, turn: float) -> None:
    cloth = np.array(person.hat_colour, np.float32)
    match person.hat:
        case Hat.NONE:
            return
        case Hat.BEANIE:
            cover, _, bright = patch.ball(1.10, 0.08)
            cuff = 1 - 0.22 * patch.soft(0.48 - patch.up)
            patch.lay(cloth * (bright * cuff)[..., None], cover * patch.soft(patch.up - 0.18))
        case Hat.CAP:
            cover, _, bright = patch.ball(1.07, 0.08)
            patch.lay(cloth * bright[..., None], cover * patch.soft(patch.up - 0.30))
            ahead, nearer = -math.sin(turn), -math.cos(turn)
            if nearer > -0.5:  # noqa: PLR2004 - from behind the dome hides the peak
                away = np.hypot(
                    (patch.right - np.float32(0.85 * ahead)) / np.float32(0.62 + 0.2 * abs(nearer)),
                    (patch.up - np.float32(0.34 - 0.12 * nearer)) / np.float32(0.15 + 0.06 * max(nearer, 0)),
                )
                patch.lay(np.float32(0.8) * cloth, patch.soft(0.15 * (1 - away)))
