"""One picture of the whole run: a frame of each camera, and under it every person of camera A with the most similar
people of camera B.

Why colours by person and labels by track: the labels are what the program knew, the colours are the truth, so anybody
sees a wrong match at once.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np

from .clips import PEOPLE, Clip, Shot
from .identify import Identification
from .lettering import Colour, Pixels, text_width, write

WIDTH, HEIGHT = 1600, 1944
_MARGIN, _GAP = 36, 28
_PANEL = (WIDTH - 2 * _MARGIN - _GAP) // 2
_PANEL_HEIGHT = _PANEL * 9 // 16
_FRAMES_TOP = 150
_ROWS_TOP = _FRAMES_TOP + _PANEL_HEIGHT + 118
_COLUMNS, _SHOWN = 2, 5
_CELL_HEIGHT = 248
_CROP = (96, 192)

_BACK: Colour = (32, 26, 22)
_CARD: Colour = (48, 40, 34)
_TEXT: Colour = (238, 236, 232)
_FAINT: Colour = (168, 160, 150)
_GREEN: Colour = (112, 200, 96)
_RED: Colour = (92, 84, 226)


def compose(clips: tuple[Clip, Clip], found: Identification) -> Pixels:
    """The picture, (1944, 1600, 3) BGR."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[...] = _BACK
    _title(picture, found)
    for index, (clip, name) in enumerate(zip(clips, ("a plaza in the sun", "a crossing under clouds"), strict=True)):
        left = _MARGIN + index * (_PANEL + _GAP)
        frame = _marked_frame(clip)
        small = cv2.resize(frame, (_PANEL, _PANEL_HEIGHT), interpolation=cv2.INTER_AREA)
        picture[_FRAMES_TOP : _FRAMES_TOP + _PANEL_HEIGHT, left : left + _PANEL] = small
        end = write(picture, f"Camera {clip.name}", (left, _FRAMES_TOP - 14), 15, _TEXT, bold=True)
        write(picture, name, (end + 14, _FRAMES_TOP - 14), 14, _FAINT)
    heading = _ROWS_TOP - 52
    end = write(picture, "Who is it?", (_MARGIN, heading), 18, _TEXT, bold=True)
    legend = "A track of camera A, and the most similar tracks of camera B by the cosine of their mean embeddings."
    write(picture, legend, (end + 18, heading), 14, _FAINT)
    key = heading + 30
    end = write(picture, "green", (_MARGIN, key), 14, _GREEN, bold=True)
    end = write(picture, "the same person", (end + 8, key), 14, _FAINT)
    end = write(picture, "red", (end + 26, key), 14, _RED, bold=True)
    end = write(picture, "somebody else", (end + 8, key), 14, _FAINT)
    end = write(picture, "thick", (end + 26, key), 14, _TEXT, bold=True)
    write(picture, "the one that was chosen, each track at most once", (end + 8, key), 14, _FAINT)
    first, second = ({track: _portrait(clip, track) for track in range(len(clip.order))} for clip in clips)
    for row in range(len(found.queries)):
        _card(picture, row, clips, found, (first, second))
    return picture


def save(path: Path, picture: Pixels) -> None:
    """Write a PNG; folders are made. An older picture is replaced whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, png = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(png.tobytes())
    partial.replace(path)


def _title(picture: Pixels, found: Identification) -> None:
    right = sum(found.right(pair) for pair in found.pairs)
    end = write(picture, "reidstream", (_MARGIN, 68), 30, _TEXT, bold=True)
    write(
        picture, f"{right} of {found.tracks.queries} people found again by the other camera", (end + 26, 68), 22, _TEXT
    )
    numbers = (
        f"rank-1 {found.tracks.rank1:.0%} (guessing {found.tracks.chance:.0%})",
        f"{found.boxes.rank1:.0%} for single boxes",
    )
    width = max(text_width(line, 15) for line in numbers)
    for line, baseline in zip(numbers, (52, 78), strict=True):
        write(picture, line, (WIDTH - _MARGIN - width, baseline), 15, _FAINT)


def _card(
    picture: Pixels,
    row: int,
    clips: tuple[Clip, Clip],
    found: Identification,
    portraits: tuple[dict[int, Pixels], dict[int, Pixels]],
) -> None:
    """A query and its most similar tracks."""
    left = _MARGIN + row % _COLUMNS * (_PANEL + _GAP)
    top = _ROWS_TOP + row // _COLUMNS * _CELL_HEIGHT
    query = int(found.queries[row])
    person = int(found.query_people[row])
    cv2.rectangle(picture, (left, top), (left + _PANEL - 1, top + _CELL_HEIGHT - 15), _CARD, -1)
    cv2.rectangle(picture, (left, top), (left + 5, top + _CELL_HEIGHT - 15), person_colour(person), -1)
    width, height = _CROP
    x, y = left + 18, top + 11
    picture[y : y + height, x : x + width] = portraits[0][query]
    _centred(picture, clips[0].label(query), (x + width // 2, y + height + 22), _TEXT, bold=True)
    arrow = (x + width + 14, y + height // 2)
    cv2.arrowedLine(picture, arrow, (arrow[0] + 30, arrow[1]), _FAINT, 2, cv2.LINE_AA, tipLength=0.35)
    step = (_PANEL - 18 - width - 58 - 14) // _SHOWN
    paired = {pair.row: pair.column for pair in found.pairs}
    for place, column in enumerate(np.argsort(-found.similarity[row], kind="stable")[:_SHOWN].tolist()):
        track = int(found.gallery[column])
        same = int(found.gallery_people[column]) == person
        colour = _GREEN if same else _RED
        chosen = paired.get(row) == column
        at = x + width + 58 + place * step
        picture[y : y + height, at : at + width] = portraits[1][track]
        cv2.rectangle(picture, (at - 1, y - 1), (at + width, y + height), colour, 4 if chosen else 2)
        middle = at + width // 2
        label, cosine = clips[1].label(track), f"{found.similarity[row, column]:.3f}"
        total = text_width(label, 12, bold=chosen) + 8 + text_width(cosine, 12, bold=chosen)
        end = write(picture, label, (middle - total // 2, y + height + 22), 12, _FAINT, bold=chosen)
        write(picture, cosine, (end + 8, y + height + 22), 12, colour, bold=chosen)


def person_colour(person: int) -> Colour:
    """The colour of a person in both cameras."""
    red, green, blue = colorsys.hsv_to_rgb(person / PEOPLE, 0.62 if person % 2 else 0.78, 1.0 if person % 2 else 0.88)
    return 255 * blue, 255 * green, 255 * red


def _marked_frame(clip: Clip) -> Pixels:
    """The clip's frame with the most to see, boxes and labels drawn in."""
    shot = max(clip.shots, key=lambda shot: sum(shot.visible))
    frame = _decoded(shot)
    for box, person in zip(shot.boxes, shot.people, strict=True):
        x1, y1, x2, y2 = (round(float(edge)) for edge in box)
        cv2.rectangle(frame, (x1, y1), (x2, y2), person_colour(person), 3)
    for box, track, person in zip(shot.boxes, clip.tracks(shot).tolist(), shot.people, strict=True):
        label, x, y = clip.label(track), max(0, round(float(box[0])) - 1), max(26, round(float(box[1])))
        cv2.rectangle(frame, (x, y - 26), (x + text_width(label, 16, bold=True) + 10, y), person_colour(person), -1)
        write(frame, label, (x + 5, y - 5), 16, _BACK, bold=True)
    return frame


def _portrait(clip: Clip, track: int) -> Pixels:
    """The track's largest well visible box, widened to a crop's shape."""
    person = clip.order[track]
    views = [
        (shot.visible[index] ** 2 * float(shot.boxes[index, 3] - shot.boxes[index, 1]), shot, index)
        for shot in clip.shots
        for index, shown in enumerate(shot.people)
        if shown == person
    ]
    _, shot, index = max(views, key=lambda view: view[0])
    x1, y1, x2, y2 = (float(edge) for edge in shot.boxes[index])
    width, height = _CROP
    tall = max(y2 - y1, (x2 - x1) * height / width)
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    scale = height / tall
    move = np.array([[scale, 0, width / 2 - scale * middle[0]], [0, scale, height / 2 - scale * middle[1]]])
    crop = cv2.warpAffine(_decoded(shot), move, _CROP, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def _decoded(shot: Shot) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _centred(picture: Pixels, text: str, place: tuple[int, int], colour: Colour, *, bold: bool) -> None:
    write(picture, text, (place[0] - text_width(text, 13, bold=bold) // 2, place[1]), 13, colour, bold=bold)
