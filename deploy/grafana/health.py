"""Service health: is anybody hurt, how much, and in which stage. The page to open first."""

from __future__ import annotations

from prometheus_client.utils import floatToGoString

from deploy.prometheus.alerts import MAX_GIVEN_UP
from deploy.prometheus.objectives import FASTEST_BURN, OBJECTIVES

from .page import Page, Placed, Section
from .panels import NEVER, Query, Steps, facts, heat, lines, number
from .promql import of, quantile, rate, share, total, worst

_FRAMES = "reidstream_frames_total"
_AGE = "reidstream_frame_age_seconds"
_STAGES = "reidstream_stage_seconds"
_HALF = 0.5
_UNANSWERED = 'outcome!="answered"'
_AGE_S = OBJECTIVES.age_s
_EDGE = floatToGoString(_AGE_S)  # type: ignore[no-untyped-call]
_AGE_TEXT = f"{_AGE_S * 1000:g} ms"


def health() -> Page:
    """The first dashboard."""
    return Page(
        name="health",
        title="reidstream / 1 Service health",
        description="Is anybody hurt, how much, and in which stage? Start here; the worst is at the top left.",
        sections=(_now(), _frames(), _ages(), _stages(), _objectives()),
    )


def _now() -> Section:
    alerts = number(
        "How many alerts fire?",
        "Alerts of this project's rules that fire now, of all servers, whatever is chosen above. If it is above 0, "
        "the list at the bottom of this page has their names, and each has a section in docs/runbooks.md.",
        "short",
        Query('count(ALERTS{alertname=~"Reidstream.*", alertstate="firing"}) or vector(0)', "alerts"),
        steps=Steps(orange=1),
    )
    unready = number(
        "How many servers take no frames?",
        "Servers that Prometheus knows, less those that are ready. One that loads its models, drains or is down "
        "takes none. If it is above 0 for longer than a start takes, look at the log of that server "
        "(docs/operation.md, Start).",
        "short",
        Query(f"count({of('up')}) - (sum({of('reidstream_ready')}) or vector(0))", "servers"),
        steps=Steps(orange=1, red=2),
        alert="ReidstreamNotReady",
    )
    lost = number(
        "Which share of frames gets no vectors?",
        "Frames that got an error instead of vectors, of all that came: also what sessions have asked for (dropped, "
        "over budget) and what clients sent wrongly. Frames that a client gives up by itself never come here. Look "
        "below for the reasons, and at the dashboard of streams.",
        "percentunit",
        Query(share(total(rate(_FRAMES, _UNANSWERED)), total(rate(_FRAMES))), "share"),
        steps=Steps(orange=1 - OBJECTIVES.answered, red=MAX_GIVEN_UP),
        decimals=2,
    )
    old = number(
        f"Which share is older than {_AGE_TEXT}?",
        f"Frames that were older than the objective ({_AGE_TEXT}) when their answer was ready. Age counts from "
        "capture, without the time on the network; frames with an error are included. If it is high while the stages "
        "below are fast, frames are old when they come: look at the cameras.",
        "percentunit",
        Query(_share_of_old(), "share"),
        steps=Steps(orange=1 - OBJECTIVES.fresh, red=FASTEST_BURN * (1 - OBJECTIVES.fresh)),
        decimals=2,
    )
    waiting = number(
        "How long has the oldest frame waited?",
        "The oldest queued frame of the worst server. Parked frames are not included. "
        "A second and more: the server has more work than it can do. Go on with the dashboard of saturation.",
        "s",
        Query(worst(of("reidstream_oldest_waiting_seconds")), "oldest"),
        steps=Steps(orange=0.25, red=1),
        decimals=2,
    )
    cameras = number(
        "How many sessions are open?",
        "Streams and single calls that are open now, of all chosen servers. Each stream is one camera. "
        "A sudden fall: clients were cut off; look at how sessions ended, on the dashboard of streams.",
        "short",
        Query(total(of("reidstream_sessions")), "sessions"),
        steps=NEVER,
    )
    return Section("Now", 5, [Placed(panel, 4) for panel in (alerts, unready, lost, old, waiting, cameras)])


def _frames() -> Section:
    rates = lines(
        "How many frames are answered?",
        "Frames a second with vectors, and without. Single calls are included. Frames of sessions that have ended are "
        "not. Falls to 0 while sessions are open: look at the stages, and at the log.",
        "suffix: frames/s",
        Query(total(rate(_FRAMES, 'outcome="answered"')), "answered"),
        Query(total(rate(_FRAMES, _UNANSWERED)), "without vectors"),
    )
    reasons = lines(
        "Why do frames get no vectors?",
        "Frames a second by the reason of their error. `queue_full`, `engine_lost`, `shutting_down` and `internal` "
        "are the server's; `dropped`, `window_full` and `over_budget` are what sessions asked for; all others are "
        "what clients send. docs/operation.md (One camera) says what to do for each.",
        "suffix: frames/s",
        Query(total(rate(_FRAMES, _UNANSWERED), "outcome"), "{{outcome}}"),
        stacked=True,
    )
    boxes = lines(
        "What became of the boxes?",
        "Boxes a second of answered frames. Boxes of frames with an error are not included. `failed`: the engine could "
        "not embed that crop, so look at the log (batch_failed). `too_small`: see --min-box-px.",
        "suffix: boxes/s",
        Query(total(rate("reidstream_boxes_total"), "outcome"), "{{outcome}}"),
        stacked=True,
    )
    return Section("Frames and their errors", 9, [Placed(panel, 8) for panel in (rates, reasons, boxes)])


def _ages() -> Section:
    age = lines(
        "How old are frames when they are answered?",
        "Quantiles of the age of frames, of all chosen servers together; the dashed line is the objective "
        f"({_AGE_TEXT}). Age counts from capture, by the client's age and the server's clock; the network is not "
        "included. Points are traces of single frames, if tracing is on.",
        "s",
        *(Query(quantile(q, _AGE), f"p{q * 100:g}", exemplars=q > _HALF) for q in (0.5, 0.95, 0.99)),
        steps=Steps(red=_AGE_S),
        most=_AGE_S * 1.2,
    )
    heats = heat(
        "How are the ages spread?",
        "Frames a second in each bucket of age, of all chosen servers. Two bands: two kinds of cameras, or one server "
        "that is slower than the others. Choose servers above to tell.",
        "s",
        Query(f"sum by (le) ({rate(f'{_AGE}_bucket')})", "{{le}}"),
    )
    servers = lines(
        "Which server answers too late?",
        f"The share of frames older than the objective ({_AGE_TEXT}), for each server. One alone: look at that "
        "machine. All: more cameras than servers, or frames that are old when they come.",
        "percentunit",
        Query(_share_of_old("instance"), "{{instance}}"),
        steps=Steps(red=1 - OBJECTIVES.fresh),
        most=0.02,
    )
    return Section("Age, and its objective", 9, [Placed(panel, 8) for panel in (age, heats, servers)])


def _stages() -> Section:
    parts = "Answered frames only; frames without crops only in `total`. "
    todo = (
        "`queue`, `batch_wait` high: more work than the server can do. `decode` high: large pictures. `inference` "
        "high: the engine. `answer` high: answers that wait for their order."
    )
    panels = [
        lines(
            title,
            f"{text} {parts}{todo}",
            "s",
            Query(quantile(q, _STAGES, by="stage"), "{{stage}}", exemplars=q > _HALF),
        )
        for q, title, text in (
            (0.5, "Where does a usual frame spend its time? (p50)", "Half of all frames spent less than this."),
            (0.95, "Where does a slow frame spend its time? (p95)", "One frame in twenty spent more than this."),
            (0.99, "Where do the slowest frames spend it? (p99)", "One frame in a hundred spent more than this."),
        )
    ]
    return Section("Stages", 9, [Placed(panel, 8) for panel in panels])


def _objectives() -> Section:
    def burn(name: str) -> tuple[Query, ...]:
        return tuple(
            Query(
                f"{worst(of(f'reidstream:{name}:ratio_rate{window}'))} / scalar(reidstream:{name}:objective_ratio)",
                window,
            )
            for window in ("5m", "1h", "6h")
        )

    needs = "Needs the recording rules of deploy/prometheus; without them it stays empty. "
    lost = lines(
        "How fast is the budget of lost frames spent?",
        f"1: just as fast as the objective allows ({1 - OBJECTIVES.answered:.2%} lost by the server's fault). Of the "
        f"worst server. {needs}{FASTEST_BURN:g} in an hour and in 5 minutes at once wakes somebody (docs/runbooks.md).",
        "none",
        *burn("frames_lost"),
        steps=Steps(orange=1, red=FASTEST_BURN),
        most=2,
        alert="ReidstreamFramesLost",
    )
    old = lines(
        "How fast is the budget of old frames spent?",
        f"1: just as fast as the objective allows ({1 - OBJECTIVES.fresh:.0%} older than {_AGE_TEXT}). Of the worst "
        f"server. {needs}{FASTEST_BURN:g} in an hour and in 5 minutes at once wakes somebody (docs/runbooks.md).",
        "none",
        *burn("frames_old"),
        steps=Steps(orange=1, red=FASTEST_BURN),
        most=2,
        alert="ReidstreamFramesOld",
    )
    firing = facts(
        "Which alerts are on?",
        "Alerts of this project's rules, pending and firing, of all servers. Each has a section of its name in "
        "docs/runbooks.md that says what to look at first. Empty: none is on.",
        Query('ALERTS{alertname=~"Reidstream.*"}', "{{alertname}}"),
        columns=("alertstate", "severity", "alertname", "instance", "model", "job"),
    )
    return Section("Objectives and alerts", 8, [Placed(panel, 8) for panel in (lost, old, firing)])


def _share_of_old(*by: str) -> str:
    young = total(rate(f"{_AGE}_bucket", f'le="{_EDGE}"'), *by)
    return f"1 - {young} / {total(rate(f'{_AGE}_count'), *by)}"
