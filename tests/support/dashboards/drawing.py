"""Panels as SVG, on a light ground: what Grafana would draw of a panel's file and Prometheus's answers, more plainly.

Why SVG by hand: it is sharp at every width, small, and needs no library. Trap: a text has no width here, so legends are
laid out by an estimate, with room to spare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from tests.support.dashboards.figures import Axis, Series, axis, number, series_of, unit_of
from tests.support.dashboards.scene import Incident

_WIDTH, _MARGIN, _GAP = 1080, 16, 12
_HEAD, _NUMBER, _TITLE, _PANEL = 92, 92, 30, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 42, 22
_LEGEND_ROWS, _LEGEND_ROW = 2, 16
_HOLE_S = 5.0
_SHADES = 8
_TITLE_SIZE, _LETTER = 13.2, 0.66  # the widest letters that a reader may have, in sizes
_INK, _FAINT, _GRID, _EDGE, _GROUND, _BAND = "#1f2733", "#667085", "#eaecf0", "#dfe2e8", "#f3f4f7", "#fdf0d9"
_FONTS = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_NAMED = {
    "green": "#4c9f45",
    "orange": "#f08c1a",
    "red": "#d92d3e",
    "blue": "#2f6fdb",
    "light-blue": "#86b4f7",
    "dark-purple": "#7a2e9e",
}
_PALETTE = (
    "#4c9f45",
    "#e0a800",
    "#2f6fdb",
    "#f08c1a",
    "#d92d3e",
    "#8f4fc4",
    "#17a2a2",
    "#8a6d3b",
    "#86b4f7",
    "#5b6472",
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel of a dashboard's file, and what Prometheus answers to each of its queries."""

    panel: dict[str, Any]
    answers: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that is drawn, from the top. `rows`: the title of a dashboard, which is empty if it is the same as above, and
    three of its panels.
    """

    numbers: Sequence[Drawn]
    rows: Sequence[tuple[str, Sequence[Drawn]]]
    incidents: Sequence[Incident]
    restarts_s: Sequence[float]
    began_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where a value at a moment is drawn."""

    picture: Picture
    scale: Axis
    box: _Box

    def x(self, at_s: float) -> float:
        """Of a moment."""
        return _x(at_s, self.picture, self.box)

    def y(self, value: float) -> float:
        """Of a value; what is above the axis is at its top."""
        return _y(value, self.scale, self.box)


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle; y grows downwards."""

    x: float
    y: float
    w: float
    h: float


def drawn(picture: Picture) -> str:
    """The whole file."""
    titles = sum(bool(title) for title, _ in picture.rows)
    height = _HEAD + _NUMBER + _GAP + len(picture.rows) * (_PANEL + _GAP) + titles * _TITLE + _MARGIN - _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="{_FONTS}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="{_GROUND}"/>',
        *_head(picture),
    ]
    width = (_WIDTH - 2 * _MARGIN + _GAP) / max(1, len(picture.numbers)) - _GAP
    for place, one in enumerate(picture.numbers):
        parts += _one_number(one, picture, _Box(_MARGIN + place * (width + _GAP), _HEAD, width, _NUMBER))
    top = _HEAD + _NUMBER + _GAP
    width = (_WIDTH - 2 * _MARGIN - 2 * _GAP) / 3
    for title, panels in picture.rows:
        if title:
            parts.append(_text(_MARGIN + 2, top + 20, title.removeprefix("reidstream / "), 14, bold=True, ink=_FAINT))
            top += _TITLE
        for place, one in enumerate(panels):
            parts += _one_panel(one, picture, _Box(_MARGIN + place * (width + _GAP), top, width, _PANEL))
        top += _PANEL + _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _head(picture: Picture) -> Iterator[str]:
    yield _text(_MARGIN, 34, "reidstream dashboards", 21, bold=True)
    yield _text(_WIDTH - _MARGIN, 34, "two servers, twelve cameras, five minutes", 14, ink=_FAINT, anchor="end")
    x = float(_MARGIN)
    for place, incident in enumerate(picture.incidents, 1):
        yield f'<rect x="{x}" y="54" width="20" height="20" rx="10" fill="{_BAND}" stroke="{_NAMED["orange"]}"/>'
        yield _text(x + 10, 68.5, str(place), 12.5, bold=True, anchor="middle")
        yield _text(x + 27, 69, incident.text, 13)
        x += 27 + 6.9 * len(incident.text) + 18
    yield f'<path d="M{x} 54v20" stroke="{_NAMED["blue"]}" stroke-dasharray="3 3"/>'
    yield _text(x + 8, 69, "a server has started", 13)


def _one_number(one: Drawn, picture: Picture, box: _Box) -> Iterator[str]:
    """The newest value, and a column for each sample in the colour of its step."""
    panel = one.panel
    (series,) = series_of(panel, one.answers)
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    yield _card(box)
    for line, text in enumerate(_wrapped(panel["title"], int((box.w - 20) / 6.7))):
        yield _text(box.x + 10, box.y + 19 + 15 * line, text, 12.5, bold=True)
    base, room = box.y + box.h - 6, 34.0
    most = max((value for _, value in series.points), default=0.0) or 1.0
    left = box.x + box.w * 0.48
    per_s = (box.x + box.w - 8 - left) / picture.lasts_s
    plain = not any(step["value"] is not None for step in steps)
    columns: dict[str, list[_Box]] = {}
    for at_s, value in series.points:
        colour = _NAMED["blue"] if plain else _NAMED[_step(steps, value)]
        tall = max(1.5, room * value / most)
        x = left + (at_s - picture.began_s) * per_s
        columns.setdefault(colour, []).append(_Box(x, base - tall, 2 * per_s + 0.3, tall))
    for colour, boxes in columns.items():
        yield _filled(boxes, colour)
    newest = series.points[-1][1]
    ink = _INK if plain else _NAMED[_step(steps, newest)]
    yield _text(box.x + 10, box.y + box.h - 12, number(panel, newest), 23, bold=True, ink=ink)


def _one_panel(one: Drawn, picture: Picture, box: _Box) -> Iterator[str]:
    panel = one.panel
    yield _card(box)
    title = panel["title"]
    size = min(_TITLE_SIZE, (box.w - 20) / (_LETTER * len(title)))
    yield _text(box.x + 10, box.y + 20, title, round(size, 1), bold=True)
    series = series_of(panel, one.answers)
    plot = _Box(
        box.x + _LEFT,
        box.y + _TOP,
        box.w - _LEFT - _RIGHT,
        box.h - _TOP - _BOTTOM - _LEGEND_ROWS * _LEGEND_ROW,
    )
    yield from _time(picture, plot)
    if panel["type"] == "heatmap":
        yield from _heat(panel, series, picture, plot)
        return
    shown = [(one_of, _colour(panel, one_of.name, place)) for place, one_of in enumerate(series) if one_of.most > 0]
    stacked = panel["fieldConfig"]["defaults"]["custom"].get("stacking", {}).get("mode") == "normal"
    scale = axis(panel, [one_of for one_of, _ in shown], stacked=stacked)
    yield from _ground(panel, scale, plot)
    yield _text(plot.x + 4, plot.y - 5, unit_of(panel), 11.5, ink=_FAINT)
    yield from _steps(panel, scale, plot)
    where = _Plot(picture, scale, plot)
    below: dict[float, float] = {}
    for one_of, colour in shown:
        dashed = one_of.name == "limit"
        if stacked and not dashed:
            yield from _area(one_of, below, colour, where)
        else:
            yield _line(one_of.points, colour, where, dashed=dashed)
    yield from _legend(panel, shown, _Box(box.x + 10, plot.y + plot.h + _BOTTOM + 8, box.w - 16, 0))


def _time(picture: Picture, plot: _Box) -> Iterator[str]:
    """Bands of the incidents, and the minutes."""
    per_s = plot.w / picture.lasts_s
    for place, incident in enumerate(picture.incidents, 1):
        x, width = plot.x + incident.begins_s * per_s, (incident.ends_s - incident.begins_s) * per_s
        yield f'<rect x="{x:.1f}" y="{plot.y}" width="{width:.1f}" height="{plot.h}" fill="{_BAND}"/>'
        yield _text(x + width / 2, plot.y - 4, str(place), 11.5, bold=True, ink=_NAMED["orange"], anchor="middle")
    for at_s in picture.restarts_s:
        x = plot.x + (at_s - picture.began_s) * per_s
        yield f'<path d="M{x:.1f} {plot.y}v{plot.h}" stroke="{_NAMED["blue"]}" stroke-dasharray="3 3"/>'
    for minute in range(int(picture.lasts_s // 60) + 1):
        x = plot.x + minute * 60 * per_s
        anchor = "end" if minute * 60 >= picture.lasts_s else "middle"
        yield _text(x, plot.y + plot.h + 15, f"{minute}:00", 11.5, ink=_FAINT, anchor=anchor)


def _ground(panel: dict[str, Any], scale: Axis, plot: _Box) -> Iterator[str]:
    for tick in scale.ticks:
        y = _y(tick, scale, plot)
        yield f'<path d="M{plot.x} {y:.1f}h{plot.w:.1f}" stroke="{_GRID}"/>'
        yield _text(plot.x - 6, y + 4, number(panel, tick, short=True), 11.5, ink=_FAINT, anchor="end")


def _steps(panel: dict[str, Any], scale: Axis, plot: _Box) -> Iterator[str]:
    """The limits that the panel draws as lines."""
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["custom"].get("thresholdsStyle", {}).get("mode") != "dashed":
        return
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is not None and step["value"] <= scale.top:
            y = _y(step["value"], scale, plot)
            colour = _NAMED[step["color"]]
            yield f'<path d="M{plot.x} {y:.1f}h{plot.w:.1f}" stroke="{colour}" stroke-dasharray="6 5"/>'


def _line(points: Sequence[tuple[float, float]], colour: str, plot: _Plot, *, dashed: bool) -> str:
    path, before = "", -math.inf
    for at_s, value in points:
        path += f"{'L' if at_s - before < _HOLE_S else 'M'}{plot.x(at_s):.1f} {plot.y(value):.1f}"
        before = at_s
    style = ' stroke-dasharray="6 5"' if dashed else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"{style}/>'


def _area(series: Series, below: dict[float, float], colour: str, plot: _Plot) -> Iterator[str]:
    """On top of those before it."""
    upper = [(at_s, below.get(at_s, 0.0) + value) for at_s, value in series.points]
    lower = [(at_s, below.get(at_s, 0.0)) for at_s, _ in series.points]
    path = "L".join(f"{plot.x(at_s):.1f} {plot.y(value):.1f}" for at_s, value in (*upper, *reversed(lower)))
    yield f'<path d="M{path}Z" fill="{colour}" fill-opacity="0.45"/>'
    yield _line(upper, colour, plot, dashed=False)
    below.update(upper)


def _heat(panel: dict[str, Any], series: Sequence[Series], picture: Picture, plot: _Box) -> Iterator[str]:
    """A row for each bucket that was met, and for its neighbours; darker is more."""
    ordered = sorted(series, key=lambda one: float(one.name))
    rows: list[tuple[str, dict[float, float]]] = []
    before: dict[float, float] = {}
    for one in ordered:
        now = dict(one.points)
        rows.append((one.name, {at_s: value - before.get(at_s, 0.0) for at_s, value in now.items()}))
        before = now
    met = [place for place, (_, cells) in enumerate(rows) if max(cells.values(), default=0) > 0]
    rows = rows[max(0, met[0] - 1) : met[-1] + 1]
    most = max(value for _, cells in rows for value in cells.values())
    tall = plot.h / len(rows)
    wide = plot.w / picture.lasts_s * 2
    shades: dict[int, list[_Box]] = {}
    for place, (name, cells) in enumerate(rows):
        y = plot.y + plot.h - (place + 1) * tall
        yield f'<path d="M{plot.x} {y + tall:.1f}h{plot.w:.1f}" stroke="{_GRID}"/>'
        edge = "more" if name == "+Inf" else number(panel, float(name), short=True)
        if tall * 2 > _LEGEND_ROW and (tall > _LEGEND_ROW * 0.7 or place % 2 == 0):
            yield _text(plot.x - 6, y + tall / 2 + 4, edge, 11, ink=_FAINT, anchor="end")
        for at_s, value in cells.items():
            if value > most / 500:
                shade = math.ceil(math.sqrt(value / most) * _SHADES)
                shades.setdefault(shade, []).append(_Box(_x(at_s, picture, plot), y, wide, tall - 0.6))
    for shade, boxes in shades.items():
        yield _filled(boxes, _NAMED["blue"], shade / _SHADES)
    yield _text(
        plot.x,
        plot.y + plot.h + _BOTTOM + 20,
        "frames a second in each bucket of age; darker is more",
        10.5,
        ink=_FAINT,
    )


def _legend(panel: dict[str, Any], shown: Sequence[tuple[Series, str]], box: _Box) -> Iterator[str]:
    """Names and their highest values, the highest first, in two rows."""
    x, row = box.x, 0
    for series, colour in sorted(shown, key=lambda one: -one[0].most):
        text = f"{series.name}  {number(panel, series.most, short=True)}"
        width = 18 + 6.8 * len(text) + 10
        if x + width > box.x + box.w and x > box.x:
            x, row = box.x, row + 1
        if row == _LEGEND_ROWS:
            return
        y = box.y + row * _LEGEND_ROW
        yield f'<path d="M{x:.1f} {y:.1f}h12" stroke="{colour}" stroke-width="3"/>'
        yield (
            f'<text x="{x + 17:.1f}" y="{y + 4:.1f}" font-size="12" fill="{_INK}">{escape(series.name)}'
            f'<tspan dx="5" fill="{_FAINT}">{escape(number(panel, series.most, short=True))}</tspan></text>'
        )
        x += width


def _colour(panel: dict[str, Any], name: str, place: int) -> str:
    """What the file says of this name, or the next of the palette."""
    for override in panel["fieldConfig"].get("overrides", []):
        if override["matcher"]["options"] == name:
            for word in override["properties"]:
                if word["id"] == "color":
                    return _NAMED[word["value"]["fixedColor"]]
    return _PALETTE[place % len(_PALETTE)]


def _step(steps: Sequence[dict[str, Any]], value: float) -> str:
    return str([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])


def _x(at_s: float, picture: Picture, plot: _Box) -> float:
    return plot.x + plot.w * (at_s - picture.began_s) / picture.lasts_s


def _y(value: float, scale: Axis, plot: _Box) -> float:
    return plot.y + plot.h * (1 - min(value, scale.top) / scale.top)


def _filled(boxes: Sequence[_Box], colour: str, opacity: float = 1.0) -> str:
    """Many rectangles as one path, which is a third of the bytes."""
    path = "".join(f"M{box.x:.1f} {box.y:.1f}h{box.w:.1f}v{box.h:.1f}h{-box.w:.1f}z" for box in boxes)
    return f'<path d="{path}" fill="{colour}" fill-opacity="{opacity:.2f}"/>'


def _card(box: _Box) -> str:
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.w:.1f}" height="{box.h:.1f}" rx="4" fill="#ffffff" '
        f'stroke="{_EDGE}"/>'
    )


def _text(
    x: float, y: float, text: str, size: float, *, bold: bool = False, ink: str = _INK, anchor: str = "start"
) -> str:
    weight = ' font-weight="600"' if bold else ""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{ink}"{weight}{where}>{escape(text)}</text>'


def _wrapped(text: str, width: int) -> list[str]:
    """In two lines at most."""
    if len(text) <= width:
        return [text]
    cut = text.rfind(" ", 0, width)
    return [text[:cut], text[cut + 1 :]]
