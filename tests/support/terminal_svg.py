"""What a terminal shows, as a picture in SVG: text that can be read, searched and compared.

Why by hand: it is text on a dark ground, and every line of the picture stays a line of text. A test reads the words
back (`words_of`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final
from xml.etree import ElementTree as ET

_CODE: Final = re.compile(r"\x1b\[([0-9;]*)m")
_FILLS: Final = {"32": "#7ee787", "33": "#e3b341", "1;31": "#ff7b72", "2": "#8b949e", "0": "#e6edf3"}
_WIDE, _HIGH, _MARGIN = 8.43, 19, 16
_SIZE: Final = 14
_FONT: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def svg_of(title: str, text: str) -> str:
    """The picture of a text with the colours of `doctor`. `title`: for those who cannot see it."""
    lines = text.split("\n")
    columns = max(len(_CODE.sub("", line)) for line in lines)
    width, height = round(columns * _WIDE + 2 * _MARGIN), len(lines) * _HIGH + 2 * _MARGIN
    drawn = "\n".join(_line(line, _MARGIN + _SIZE + place * _HIGH) for place, line in enumerate(lines) if line)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>\n'
        f'<g font-family="{_FONT}" font-size="{_SIZE}" fill="{_FILLS["0"]}">\n{drawn}\n</g>\n</svg>\n'
    )


def words_of(svg: str) -> Sequence[str]:
    """The lines of text of a picture, those without any left out."""
    found = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - our own picture
    return ["".join(line.itertext()) for line in found]


def _line(line: str, y: int) -> str:
    plain, *coloured = _CODE.split(line)
    parts = [escape(plain, quote=False)]
    for code, text in zip(coloured[::2], coloured[1::2], strict=True):
        if text:
            said = escape(text, quote=False)
            parts.append(said if code in {"", "0"} else f'<tspan fill="{_FILLS[code]}">{said}</tspan>')
    length = round(len(_CODE.sub("", line)) * _WIDE)
    return (
        f'<text x="{_MARGIN}" y="{y}" xml:space="preserve" textLength="{length}" lengthAdjust="spacingAndGlyphs">'
        f"{''.join(parts)}</text>"
    )
