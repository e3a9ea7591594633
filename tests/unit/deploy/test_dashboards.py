"""The files of the dashboards: fresh, what Grafana takes, and laid out so that a person can read them."""

from __future__ import annotations

import copy
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.command import DASHBOARDS, files
from deploy.grafana.page import TAG, WIDTH
from deploy.prometheus.command import RULES
from tests.support.dashboards.board import Asked, Board, Chosen, boards
from tests.support.dashboards.schema import MARK_KEYS, problems
from tests.support.promql import names_of

ROOT = Path(__file__).parents[3]
EACH = [pytest.param(board, id=board.uid) for board in boards()]
CHOSEN = '{job=~"$job", instance=~"$instance"'
LABELS = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")
BY = re.compile(r"\b(?:by|on|ignoring) \(([^)]*)\)")
# A panel's last step, the alert that it belongs to.
ALERTS = {
    "How fast is the budget of lost frames spent?": ("14.4", "ReidstreamFramesLost"),
    "How fast is the budget of old frames spent?": ("14.4", "ReidstreamFramesOld"),
    "Which share of frames is given up?": ("0.1", "ReidstreamFramesGivenUp"),
    "How many sessions were cut off in 30 minutes?": ("3", "ReidstreamClientsStalled"),
    "Which share of batches fails?": ("0.05", "ReidstreamEngineFailing"),
    "How near is memory to its limit?": ("0.9", "ReidstreamMemoryHigh"),
    "Are there file descriptors left?": ("0.8", "ReidstreamDescriptorsHigh"),
    "When does the first certificate expire?": ("1209600", "ReidstreamCertificateExpires"),
}


def every_query() -> list[Asked]:
    return [asked for board in boards() for asked in board.asked()]


def test_the_files_are_fresh() -> None:
    """Whoever changes deploy/grafana runs `make dashboards`."""
    assert {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.iterdir()} == files()


@pytest.mark.parametrize("board", EACH)
def test_grafana_knows_every_word(board: Board) -> None:
    """By the types that it publishes, for the dashboard and for the options of each panel."""
    assert problems(board.document) == []


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("colour",), "red"),
        (("time", "from"), 7),
        (("templating", "list", 1, "multi"), "yes"),
        (("panels", 1, "options", "colorMode"), "loud"),
        (("panels", 1, "gridPos", "w"), "wide"),
        (("panels", 8, "fieldConfig", "defaults", "custom", "drawStyle"), "oil"),
        (("panels", 8, "type"), "painting"),
    ],
)
def test_a_word_that_grafana_does_not_know_is_found(place: tuple[str | int, ...], wrong: object) -> None:
    """Wherever it is."""
    document = copy.deepcopy(boards()[1].document)
    inner: Any = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = wrong
    assert problems(document)


@pytest.mark.parametrize("board", EACH)
def test_panels_lie_beside_each_other(board: Board) -> None:
    """Within the width, each with an id of its own."""
    places = [(panel["id"], panel["gridPos"]) for panel in board.document["panels"]]
    assert len({number for number, _ in places}) == len(places)
    for number, place in places:
        assert place["x"] + place["w"] <= WIDTH, number
    for (one, first), (other, second) in itertools.combinations(places, 2):
        apart = (
            first["x"] + first["w"] <= second["x"]
            or second["x"] + second["w"] <= first["x"]
            or first["y"] + first["h"] <= second["y"]
            or second["y"] + second["h"] <= first["y"]
        )
        assert apart, f"{one} and {other} overlap"


@pytest.mark.parametrize("board", EACH)
def test_a_panel_asks_a_question_and_says_what_it_counts(board: Board) -> None:
    """In its title and its description; its figures have a unit."""
    titles = [panel["title"] for panel in board.panels]
    assert len(set(titles)) == len(titles)
    for panel in board.panels:
        assert re.fullmatch(r"[A-Z].*\?( \(p\d\d\))?", panel["title"]), panel["title"]
        assert re.fullmatch(r".{50,}\.", panel["description"]), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]


@pytest.mark.parametrize("board", EACH)
def test_a_dashboard_has_what_all_have(board: Board) -> None:
    """A uid that links can rely on, the choice of servers, links to the others, marks; nobody edits it in Grafana."""
    document = board.document
    assert board.path.name == f"{board.uid}.json"
    assert document["editable"] is False
    assert document["tags"] == [TAG]
    variables = {variable["name"]: variable for variable in document["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "docs"]
    assert all(variables[name]["multi"] and variables[name]["includeAll"] for name in ("job", "instance"))
    to_dashboards, *to_pages = document["links"]
    assert (to_dashboards["type"], to_dashboards["tags"], to_dashboards["includeVars"]) == ("dashboards", [TAG], True)
    for link in to_pages:
        assert (ROOT / link["url"].replace("${docs}", "docs")).is_file(), link["url"]
    for mark in document["annotations"]["list"]:
        assert set(mark) >= MARK_KEYS


@pytest.mark.parametrize("asked", [pytest.param(one, id=f"{one.board}-{n}") for n, one in enumerate(every_query())])
def test_a_query_is_right_for_several_servers(asked: Asked) -> None:
    """It asks for the chosen ones alone, over a window that fits the scrapes; quantiles are of sums of buckets."""
    expr = asked.expr
    for selector in re.findall(r"\b(?:reidstream|process|scrape)_\w+(.?)", expr):
        assert selector == "{", "a series without a choice of servers"
    chosen = re.findall(r"\b(?!ALERTS)[a-z_:0-9]+(\{[^}]*)", expr)
    assert all(selector.startswith(CHOSEN) for selector in chosen), chosen
    for window in re.findall(r"rate\([^\[]*\[([^\]]*)\]", expr):
        assert window == "$__rate_interval"
    assert "avg" not in expr
    assert expr.count("histogram_quantile(") == len(re.findall(r"histogram_quantile\([\d.]+, sum by \(le", expr))


def test_every_series_is_on_a_dashboard() -> None:
    """Of those that docs/metrics.md names: what nobody sees, nobody needs."""
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(reidstream_\w+)` \|", page, re.MULTILINE))
    shown = {name for asked in every_query() for name in names_of(asked.expr)}
    assert named - shown - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == set()


def test_a_query_names_labels_that_there_are() -> None:
    """Where it chooses, and where it sums; a label that is nowhere chooses nothing."""
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| `reidstream_\w+` \|([^|]*)\|", page, re.MULTILINE)
    labels = {label for cell in cells for label in re.findall(r"`(\w+)`", cell)}
    used = {label for asked in every_query() for label in LABELS.findall(asked.expr)}
    used |= {label for asked in every_query() for some in BY.findall(asked.expr) for label in some.split(", ")}
    assert used <= labels | {"job", "instance", "le", "part", "alertname", "alertstate"}


def test_a_label_in_a_query_is_found() -> None:
    """The check itself can fail."""
    assert LABELS.findall('sum (a{x="1", y!~"b"})') == ["x", "y"]
    assert BY.findall("sum by (x, y) (a) / on (z) b") == ["x, y", "z"]


def test_a_panel_with_an_alert_leads_to_its_runbook() -> None:
    """To a section that is there, of an alert that is there."""
    rules = RULES.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (\w+)$", (ROOT / "docs/runbooks.md").read_text(encoding="utf-8"), re.MULTILINE)
    links = [link for board in boards() for panel in board.panels for link in panel.get("links", [])]
    assert len(links) > len(ALERTS)
    for link in links:
        alert = link["title"].removeprefix("Runbook of ")
        assert f"alert: {alert}\n" in rules
        assert alert in headings
        assert link["url"] == f"${{docs}}/runbooks.md#{alert.lower()}"


def test_no_package_needs_what_writes_dashboards() -> None:
    """Its builders are a tool of this tree: neither a server nor a client brings them."""
    for path in ROOT.glob("*/pyproject.toml"):
        assert "grafana" not in path.read_text(encoding="utf-8"), path
    for package in ("proto", "engines", "server", "client", "synthetic"):
        for path in (ROOT / package).rglob("*.py"):
            assert "grafana_foundation_sdk" not in path.read_text(encoding="utf-8"), path


def test_the_limits_are_those_of_the_alerts() -> None:
    """A panel turns red where its alert fires."""
    rules = RULES.read_text(encoding="utf-8")
    panels = {panel["title"]: panel for board in boards() for panel in board.panels}
    for title, (limit, alert) in ALERTS.items():
        steps = {step["value"] for step in panels[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]}
        assert float(limit) in steps, title
        assert panels[title]["links"][0]["title"] == f"Runbook of {alert}"
        assert re.search(rf"alert: {alert}\n(?:.*\n)*?.*\b{re.escape(limit)}\b", rules), alert


def test_variables_are_replaced_as_grafana_does() -> None:
    """Several servers are a regular expression within a string: their dots are escaped for both."""
    several = Chosen(instances=("10.0.0.1:9464", "b:1"), rate_interval="1m", range="1h")
    assert (
        several.into('up{job=~"$job", instance=~"$instance"}')
        == r'up{job=~".+", instance=~"(10\\.0\\.0\\.1:9464|b:1)"}'
    )
    assert several.into("increase(x[$__range]) + rate(y[$__rate_interval])") == "increase(x[1h]) + rate(y[1m])"
