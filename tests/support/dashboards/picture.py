"""Makes docs/images/dashboards.svg: panels of the committed dashboards, drawn of a real scrape with incidents in it.

    python -m tests.support.dashboards.picture            plays the scene, five minutes, and draws
    python -m tests.support.dashboards.picture --again    draws what was recorded the last time

Why not Grafana's own picture: there is no Grafana in a package index. So the queries, titles, units, colours and limits
are those of the dashboards' files, the answers are Prometheus's, and only the drawing is ours. The caption says so.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.support.dashboards.board import Board, boards
from tests.support.dashboards.drawing import Drawn, Picture, drawn
from tests.support.dashboards.scene import CHOSEN, LASTS_S, SCRAPE_S, Incident, Scene, played
from tests.support.prometheus import Prometheus

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "docs" / "images" / "dashboards.svg"
RECORDED = ROOT / "out" / "dashboards" / "recorded.json"

# A dashboard, and its panels that are drawn: first the single numbers, then three in a row.
NUMBERS = (
    "How many servers take no frames?",
    "Which share of frames gets no vectors?",
    "Which share is older than 250 ms?",
    "How long has the oldest frame waited?",
    "How many sessions are open?",
)
ROWS: tuple[tuple[str, tuple[str, str, str]], ...] = (
    (
        "reidstream-health",
        (
            "How many frames are answered?",
            "Why do frames get no vectors?",
            "How old are frames when they are answered?",
        ),
    ),
    (
        "reidstream-health",
        (
            "How are the ages spread?",
            "Which server answers too late?",
            "Where does a slow frame spend its time? (p95)",
        ),
    ),
    (
        "reidstream-saturation",
        ("Which part is busiest?", "Is the work spread over the servers?", "Where are the frames?"),
    ),
    (
        "reidstream-sessions",
        ("Where are the sessions?", "How many frames are in flight?", "Where do clients not read?"),
    ),
)


def main() -> None:
    """Play, unless there is a recording and it will do; draw."""
    if sys.argv[1:] != ["--again"]:
        with tempfile.TemporaryDirectory() as folder, played(Path(folder)) as scene:
            RECORDED.parent.mkdir(parents=True, exist_ok=True)
            RECORDED.write_text(json.dumps(_recorded(scene)), encoding="utf-8")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    every = {board.uid: board for board in boards()}
    PICTURE.write_text(drawn(_picture(every, recorded)), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")  # noqa: T201 - whoever runs it waits


def _shown() -> Iterator[tuple[str, str]]:
    """The dashboard and the title of each panel that is drawn."""
    yield from (("reidstream-health", title) for title in NUMBERS)
    for uid, titles in ROWS:
        yield from ((uid, title) for title in titles)


def _recorded(scene: Scene) -> dict[str, Any]:
    """What Prometheus answers, by query, and when what was done."""
    every = {board.uid: board for board in boards()}
    asked = {target["expr"] for uid, title in _shown() for target in every[uid].panel(title)["targets"]}
    asked |= {mark["expr"] for mark in every["reidstream-health"].document["annotations"]["list"]}
    return {
        "began_s": scene.began_s,
        "incidents": [asdict(incident) for incident in scene.incidents],
        "answers": {expr: _answer(scene.prometheus, expr, scene.began_s) for expr in sorted(asked)},
    }


def _answer(prometheus: Prometheus, expr: str, began_s: float) -> list[Any]:
    window = {"start": str(began_s), "end": str(began_s + LASTS_S), "step": f"{SCRAPE_S}s"}
    found: list[Any] = prometheus.ask("query_range", query=CHOSEN.into(expr), **window)["result"]
    return found


def _first_of(uid: str) -> tuple[str, str, str]:
    return next(titles for dashboard, titles in ROWS if dashboard == uid)


def _restarts(recorded: dict[str, Any]) -> set[float]:
    """What the marks of the dashboards say, within the picture."""
    (expr,) = (expr for expr in recorded["answers"] if expr.startswith("process_start_time_seconds"))
    told = {float(value) / 1000 for found in recorded["answers"][expr] for _, value in found["values"]}
    return {at_s for at_s in told if at_s > recorded["began_s"]}


def _picture(every: dict[str, Board], recorded: dict[str, Any]) -> Picture:
    def panel(uid: str, title: str) -> Drawn:
        found = every[uid].panel(title)
        return Drawn(found, [recorded["answers"][target["expr"]] for target in found["targets"]])

    return Picture(
        numbers=[panel("reidstream-health", title) for title in NUMBERS],
        rows=[
            (every[uid].document["title"] if titles is _first_of(uid) else "", [panel(uid, title) for title in titles])
            for uid, titles in ROWS
        ],
        incidents=[Incident(**incident) for incident in recorded["incidents"]],
        restarts_s=sorted(_restarts(recorded)),
        began_s=recorded["began_s"],
        lasts_s=LASTS_S,
    )


if __name__ == "__main__":
    main()
