"""Text whose first line names its columns: our own names, and those that other tools use for the same.

Trap: `x, y, w, h` is a corner in one tool and the centre in another, so these names are refused. And `width` and
`height` beside four corners are the picture's, not the box's.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from typing import Final

from reidstream_client.errors import FileError

from .table import CENTRE, CORNERS, LTWH, BoxTable, FrameKey, Rows, image_name, make_table, whole_number
from .text import Text

# By meaning; a name is compared in small letters, without anything between its words. The first that is there counts.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "frame": ("frame", "frameid", "framenumber", "frameno", "frameindex", "frameidx", "framenum"),
    "image": ("image", "imagename", "imagefile", "imagepath", "filename", "file", "filepath", "path"),
    "track": ("trackid", "id", "track", "trackerid", "objectid", "identity", "personid"),
    "class": ("classid", "categoryid", "clsid"),
    "left": ("x1", "left", "xmin", "bbleft", "bboxleft", "bboxx1", "bbx1", "xtl", "xleft", "minx"),
    "top": ("y1", "top", "ymin", "bbtop", "bboxtop", "bboxy1", "bby1", "ytl", "ytop", "miny"),
    "right": ("x2", "right", "xmax", "bbright", "bboxright", "bboxx2", "bbx2", "xbr", "xright", "maxx"),
    "bottom": ("y2", "bottom", "ymax", "bbbottom", "bboxbottom", "bboxy2", "bby2", "ybr", "ybottom", "maxy"),
    "width": ("width", "w", "bbwidth", "bboxwidth", "bboxw", "boxwidth"),
    "height": ("height", "h", "bbheight", "bboxheight", "bboxh", "boxheight"),
    "cx": ("cx", "xc", "xcenter", "centerx", "xcentre", "centrex", "bboxcx"),
    "cy": ("cy", "yc", "ycenter", "centery", "ycentre", "centrey", "bboxcy"),
}
_FORMS: Final = (
    (CORNERS, ("left", "top", "right", "bottom")),
    (LTWH, ("left", "top", "width", "height")),
    (CENTRE, ("cx", "cy", "width", "height")),
)
_AMBIGUOUS: Final = frozenset({"x", "y"})


def has_header(text: Text) -> bool:
    """Whether the first line begins with a name and not with a number."""
    first = text.cells(text.lines[0][1])[0].strip('"')
    try:
        float(first)
    except ValueError:
        return not re.fullmatch(r"[+-]?[0-9]+,[0-9]+", first)  # a number with a decimal comma is not a name
    return False


def read_columns(text: Text) -> BoxTable:
    """Raises FileError, naming the columns that are missing, or the line."""
    (_, header), *lines = text.lines
    names = _parse(text, header)
    meanings = _meanings(names)
    form, corners = _form(text, names, meanings)
    frames: dict[FrameKey, Rows] = {}
    for number, line in lines:
        cells = _parse(text, line)
        if len(cells) < len(names):
            raise FileError(f"{text.path}, line {number}: has {len(cells)} columns, the header has {len(names)}")
        row = {meaning: cells[place] for meaning, place in meanings.items()}
        try:
            key = whole_number(row["frame"], "frame") if "frame" in row else image_name(row["image"])
            rows = frames.setdefault(key, Rows(form=form))
            rows.boxes.append([float(row[meaning]) for meaning in corners])
            rows.track_ids.append(whole_number(row.get("track") or -1, names[meanings.get("track", 0)]))
            if row.get("class"):
                rows.class_ids.append(whole_number(row["class"], names[meanings["class"]]))
        except ValueError as error:
            raise FileError(f"{text.path}, line {number}: {error}") from None
    return make_table(text.path, frames.items())


def _parse(text: Text, line: str) -> list[str]:
    if text.separator is None:
        return text.cells(line)
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=text.separator, skipinitialspace=True))]
    except csv.Error as error:
        raise FileError(f"{text.path} cannot be read: {error}; the line begins {line[:40]!r}") from None


def _meanings(names: Sequence[str]) -> dict[str, int]:
    """Where each meaning's column is."""
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    return {
        meaning: plain.index(next(name for name in known if name in plain))
        for meaning, known in _NAMES.items()
        if not set(known).isdisjoint(plain)
    }


def _form(text: Text, names: Sequence[str], meanings: Mapping[str, int]) -> tuple[str, tuple[str, ...]]:
    fitting = [(form, corners) for form, corners in _FORMS if meanings.keys() >= set(corners)]
    if fitting and not meanings.keys().isdisjoint({"frame", "image"}):
        return fitting[0]
    hint = ""
    if not fitting and {name.lower() for name in names} >= _AMBIGUOUS:
        hint = "; x and y may be a corner or the centre: call them left and top, or cx and cy"
    raise FileError(
        f"{text.path} needs columns frame or image, and x1,y1,x2,y2 or left,top,width,height or cx,cy,width,height; "
        f"has {', '.join(names)}{hint}"
    )
