"""The CMC curve, and histograms of scores, as SVG text: no library draws them, and a page can hold them.

Colours are told apart by lightness as well, and curves have words.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 32, 44
_SAME, _OTHER, _LINE = "#1a7f37", "#b35900", "#0550ae"
_STYLE: Final = "font:12px system-ui,sans-serif;fill:#24292f"


def cmc_chart(curve: Sequence[float], caption: str) -> str:
    """The share of queries that are right by each rank; the axis begins below the first point. `caption`: of what."""
    least = max(0.0, int(10 * curve[0]) / 10 - 0.1)
    points = [
        (_x((rank - 1) / max(1, len(curve) - 1)), _y((value - least) / (1 - least)))
        for rank, value in enumerate(curve, 1)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = []
    for step in range(6):
        value = least + (1 - least) * step / 5
        marks.append(_across(_y(step / 5), f"{100 * value:.0f} %"))
    shown = [rank for rank in (1, 10, 20, 30, 40, 50) if rank <= len(curve)]
    marks += [_below(_x((rank - 1) / max(1, len(curve) - 1)), str(rank)) for rank in shown]
    body = f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>'
    return _chart("CMC: queries that are right by a rank", caption, "rank", [*marks, body])


def histogram_chart(apart: dict[str, Any], caption: str) -> str:
    """Scores of the same and of different people, each as a share of its own pairs, and the threshold."""
    edges = apart["edges"]
    series = [("same person", _SAME, apart["same"]), ("different people", _OTHER, apart["different"])]
    shares = [[count / max(1, sum(counts)) for count in counts] for _, _, counts in series]
    most = max(max(share) for share in shares) or 1.0
    first, width = edges[0], edges[-1] - edges[0]
    body = []
    for (word, colour, _), share in zip(series, shares, strict=True):
        steps = [f"M{_x(0):.1f},{_y(0):.1f}"]
        for at, value in enumerate(share):
            near, far = ((edges[at + side] - first) / width for side in (0, 1))
            steps.append(f"L{_x(near):.1f},{_y(value / most):.1f}L{_x(far):.1f},{_y(value / most):.1f}")
        steps.append(f"L{_x(1):.1f},{_y(0):.1f}Z")
        body.append(f'<path d="{"".join(steps)}" fill="{colour}" fill-opacity=".35" stroke="{colour}"/>')
        y = _TOP + 8 * len(body) + 6
        body.append(f'<text x="{_WIDTH - _RIGHT - 130}" y="{y}" style="{_STYLE};fill:{colour}">{word}</text>')
    place = _x(min(1.0, max(0.0, (apart["threshold"] - first) / width)))
    body.append(
        f'<line x1="{place:.1f}" y1="{_TOP}" x2="{place:.1f}" y2="{_y(0)}" stroke="#000" stroke-dasharray="4 3"/>'
    )
    body += [_below(_x(step / 4), f"{first + width * step / 4:.2f}") for step in range(5)]
    return _chart("Scores of pairs, and the threshold of equal errors", caption, apart["score"], body)


def _chart(title: str, caption: str, axis: str, body: Sequence[str]) -> str:
    frame = f'<path d="M{_LEFT},{_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" fill="none" stroke="#57606a"/>'
    above = f'<text x="{_LEFT}" y="16" style="{_STYLE}">{escape(caption)}</text>'
    middle = (_WIDTH + _LEFT) / 2
    below = f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle" style="{_STYLE}">{escape(axis)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">'
        f"<title>{escape(title)}</title>{''.join(body)}{frame}{above}{below}</svg>"
    )


def _across(y: float, word: str) -> str:
    return (
        f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#d0d7de"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" style="{_STYLE}">{word}</text>'
    )


def _below(x: float, word: str) -> str:
    return f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle" style="{_STYLE}">{word}</text>'


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)
