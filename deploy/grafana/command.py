"""Writes the dashboards beside this file."""

from __future__ import annotations

from pathlib import Path

from .calls import calls
from .health import health
from .models import models
from .page import Page, as_json
from .saturation import saturation
from .sessions import sessions

DASHBOARDS = Path(__file__).with_name("dashboards")


def pages() -> tuple[Page, ...]:
    """All of them, in the order in which people look."""
    return (health(), saturation(), models(), sessions(), calls())


def files() -> dict[str, str]:
    """The name and the text of each file."""
    return {f"{page.uid}.json": as_json(page) for page in pages()}


def main() -> None:
    """Write the files that Grafana reads; what is no dashboard any more goes."""
    DASHBOARDS.mkdir(exist_ok=True)
    written = files()
    for path in DASHBOARDS.glob("*.json"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (DASHBOARDS / name).write_text(text, encoding="utf-8")
