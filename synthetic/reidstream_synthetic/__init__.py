"""Drawn people before drawn cameras, with their truth: for demonstrations, trackers, training and tests.

    from reidstream_synthetic import make_scene

    scene = make_scene(7, people=8, cameras=2, frames=100)
    for camera in scene.cameras:
        for frame in camera:                      # drawn now, about 60 ms each
            frame.pixels                          # (720, 1280, 3) uint8, BGR
            frame.people, frame.boxes, frame.visibility

The same arguments draw the same pixels. A person has the same number in all cameras. `write_motchallenge` writes a
scene as MOTChallenge sequences; `python -m reidstream_synthetic --help` is the command for it.

    scene         make_scene: a cast, its ways, and the cameras that see it
    ways          who walks where, and when
    camera        a camera's frames, one after the other
    moment        one moment: who is painted before whom, and how much is seen of each
    frame         a frame with its truth
    detections    what an inaccurate detector finds in a frame
    motchallenge  sequences in files
    cli           the command
    parser        how it tells a wrong word
    people/       who they are, how they walk, how they are painted
    places/       a plaza and a crossing
    painting/     projection, brush, shadows, cloth, sensor

Arrows: scene -> camera -> moment -> people, places -> painting. Nothing in here knows of servers, vectors or matches.
"""

from .camera import Camera
from .detections import Detections, DetectorNoise, detect
from .frame import Frame
from .motchallenge import write_motchallenge
from .scene import Scene, make_scene

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "Detections",
    "DetectorNoise",
    "Frame",
    "Scene",
    "detect",
    "make_scene",
    "write_motchallenge",
]
