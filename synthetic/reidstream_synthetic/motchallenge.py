"""Writes a scene as MOTChallenge sequences, one folder for each camera, for any tracker or evaluation that reads them.

    synthetic-7-c1/
      seqinfo.ini
      img1/000001.jpg ...
      gt/gt.txt      frame, id, left, top, width, height, 1, 1, visibility
      det/det.txt    frame, -1, left, top, width, height, score, -1, -1, -1     (if asked for)

Frames and ids begin with 1; a person has the same id in all cameras. In the truth 1, 1 means: counts, pedestrian. It
holds everybody of whom one pixel was in the picture, also those who are hidden (visibility 0).

Trap: MOTChallenge's own files count pixels from 1, but every reader takes the numbers as they are. So they are written
as the drawing has them, from 0, and what is read is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .camera import Camera
from .detections import DetectorNoise, detect
from .frame import Frame
from .scene import Scene


def write_motchallenge(
    folder: Path,
    scene: Scene,
    *,
    noise: DetectorNoise | None = None,
    quality: int = 90,
    on_frame: Callable[[], object] = lambda: None,
) -> tuple[Path, ...]:
    """Draw all frames into `folder`, which is made; returns the sequences' folders, one for each camera.

    `noise`: write `det/det.txt` as such a detector would have it; None writes none. `quality`: of the JPEGs, 1 to 100.
    `on_frame` is called after each frame, `frames` times the number of cameras. Raises FileExistsError if a sequence is
    there already, before anything is drawn, and OSError.
    """
    sequences = tuple(folder / f"synthetic-{scene.seed}-{camera.name}" for camera in scene.cameras)
    for sequence in sequences:
        if sequence.exists():
            raise FileExistsError(f"{sequence} exists already; remove it, or write to another folder")
    for sequence, camera in zip(sequences, scene.cameras, strict=True):
        _draw(sequence, camera, noise=noise, quality=quality, on_frame=on_frame)
        _describe(sequence, camera, scene.frames_per_second)
    return sequences


def _draw(
    sequence: Path, camera: Camera, *, noise: DetectorNoise | None, quality: int, on_frame: Callable[[], object]
) -> None:
    for name in ("img1", "gt", *(() if noise is None else ("det",))):
        (sequence / name).mkdir(parents=True)
    truth: list[str] = []
    found: list[str] = []
    for frame in camera:
        (sequence / "img1" / f"{frame.number:06d}.jpg").write_bytes(frame.jpeg(quality))
        truth += _truth(frame)
        if noise is not None:
            found += _detections(frame, noise)
        on_frame()
    (sequence / "gt" / "gt.txt").write_text("".join(truth), encoding="utf-8")
    if noise is not None:
        (sequence / "det" / "det.txt").write_text("".join(found), encoding="utf-8")


def _describe(sequence: Path, camera: Camera, frames_per_second: float) -> None:
    (sequence / "seqinfo.ini").write_text(
        "[Sequence]\n"
        f"name={sequence.name}\n"
        "imDir=img1\n"
        f"frameRate={frames_per_second:g}\n"
        f"seqLength={len(camera)}\n"
        f"imWidth={camera.width}\n"
        f"imHeight={camera.height}\n"
        "imExt=.jpg\n",
        encoding="utf-8",
    )


def _truth(frame: Frame) -> list[str]:
    return [
        f"{frame.number},{person},{x1:g},{y1:g},{x2 - x1:g},{y2 - y1:g},1,1,{seen:.4f}\n"
        for person, (x1, y1, x2, y2), seen in zip(
            frame.people.tolist(), frame.boxes.tolist(), frame.visibility.tolist(), strict=True
        )
    ]


def _detections(frame: Frame, noise: DetectorNoise) -> list[str]:
    found = detect(frame, noise)
    return [
        f"{frame.number},-1,{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},-1,-1,-1\n"
        for (x1, y1, x2, y2), score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)
    ]
