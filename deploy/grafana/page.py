"""A dashboard as our code says it: sections of panels, from the top left. What Grafana needs beside that is added here.

Why positions and ids are counted here: panels that lie upon each other, or two of one id, are shown without a word, and
one of them cannot be clicked. Everything that all dashboards share is here too: the variables, the links between them,
and the marks of restarts and drains.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    ConstantVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from deploy.prometheus.objectives import RUNBOOKS

from .panels import DATASOURCE
from .promql import of

WIDTH = 24
TAG = "reidstream"
_MOUNTED = "/public/reidstream-docs"
DOCS = RUNBOOKS.rpartition("/")[0] if "://" in RUNBOOKS else _MOUNTED
"""Where `${docs}` leads: to where the pages are published, or to Grafana itself, which serves what deploy/compose.yaml
mounts there.
"""
_SECTION_HEIGHT = 1

# Grafana's own schema has no type for the queries of annotations; these are the keys that its Prometheus reads.
_RESTARTS = {
    "expr": f"{of('process_start_time_seconds')} * 1000",
    "step": "15s",
    "titleFormat": "restart",
    "textFormat": "{{instance}} has started",
    "useValueForTime": True,
}
_DRAINS = {
    "expr": f"{of('reidstream_ready')} == 0",
    "step": "15s",
    "titleFormat": "drain",
    "textFormat": "{{instance}} takes no frames",
    "useValueForTime": False,
}
_QUERIES_OF_MARKS = {"Restarts": _RESTARTS, "Drains": _DRAINS}
_COLOURS_OF_MARKS = {"Restarts": "blue", "Drains": "orange"}


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel and how wide it is; a dashboard is 24 wide."""

    panel: Builder[model.Panel]
    width: int


@dataclass(frozen=True, slots=True)
class Section:
    """A row with a title. Panels stand side by side, and go on below where the row is full."""

    title: str
    height: int
    panels: Sequence[Placed]


@dataclass(frozen=True, slots=True)
class Page:
    """`name`: of its file and, behind a prefix, its uid, which links rely on: never change it."""

    name: str
    title: str
    description: str
    sections: Sequence[Section]

    @property
    def uid(self) -> str:
        """Its place in every Grafana: /d/UID."""
        return f"reidstream-{self.name}"


def as_json(page: Page) -> str:
    """The file that Grafana reads, always the same for the same page."""
    document = json.loads(json.dumps(_built(page), cls=JSONEncoder))
    _leave_out_strays(document)
    for mark in document["annotations"]["list"]:
        mark.update(_QUERIES_OF_MARKS[mark["name"]])
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _leave_out_strays(document: dict[str, Any]) -> None:
    """What the builders write of themselves, and the newest Grafana does not know."""
    for variable in document["templating"]["list"]:
        for key in ("auto", "auto_count", "auto_min"):  # of a variable of another kind
            del variable[key]
    for panel in document["panels"]:
        panel.get("options", {}).pop("footer", None)


def _built(page: Page) -> model.Dashboard:
    board = (
        Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .variables(_variables())
        .annotations([_mark(name) for name in _QUERIES_OF_MARKS])
        .links([_to_the_others(), _to_docs("What the figures mean", "metrics"), _to_docs("Runbooks", "runbooks")])
    )
    built = board.build()
    built.panels = list(_laid_out(page.sections))
    return built


def _laid_out(sections: Sequence[Section]) -> list[model.Panel | model.RowPanel]:
    found: list[model.Panel | model.RowPanel] = []
    top = 0
    for section in sections:
        row = Row(section.title).id(len(found) + 1).build()
        row.grid_pos = model.GridPos(x=0, y=top, w=WIDTH, h=_SECTION_HEIGHT)
        found.append(row)
        top += _SECTION_HEIGHT
        left = 0
        for placed in section.panels:
            if left + placed.width > WIDTH:
                left, top = 0, top + section.height
            panel = placed.panel.build()
            panel.id_val = len(found) + 1
            panel.grid_pos = model.GridPos(x=left, y=top, w=placed.width, h=section.height)
            found.append(panel)
            left += placed.width
        top += section.height
    return found


def _variables() -> list[Builder[model.VariableModel]]:
    jobs = (
        QueryVariable("job")
        .label("Job")
        .description("The job of Prometheus that scrapes the servers.")
        .datasource(DATASOURCE)
        .query("label_values(reidstream_build_info, job)")
    )
    instances = (
        QueryVariable("instance")
        .label("Server")
        .description("Which servers are shown; several may be chosen.")
        .datasource(DATASOURCE)
        .query('label_values(reidstream_build_info{job=~"$job"}, instance)')
    )
    source = DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    docs = ConstantVariable("docs").description("Where the pages of docs are.").value(DOCS)
    docs.build().hide = model.VariableHide.HIDE_VARIABLE  # the builder of a constant has no word for it
    return [source, _all_of(jobs), _all_of(instances), docs]


def _all_of(variable: QueryVariable) -> QueryVariable:
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    return (
        variable.multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(everything)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
    )


def _mark(name: str) -> AnnotationQuery:
    return AnnotationQuery().name(name).datasource(DATASOURCE).enable(enable=True).icon_color(_COLOURS_OF_MARKS[name])


def _to_the_others() -> DashboardLink:
    return (
        DashboardLink("Dashboards of reidstream")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def _to_docs(title: str, page: str) -> DashboardLink:
    return (
        DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .icon("doc")
        .url(f"${{docs}}/{page}.md")
        .target_blank(target_blank=True)
    )
