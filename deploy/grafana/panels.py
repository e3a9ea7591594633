"""The kinds of panels, each with the look that all of its kind have.

A panel answers one question. So each has a title in plain words, a description that says what is counted and what to
do, and a unit; a builder here asks for all three. Trap: a number without thresholds is coloured as if all were well, so
`number` asks for them, or for their absence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    LineStyle,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
LIMIT = "limit"
"""The legend of a line that others must stay below."""

_Panel = TypeVar("_Panel", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, heatmap.Panel)

_GREEN, _ORANGE, _RED = "green", "orange", "red"
_FIXED = {
    LIMIT: _RED,
    "p50": "light-blue",
    "p95": "blue",
    "p99": "dark-purple",
    "answered": _GREEN,
    "without vectors": _RED,
}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and what its lines are called. `exemplars`: traces of single frames are asked for as well."""

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """From where on a figure is orange, and red; for one that must stay high, `below` where. None: never."""

    orange: float | None = None
    red: float | None = None
    falling: bool = False


NEVER = Steps()


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    steps: Steps = NEVER,
    most: float | None = None,
    alert: str = "",
) -> timeseries.Panel:
    """Figures over time. `most`: the axis reaches at least so far. `steps` are drawn as dashed lines, and `alert` fires
    at the last of them.
    """
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(40 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(span_nulls=False)
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "max"])
            .sort_by("Max")
            .sort_desc(sort_desc=True)
        )
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if most is not None:
        panel = panel.axis_soft_max(most)
    if steps != NEVER:
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(
            GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    for query in queries:
        if query.legend in _FIXED:
            panel = panel.override_by_name(query.legend, _in_colour(query.legend))
    return _asked(panel, title, description, queries, alert=alert)


def number(
    title: str, description: str, unit: str, query: Query, *, steps: Steps, decimals: int = 0, alert: str = ""
) -> stat.Panel:
    """One figure, as it is now, with its way here behind it. `alert`: the one that fires at the steps."""
    panel = (
        stat.Panel()
        .unit(unit)
        .decimals(decimals)
        .thresholds(_thresholds(steps))
        .color_scheme(FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .color_mode(common.BigValueColorMode.NONE if steps == NEVER else common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(_newest())
        .no_value("no data")
    )
    return _asked(panel, title, description, (query,), alert=alert)


def bars(title: str, description: str, unit: str, *queries: Query, steps: Steps, most: float) -> bargauge.Panel:
    """Figures as they are now, side by side, each of the same whole."""
    panel = (
        bargauge.Panel()
        .unit(unit)
        .min(0)
        .max(most)
        .thresholds(_thresholds(steps))
        .color_scheme(FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .orientation(common.VizOrientation.HORIZONTAL)
        .show_unfilled(show_unfilled=True)
        .reduce_options(_newest())
    )
    return _asked(panel, title, description, queries, instant=True)


def facts(title: str, description: str, query: Query, *, columns: Sequence[str], renamed: str = "") -> table.Panel:
    """What the labels of a series say, a row for each. `renamed`: the heading of its value, which is hidden without."""
    hidden = {"Time": True} | ({} if renamed else {"Value": True})
    panel = (
        table.Panel()
        .unit("none")
        .show_header(show_header=True)
        .align(common.FieldTextAlignment.AUTO)
        .cell_options(common.TableAutoCellOptions())
        .inspect(inspect=False)
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": hidden,
                    "indexByName": {name: place for place, name in enumerate(columns)},
                    "renameByName": {"Value": renamed} if renamed else {},
                },
            )
        )
    )
    return _asked(panel, title, description, (query,), instant=True, form=PromQueryFormat.TABLE)


def heat(title: str, description: str, unit: str, query: Query) -> heatmap.Panel:
    """How often each bucket of a histogram was met, over time."""
    panel = (
        heatmap.Panel()
        .calculate(calculate=False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(32))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_values(heatmap.CellValues().unit("cps"))
        .cell_gap(1)
        .unit(unit)
        .show_legend()
        .mode(common.TooltipDisplayMode.SINGLE)
    )
    return _asked(panel, title, description, (query,), form=PromQueryFormat.HEATMAP)


def _asked(
    panel: _Panel,
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    instant: bool = False,
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES,
    alert: str = "",
) -> _Panel:
    panel.title(title)
    panel.description(description)
    panel.datasource(DATASOURCE)
    if alert:
        panel.links([runbook(alert)])
    for place, query in enumerate(queries):
        asked = (
            prometheus.Dataquery()
            .expr(query.expr)
            .legend_format(query.legend)
            .datasource(DATASOURCE)
            .ref_id(chr(ord("A") + place))
            .format(form)
        )
        asked = asked.instant() if instant else asked.range()
        panel.with_target(asked.exemplar(exemplar=True) if query.exemplars else asked)
    return panel


def runbook(alert: str) -> DashboardLink:
    """A link to the section that has the alert's name."""
    return (
        DashboardLink(f"Runbook of {alert}")
        .type(model.DashboardLinkType.LINK)
        .url(f"${{docs}}/runbooks.md#{alert.lower()}")
        .target_blank(target_blank=True)
    )


def _in_colour(legend: str) -> list[model.DynamicConfigValue]:
    colour = FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(_FIXED[legend]).build()
    found = [model.DynamicConfigValue(id_val="color", value=colour)]
    if legend == LIMIT:
        dashed = LineStyle().fill("dash").dash([10, 10]).build()
        found.append(model.DynamicConfigValue(id_val="custom.lineStyle", value=dashed))
        found.append(model.DynamicConfigValue(id_val="custom.fillOpacity", value=0))
        found.append(model.DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "B"}))
    return found


def _newest() -> ReduceDataOptions:
    return ReduceDataOptions().calcs(["lastNotNull"]).values(values=False)


def _thresholds(steps: Steps) -> ThresholdsConfig:
    """Grafana's steps rise; the first has no value and holds below all others."""
    if steps.falling:
        colours = [(None, _RED), (steps.red, _ORANGE), (steps.orange, _GREEN)]
        if steps.red is None:
            colours = [(None, _ORANGE), (steps.orange, _GREEN)]
        if steps.orange is None:
            colours = [(None, _RED), (steps.red, _GREEN)]
    else:
        colours = [(None, _GREEN)]
        colours += [
            (value, colour) for value, colour in ((steps.orange, _ORANGE), (steps.red, _RED)) if value is not None
        ]
    found = [model.Threshold(value=value, color=colour) for value, colour in colours]
    return ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)
