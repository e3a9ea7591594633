"""Clips with their truth: what a detector found in each frame, the row of every box, and who is who.

Every box is embedded once, and what is asked of the clip later (which policy, which tracker) only looks rows up. So a
clip is kept in a file, by everything that it depends on. Drawn clips come from `reidstream_synthetic`: people cross,
hide one another, leave the picture and come back. MOT17's come with the truth's boxes, 4 to 8 frames each.

Trap: people who are hardly seen are no part of the truth (as no detector finds them); MIN_VISIBLE says from where on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from reidstream_engines.boxes import Rect
from reidstream_server.tracks.sighting import geometry
from reidstream_synthetic import DetectorNoise, detect, make_scene

from .assignment import Doubles, assign
from .idf1 import MIN_IOU, iou
from .vectors import Embedder, Pixels, Rows

MIN_VISIBLE = 0.2
NOBODY = -1
Ids = npt.NDArray[np.int64]
_PEOPLE = (1, 2, 7)
"""MOT17's classes of people: walking, on a vehicle, standing. What a detector of people finds."""


_OF_BOXES = ("rects", "scores", "rows", "quality", "overlap", "hidden", "owners")
_OF_PEOPLE = ("people", "boxes", "visibility")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """One frame. Of N found boxes: rects, scores, rows, quality (visible share x enlargement), the overlap and the
    hidden share among them, and whose each is (`NOBODY`: nobody's). Of M people: their ids, boxes, visibility.
    """

    taken_ns: int
    rects: Doubles
    scores: Doubles
    rows: Rows
    quality: Doubles
    overlap: Doubles
    hidden: Doubles
    owners: Ids
    people: Ids
    boxes: Doubles
    visibility: Doubles

    def only(self, kept: npt.NDArray[np.bool_]) -> Moment:
        """The same frame with some of the found boxes."""
        return replace(self, **{name: getattr(self, name)[kept] for name in _OF_BOXES})

    @property
    def seen(self) -> Doubles:
        """(N,): the visibility of whoever is in each box; 0 for nobody."""
        of = dict(zip(self.people.tolist(), self.visibility.tolist(), strict=True))
        return np.array([of.get(owner, 0.0) for owner in self.owners.tolist()])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A camera's frames in order. `width`, `height`: of its pictures."""

    name: str
    width: int
    height: int
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A clip to draw. `camera`: its number in the scene, from 0. `looks`: how many detectors look at the same frames.

    `every`: of each so many frames one is taken, for a camera with fewer than 15 frames a second.
    """

    seed: int
    camera: int
    people: int
    frames: int
    looks: int = 1
    every: int = 1

    def __str__(self) -> str:
        rate = f"-every{self.every}" if self.every > 1 else ""
        return f"drawn-{self.seed}-c{self.camera + 1}-{self.people}p-{self.frames}f{rate}"


def drawn(wanted: Drawn, embedder: Embedder, folder: Path | None) -> list[Clip]:
    """The clips of one camera, one for each look. `folder`: where they are kept; None: nowhere."""
    names = [f"{wanted}-look{look}" for look in range(wanted.looks)]
    kept = [] if folder is None else [_load(_file(folder, name, embedder)) for name in names]
    if kept and all(clip is not None for clip in kept):
        return [clip for clip in kept if clip is not None]
    scene = make_scene(wanted.seed, people=wanted.people, cameras=wanted.camera + 1, frames=wanted.frames)
    camera = scene.cameras[wanted.camera]
    moments: list[list[Moment]] = [[] for _ in names]
    for frame in camera:
        if (frame.number - 1) % wanted.every:
            continue
        taken_ns = round((frame.number - 1) * 1e9 / scene.frames_per_second)
        there = frame.visibility >= MIN_VISIBLE
        truth = _Truth(people=frame.people[there], boxes=frame.boxes[there], visibility=frame.visibility[there])
        for look, made in enumerate(moments):
            found = detect(frame, DetectorNoise(seed=100 * wanted.seed + look))
            _, moment = _seen_in(frame.pixels, taken_ns, found.boxes, found.scores, embedder)
            made.append(_owned(moment, truth))
    clips = [
        Clip(name=name, width=camera.width, height=camera.height, moments=tuple(made))
        for name, made in zip(names, moments, strict=True)
    ]
    if folder is not None:
        for clip in clips:
            _save(_file(folder, clip.name, embedder), clip)
    return clips


def mot17(frames: Path, embedder: Embedder) -> Iterator[Clip]:
    """MOT17's sequences with the boxes of its truth. Raises OSError if a file is missing."""
    for folder in sorted(frames.glob("MOT17-*")):
        table = np.loadtxt(folder / "gt.txt", delimiter=",", ndmin=2)
        table = table[np.isin(table[:, 7], _PEOPLE)]
        settings = dict(
            line.split("=", 1) for line in (folder / "seqinfo.ini").read_text("utf-8").splitlines() if "=" in line
        )
        moments = []
        for number in np.unique(table[:, 0]).tolist():
            picture = cv2.imread(str(folder / "img1" / f"{int(number):06d}.jpg"))
            if picture is None:
                raise FileNotFoundError(f"no picture of frame {int(number)} in {folder}")
            rows = table[table[:, 0] == number]
            boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
            counts = (rows[:, 6] == 1) & (rows[:, 7] == 1)
            owners = np.where(counts, rows[:, 1], NOBODY).astype(np.int64)
            moment = _seen_in(
                np.asarray(picture, np.uint8),
                round((number - 1) * 1e9 / float(settings["frameRate"])),
                boxes,
                np.ones(len(boxes)),
                embedder,
            )
            index, found = moment
            moments.append(
                replace(
                    found,
                    owners=owners[index],
                    people=owners[counts],
                    boxes=boxes[counts],
                    visibility=rows[counts, 8],
                )
            )
        yield Clip(
            name=folder.name,
            width=int(settings["imWidth"]),
            height=int(settings["imHeight"]),
            moments=tuple(moments),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Truth:
    people: Ids
    boxes: Doubles
    visibility: Doubles


def _owned(found: Moment, truth: _Truth) -> Moment:
    """Whose each box is: the pairing of boxes and people with the most overlap in all."""
    owners = np.full(len(found.rects), NOBODY, np.int64)
    overlap = iou(found.rects, truth.boxes)
    for box, person in assign(-np.where(overlap >= MIN_IOU, overlap, 0.0)):
        if overlap[box, person] >= MIN_IOU:
            owners[box] = truth.people[person]
    return replace(found, owners=owners, people=truth.people, boxes=truth.boxes, visibility=truth.visibility)


def _seen_in(pixels: Pixels, taken_ns: int, boxes: Doubles, scores: Doubles, embedder: Embedder) -> tuple[Ids, Moment]:
    """The boxes that can be embedded, by index, and a frame of them without its truth."""
    rects: list[Rect] = [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()]
    seen = embedder.look(pixels, rects)
    lie = geometry(boxes, width=pixels.shape[1], height=pixels.shape[0])
    nobody = np.zeros(0)
    return seen.kept, Moment(
        taken_ns=taken_ns,
        rects=boxes[seen.kept],
        scores=scores[seen.kept],
        rows=seen.rows,
        quality=seen.quality,
        overlap=lie.overlap[seen.kept],
        hidden=lie.hidden[seen.kept],
        owners=np.zeros(0, np.int64),
        people=np.zeros(0, np.int64),
        boxes=nobody.reshape(0, 4),
        visibility=nobody,
    )


def _file(folder: Path, name: str, embedder: Embedder) -> Path:
    return folder / embedder.digest / f"{name}.npz"


def _save(path: Path, clip: Clip) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(moment, name) for moment in clip.moments]) for name in _OF_BOXES + _OF_PEOPLE
    }
    arrays["of_boxes"] = np.cumsum([len(moment.rects) for moment in clip.moments])
    arrays["of_people"] = np.cumsum([len(moment.people) for moment in clip.moments])
    arrays["taken_ns"] = np.array([moment.taken_ns for moment in clip.moments])
    arrays["size"] = np.array([clip.width, clip.height])
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _load(path: Path) -> Clip | None:
    if not path.exists():
        return None
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    parts = {name: _split(arrays[name], arrays["of_boxes"]) for name in _OF_BOXES}
    parts |= {name: _split(arrays[name], arrays["of_people"]) for name in _OF_PEOPLE}
    moments = tuple(
        Moment(taken_ns=int(taken), **{name: values[index] for name, values in parts.items()})
        for index, taken in enumerate(arrays["taken_ns"])
    )
    width, height = (int(side) for side in arrays["size"])
    return Clip(name=path.stem, width=width, height=height, moments=moments)


def _split(array: npt.NDArray[Any], ends: Ids) -> Sequence[npt.NDArray[Any]]:
    return np.split(array, ends[:-1])
