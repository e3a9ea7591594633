"""Boxes in JSON: our lines, one for each frame, and COCO's dataset.

Trap: COCO's results alone name no image files, only numbers of images that another file explains.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reidstream_client.errors import FileError

from .table import CORNERS, LTWH, BoxTable, FrameKey, Rows, image_name, make_table, whole_number
from .text import Text

_FORMS: Final = {form: form for form in (CORNERS, LTWH)}  # CORNERS if a line does not say
_EXPECTED: Final = '{"frame": 1, "boxes": [[x1, y1, x2, y2], ...]}'


def read_json(text: Text) -> BoxTable:
    """Lines, a list of the same, or COCO. Raises FileError, naming the line."""
    try:
        whole = json.loads("\n".join(line for _, line in text.lines)) if text.lines else []
    except (ValueError, RecursionError):
        return make_table(text.path, _lines(text))
    if isinstance(whole, dict) and "annotations" in whole:
        return make_table(text.path, _coco(text, whole))
    if isinstance(whole, list) and whole and isinstance(whole[0], dict) and "image_id" in whole[0]:
        raise FileError(
            f"{text.path} is a list of COCO results, which name their images by number only; "
            'give a COCO dataset, with "images" and "annotations"'
        )
    if isinstance(whole, list):
        return make_table(text.path, (_entry(text, f"entry {number}", item) for number, item in enumerate(whole, 1)))
    return make_table(text.path, _lines(text))


def _lines(text: Text) -> Iterator[tuple[FrameKey, Rows]]:
    for number, line in text.lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FileError(f"{text.path}, line {number}: {error!r}; expected {_EXPECTED}") from None
        yield _entry(text, f"line {number}", value)


def _entry(text: Text, place: str, entry: Mapping[str, Any]) -> tuple[FrameKey, Rows]:
    try:
        key = whole_number(entry["frame"], "frame") if "frame" in entry else image_name(entry["image"])
        return key, Rows(
            _FORMS[entry.get("format", CORNERS)], entry["boxes"], entry.get("track_ids", []), entry.get("class_ids", [])
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{text.path}, {place}: {error!r}; expected {_EXPECTED}") from None


def _coco(text: Text, dataset: Mapping[str, Any]) -> Iterator[tuple[FrameKey, Rows]]:
    """Every image with its boxes, also one that has none."""
    try:
        names = {image["id"]: image_name(image["file_name"]) for image in dataset["images"]}
        frames = {key: Rows(form=LTWH) for key in names}
        for annotation in dataset["annotations"]:
            rows = frames[annotation["image_id"]]
            rows.boxes.append(annotation["bbox"])
            rows.track_ids.append(whole_number(annotation.get("track_id", -1), "track_id"))
            rows.class_ids.append(whole_number(annotation["category_id"], "category_id"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(
            f"{text.path} is no COCO dataset that can be read: {error!r}; expected images with id and file_name, and "
            "annotations with image_id, category_id and bbox"
        ) from None
    for key, rows in frames.items():
        yield names[key], rows
