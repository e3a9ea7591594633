"""How a walking body stands: the joints of a person at one moment, in metres.

Why in three dimensions: cameras see the same walk from the front, the side and behind. Trap: the height of the hip
follows the standing leg. With a fixed height, feet would sink into the ground or float.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from reidstream_synthetic.painting.optics import Floats

from .person import Person

STRIDE_PER_HEIGHT = 0.84  # metres walked in one cycle of two steps, for each metre of body height


class Joint(IntEnum):
    """Rows of a pose. Left is the person's own left."""

    PELVIS = 0
    NECK = 1
    HEAD = 2
    SHOULDER_L = 3
    SHOULDER_R = 4
    ELBOW_L = 5
    ELBOW_R = 6
    HAND_L = 7
    HAND_R = 8
    HIP_L = 9
    HIP_R = 10
    KNEE_L = 11
    KNEE_R = 12
    ANKLE_L = 13
    ANKLE_R = 14
    TOE_L = 15
    TOE_R = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stance:
    """Where a person is, and has walked, in metres. `heading`: radians, 0 is away from the camera, pi/2 right."""

    x: float
    z: float
    heading: float
    walked: float


def local_axes(heading: float) -> tuple[Floats, Floats]:
    """The person's own right and forward as world vectors."""
    sin, cos = math.sin(heading), math.cos(heading)
    return np.array([cos, 0, -sin], np.float32), np.array([sin, 0, cos], np.float32)


def pose(person: Person, stance: Stance) -> Floats:
    """(17, 3) world positions of the joints, in metres. The lowest foot stands on the ground."""
    size, girth = person.height_m, person.girth
    cycle = person.phase + 2 * math.pi * stance.walked / (STRIDE_PER_HEIGHT * size)
    joints = np.zeros((len(Joint), 3), np.float32)  # (right, up, forward) from the point between the hips
    lowest = 0.0
    for left, side, swing in ((True, -1.0, cycle), (False, 1.0, cycle + math.pi)):
        hip, knee, ankle, toe = (
            (Joint.HIP_L, Joint.KNEE_L, Joint.ANKLE_L, Joint.TOE_L)
            if left
            else (Joint.HIP_R, Joint.KNEE_R, Joint.ANKLE_R, Joint.TOE_R)
        )
        thigh = 0.06 + 0.42 * math.sin(swing)
        shin = thigh - 0.10 - 0.95 * max(0.0, math.cos(swing)) ** 1.6
        joints[hip] = (side * 0.052 * size * girth, 0, 0.012 * size * side * math.sin(cycle))
        joints[knee] = joints[hip] + _down(0.245 * size, thigh)
        joints[ankle] = joints[knee] + _down(0.235 * size, shin)
        tilt = 0.35 * min(0.0, shin + 0.25) - 0.12 * max(0.0, math.sin(swing) - 0.7)
        joints[toe] = joints[ankle] + np.array(
            [0.012 * size * side, size * (-0.022 + 0.11 * tilt), 0.105 * size], np.float32
        )
        lowest = min(lowest, float(joints[ankle, 1]) - 0.036 * size, float(joints[toe, 1]) - 0.016 * size)

        shoulder, elbow, hand = (
            (Joint.SHOULDER_L, Joint.ELBOW_L, Joint.HAND_L) if left else (Joint.SHOULDER_R, Joint.ELBOW_R, Joint.HAND_R)
        )
        arm = -0.42 * math.sin(swing)
        twist = -0.018 * size * side * math.sin(cycle)
        joints[shoulder] = (side * 0.097 * size * girth, 0.283 * size, twist)
        joints[elbow] = joints[shoulder] + _down(0.165 * size, arm, outwards=side * 0.030 * size * girth)
        joints[hand] = joints[elbow] + _down(0.165 * size, arm + 0.30 + 0.30 * max(0.0, arm))
    joints[Joint.PELVIS] = (0, 0, 0)
    joints[Joint.NECK] = (0, 0.325 * size, 0.012 * size)
    joints[Joint.HEAD] = (0, 0.415 * size, 0.024 * size)
    joints[:, 1] -= lowest
    right, forward = local_axes(stance.heading)
    world = joints[:, :1] * right + joints[:, 2:] * forward
    world[:, 1] = joints[:, 1]
    world += np.array([stance.x, 0, stance.z], np.float32)
    return world


def _down(length: float, angle: float, outwards: float = 0.0) -> Floats:
    """A bone that hangs, turned forward by `angle`."""
    return np.array([outwards, -length * math.cos(angle), length * math.sin(angle)], np.float32)
