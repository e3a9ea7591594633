"""Dresses a pose and paints it: parts from far to near, so that a body hides its own far side.

Why elliptical cross-sections: a torso is wider than deep, and the width of an ellipse has a closed form from any side.
Trap: what hangs (skirt, coat, long hair) is a part of its own, and must be nearer than what it covers, from every
side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reidstream_synthetic.painting.brush import Canvas, Light, Part, paint
from reidstream_synthetic.painting.fabric import Colour, Fabric, plain
from reidstream_synthetic.painting.optics import Floats, View
from reidstream_synthetic.painting.shadows import Rod

from .gait import Joint, Stance, local_axes, pose
from .heads import Head, paint_head
from .person import Hair, Legwear, Luggage, Person

_SIDES = (
    (Joint.SHOULDER_L, Joint.ELBOW_L, Joint.HAND_L, Joint.HIP_L, Joint.KNEE_L, Joint.ANKLE_L, Joint.TOE_L),
    (Joint.SHOULDER_R, Joint.ELBOW_R, Joint.HAND_R, Joint.HIP_R, Joint.KNEE_R, Joint.ANKLE_R, Joint.TOE_R),
)
_STRAIGHT = (0.0, 1.0)
_TRUNK_KNOTS = (0.0, 0.05, 0.11, 0.25, 0.50, 0.78, 1.0)
_TRUNK_FRONT = (0.040, 0.072, 0.108, 0.112, 0.096, 0.092, 0.098)
_TRUNK_SIDE = (0.042, 0.058, 0.066, 0.074, 0.068, 0.066, 0.074)

Stroke = tuple[float, Part | Head]  # depth in metres, and what to paint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Body:
    """A pose as one camera sees it. `turn` in radians: 0 is seen from behind, pi from the front."""

    person: Person
    joints: Floats
    right: Floats
    forward: Floats
    turn: float
    view: View

    def part(
        self,
        start: Floats,
        end: Floats,
        half_widths: tuple[float, ...],
        fabric: Fabric,
        *,
        knots: tuple[float, ...] = _STRAIGHT,
        nearer: float = 0.0,
        rounding: float = 1.0,
        shade: float = 1.0,
    ) -> Stroke:
        """A part between two world points; `half_widths` in body heights, `nearer` in metres moves it in the order."""
        pixels, depth = self.view.project(np.stack([start, end]))
        size = self.person.height_m
        scale = 2 * self.view.focal / float(depth.sum()) * size
        part = Part(
            start=pixels[0],
            end=pixels[1],
            knots=knots,
            half_widths=tuple(half * scale for half in half_widths),
            fabric=fabric,
            length_m=float(np.linalg.norm(end - start)),
            radius_m=max(half_widths) * size,
            turn=self.turn,
            rounding=rounding,
            shade=shade,
        )
        return float(depth.mean()) - nearer, part

    def at(self, joint: Joint, right: float = 0.0, up: float = 0.0, forward: float = 0.0) -> Floats:
        """A world point beside a joint, offsets in body heights."""
        size = self.person.height_m
        point: Floats = self.joints[joint] + size * (right * self.right + forward * self.forward)
        point[1] += up * size
        return point

    def across(self, front: float, side: float) -> float:
        """Half the width of an ellipse, `front` seen from the front, `side` from the side, as it is seen now."""
        return math.hypot(front * math.cos(self.turn), side * math.sin(self.turn))


def silhouette(person: Person, stance: Stance, view: View) -> tuple[float, float, float, float]:
    """About where the person appears: x1, y1, x2, y2 in pixels, also beyond the picture's edges."""
    pixels, depth = view.project(pose(person, stance))
    margin = 0.06 * person.height_m * view.focal / float(depth.mean())
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    return float(low[0] - margin), float(low[1] - 1.2 * margin), float(high[0] + margin), float(high[1] + margin / 3)


def rods(person: Person, stance: Stance) -> Iterator[Rod]:
    """The body as thick lines, for its shadow."""
    joints, size = pose(person, stance), person.height_m
    yield Rod(start=joints[Joint.HEAD], end=joints[Joint.HEAD], radius=0.07 * size)
    yield Rod(start=joints[Joint.NECK], end=joints[Joint.PELVIS], radius=0.085 * size)
    for shoulder, elbow, hand, hip, knee, ankle, toe in _SIDES:
        for start, end, radius in (
            (shoulder, elbow, 0.03),
            (elbow, hand, 0.022),
            (hip, knee, 0.05),
            (knee, ankle, 0.035),
            (ankle, toe, 0.025),
        ):
            yield Rod(start=joints[start], end=joints[end], radius=radius * size)


def paint_person(canvas: Canvas, owner: int, person: Person, stance: Stance, *, view: View, light: Light) -> None:
    """Paint the person over what is there."""
    joints = pose(person, stance)
    right, forward = local_axes(stance.heading)
    sight = np.array([stance.x, 0, stance.z], np.float32)
    turn = math.atan2(float(sight @ right), float(sight @ forward))
    body = _Body(person=person, joints=joints, right=right, forward=forward, turn=turn, view=view)
    strokes = [*_legs(body), *_trunk(body), *_arms(body), *_head(body), *_luggage(body)]
    for _, stroke in sorted(strokes, key=lambda stroke: -stroke[0]):
        match stroke:
            case Part():
                paint(canvas, owner, stroke, light)
            case Head():
                paint_head(canvas, owner, stroke, light)


def _legs(body: _Body) -> Iterator[Stroke]:
    person, girth = body.person, body.person.girth
    skin, shoe = plain(person.skin), plain(person.shoes)
    for _, _, _, hip, knee, ankle, toe in _SIDES:
        start, middle, end = body.joints[hip], body.joints[knee], body.joints[ankle]
        match person.legwear:
            case Legwear.TROUSERS:
                yield body.part(start, middle, (0.056 * girth, 0.039 * girth), person.bottom, shade=0.97)
                yield body.part(middle, end, (0.039 * girth, 0.030 * girth), person.bottom, shade=0.94, rounding=0.7)
            case Legwear.SHORTS:
                hem = start + (middle - start) * np.float32(0.82)
                yield body.part(start, hem, (0.058 * girth, 0.052 * girth), person.bottom, nearer=0.02, rounding=0.3)
                yield body.part(hem, middle, (0.040 * girth, 0.033 * girth), skin)
                yield body.part(middle, end, (0.034 * girth, 0.021 * girth), skin)
            case Legwear.SKIRT:
                yield body.part(start, middle, (0.048 * girth, 0.033 * girth), skin)
                yield body.part(middle, end, (0.033 * girth, 0.020 * girth), skin)
        yield body.part(body.at(ankle, up=-0.016, forward=-0.016), body.joints[toe], (0.020, 0.015), shoe)
    if person.legwear is Legwear.SKIRT:
        waist = body.across(0.078, 0.062) * girth
        hem = body.across(0.128, 0.140) * girth
        yield body.part(
            body.at(Joint.PELVIS, up=0.05),
            body.at(Joint.PELVIS, up=-0.20),
            (waist, 0.5 * (waist + hem), hem),
            person.bottom,
            knots=(0.0, 0.4, 1.0),
            nearer=0.30,
            rounding=0.12,
        )


def _trunk(body: _Body) -> Iterator[Stroke]:
    person = body.person
    widths = [body.across(f, s) * person.girth for f, s in zip(_TRUNK_FRONT, _TRUNK_SIDE, strict=True)]
    knots: tuple[float, ...] = _TRUNK_KNOTS
    end = body.at(Joint.PELVIS, up=-0.025)
    if person.coat:
        widths += [body.across(0.118, 0.115) * person.girth]
        knots = (*(0.60 * knot for knot in _TRUNK_KNOTS), 1.0)
        end = body.at(Joint.PELVIS, up=-0.24)
    nearer = 0.12 if person.coat else 0.02
    yield body.part(
        body.at(Joint.NECK, up=0.005), end, tuple(widths), person.top, knots=knots, nearer=nearer, rounding=0.15
    )
    yield body.part(
        body.at(Joint.NECK, up=-0.01), body.at(Joint.HEAD, up=-0.03), (0.031, 0.029), plain(person.skin), shade=0.82
    )


def _arms(body: _Body) -> Iterator[Stroke]:
    person, girth = body.person, body.person.girth
    skin = plain(person.skin)
    for shoulder, elbow, hand, *_ in _SIDES:
        start, middle, end = body.joints[shoulder], body.joints[elbow], body.joints[hand]
        lower = person.top if person.long_sleeves else skin
        yield body.part(start, middle, (0.035 * girth, 0.030 * girth), person.top, nearer=0.01, shade=0.96)
        yield body.part(middle, end, (0.028 * girth, 0.020 * girth), lower, shade=0.98)
        yield body.part(end, end + (end - middle) * np.float32(0.24), (0.020, 0.016), skin)


def _head(body: _Body) -> Iterator[Stroke]:
    person = body.person
    pixels, depth = body.view.project(body.joints[Joint.HEAD])
    yield (
        float(depth) - 0.02,
        Head(person=person, centre=pixels, scale=body.view.focal / float(depth), turn=body.turn),
    )
    if person.hair_style is Hair.LONG:
        yield body.part(
            body.at(Joint.HEAD, up=0.01, forward=-0.022),
            body.at(Joint.NECK, up=-0.045, forward=-0.055),
            (0.046, 0.052, 0.038),
            plain(person.hair),
            knots=(0.0, 0.6, 1.0),
            nearer=0.04 * math.cos(body.turn),
            rounding=0.6,
        )


def _luggage(body: _Body) -> Iterator[Stroke]:
    person = body.person
    cloth = plain(person.luggage_colour)
    dark = plain(_darker(person.luggage_colour))
    match person.luggage:
        case Luggage.NONE:
            return
        case Luggage.BACKPACK:
            half = body.across(0.088, 0.044)
            behind = 0.10 * math.cos(body.turn)
            yield body.part(
                body.at(Joint.NECK, up=-0.03, forward=-0.105),
                body.at(Joint.PELVIS, up=0.045, forward=-0.105),
                (0.8 * half, half, half, 0.85 * half),
                cloth,
                knots=(0.0, 0.15, 0.85, 1.0),
                nearer=behind,
                rounding=0.35,
            )
            yield body.part(
                body.at(Joint.NECK, up=-0.19, forward=-0.135),
                body.at(Joint.PELVIS, up=0.065, forward=-0.135),
                (0.72 * half, 0.72 * half),
                dark,
                nearer=behind + 0.02,
                rounding=0.3,
            )
            for side in (-0.062, 0.062):
                yield body.part(
                    body.at(Joint.NECK, right=side, up=-0.005, forward=0.0),
                    body.at(Joint.NECK, right=1.25 * side, up=-0.17, forward=0.070),
                    (0.013, 0.011),
                    dark,
                    nearer=-0.06 * math.cos(body.turn),
                )
        case Luggage.SHOULDER_BAG:
            yield body.part(
                body.at(Joint.SHOULDER_L, right=0.05, up=0.015),
                body.at(Joint.HIP_R, right=0.055, up=0.05),
                (0.009, 0.009),
                dark,
                nearer=0.16,
            )
            yield body.part(
                body.at(Joint.HIP_R, right=0.062, up=0.040, forward=-0.03),
                body.at(Joint.HIP_R, right=0.066, up=-0.060, forward=-0.03),
                (body.across(0.026, 0.064),) * 2,
                cloth,
                nearer=0.04,
                rounding=0.25,
            )


def _darker(colour: Colour) -> Colour:
    return (0.62 * colour[0], 0.62 * colour[1], 0.62 * colour[2])
