"""The picture of the dashboards: it shows panels that are there, and its figures are read as they are meant."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.dashboards.board import boards
from tests.support.dashboards.drawing import Drawn, Picture, drawn
from tests.support.dashboards.figures import Series, axis, number
from tests.support.dashboards.picture import NUMBERS, PICTURE, ROWS
from tests.support.dashboards.scene import Incident


def texts(svg: str) -> list[str]:
    """What a person reads in it."""
    every = ET.fromstring(svg).iter()  # noqa: S314 - of our own
    return ["".join(element.itertext()) for element in every if element.tag.endswith("}text")]


def panel(unit: str, **custom: object) -> dict[str, Any]:
    return {"fieldConfig": {"defaults": {"unit": unit, "custom": custom}}}


def test_the_picture_shows_panels_that_are_there() -> None:
    """Whoever renames a panel makes the picture anew."""
    shown = " ".join(texts(PICTURE.read_text(encoding="utf-8")))
    every = {board.uid: board for board in boards()}
    for uid, titles in ROWS:
        for title in titles:
            assert every[uid].panel(title)["title"] in shown
    for title in NUMBERS:
        assert every["reidstream-health"].panel(title)["title"] in shown


def test_a_panel_is_drawn_of_its_file_and_the_answers() -> None:
    """Its title, its limit, and the names and highest values of what is not 0 all the time."""
    board = next(board for board in boards() if board.uid == "reidstream-health")
    one = board.panel("Which server answers too late?")
    answer = [
        {"metric": {"instance": name}, "values": [[at_s, str(value)] for at_s in range(0, 60, 2)]}
        for name, value in (("gate-1", 0.02), ("gate-2", 0.0))
    ]
    incident = Incident(begins_s=10, ends_s=20, text="a test")
    svg = drawn(
        Picture(
            numbers=[],
            rows=[("title", [Drawn(one, [answer])])],
            incidents=[incident],
            restarts_s=[30],
            began_s=0,
            lasts_s=60,
        )
    )
    assert {"gate-12 %", "Which server answers too late?", "a test"} <= set(texts(svg))
    assert "gate-2" not in texts(svg)
    assert 'stroke-dasharray="6 5"' in svg


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("s", 0.0412, "41.2 ms"),
        ("s", 3.0, "3 s"),
        ("percentunit", 0.034, "3.4 %"),
        ("percentunit", 1.0, "100 %"),
        ("short", 12_345.0, "12.3 k"),
        ("suffix: frames/s", 59.96, "60"),
    ],
)
def test_figures_are_written_in_their_unit(unit: str, value: float, text: str) -> None:
    """As in a dashboard, with three digits."""
    assert number(panel(unit), value) == text


def test_an_axis_has_round_figures() -> None:
    """From 0, above the highest value, and as far as the panel asks."""
    series = [Series("a", [(0, 2.0), (2, 3.0)]), Series("b", [(0, 2.0)])]
    assert axis(panel("short"), series, stacked=False).top == 3
    assert axis(panel("short"), series, stacked=True).top == 4
    assert axis(panel("short", axisSoftMax=10), series, stacked=False).top == 10
    assert axis(panel("short"), [], stacked=False).top == 1
