"""A figure of curves as SVG: how much IDF1 is left at which share of the inferences.

Drawn by hand, since one figure is no reason for a plotting library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 30, 60
_FONT = 'font-family="sans-serif" font-size="13"'
_COLOURS = ("#0b6e4f", "#c0562b", "#3b5b92", "#7a7a7a")
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points (share of the boxes embedded, IDF1), both 0 to 1."""

    name: str
    points: Sequence[tuple[float, float]]


def figure(title: str, curves: Sequence[Curve]) -> str:
    """The picture as a text. The shares are on a logarithmic axis."""
    values = [value for curve in curves for _, value in curve.points]
    low, high = math.floor(20 * min(values)) / 20, math.ceil(50 * max(values)) / 50
    least = min(share for curve in curves for share, _ in curve.points)
    first = max(share for share in _SHARES if share <= least or share == _SHARES[0])

    def x(share: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log(share / first) / math.log(1 / first)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / max(high - low, 1e-9)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for share in (share for share in _SHARES if share >= first):
        parts += _line(x(share), _TOP, x(share), _HEIGHT - _BOTTOM, "#dddddd")
        parts.append(_text(x(share), _HEIGHT - _BOTTOM + 18, f"{100 * share:g} %", "middle"))
    steps = round((high - low) / 0.05)
    for step in range(steps + 1):
        value = low + 0.05 * step
        parts += _line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), "#dddddd")
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{100 * value:.0f}", "end"))
    parts.append(_text(_LEFT + (_WIDTH - _LEFT - _RIGHT) / 2, _HEIGHT - 18, "boxes that are embedded", "middle"))
    parts.append(_text(_LEFT - 8, _TOP - 12, "IDF1", "end"))
    for index, curve in enumerate(curves):
        colour = _COLOURS[index % len(_COLOURS)]
        places = [(x(share), y(value)) for share, value in sorted(curve.points)]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3.5" fill="{colour}"/>' for left, top in places]
        top = _HEIGHT - _BOTTOM - 16 * (len(curves) - index)
        parts.append(f'<rect x="{_WIDTH - 220}" y="{top - 9}" width="22" height="4" fill="{colour}"/>')
        parts.append(_text(_WIDTH - 190, top - 2, curve.name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> Iterator[str]:
    yield f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
