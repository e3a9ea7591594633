"""What wakes somebody (page), or asks for a look on a working day (ticket). Few; each has a section of the runbooks.

What is promised (frames answered, frames fresh) is watched by how fast its budget burns, over two windows each: the
long one says that it matters, the short one that it still goes on, so the alert ends soon after the fault. The rest are
causes that nobody would notice in time by what is promised.

Trap: a ratio without frames is NaN, which is above nothing: no camera, no alert.
"""

from __future__ import annotations

from dataclasses import dataclass

from .durations import Duration, Timing, days, hours, minutes
from .objectives import FASTEST_BURN, Objectives
from .outcomes import Whose, outcomes
from .rules import JOB, Alert, Group, Severity

_NO_ROOM = ("too_many_sessions", "too_many_calls", "receiving_full")
"""Refusals of calls for want of room; the others are what clients do wrong."""

MAX_BATCH_FAULTS = 0.05
MAX_GIVEN_UP = 0.1
MAX_MEMORY = 0.9
MAX_DESCRIPTORS = 0.8
MAX_RESTARTS = 2
MAX_STALLED = 3
CERTIFICATE_TICKET = days(14)
CERTIFICATE_PAGE = days(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """A budget that burns `times` too fast, over both windows."""

    times: float
    long: Duration
    short: Duration


BURNS = {
    Severity.PAGE: (
        Burn(times=FASTEST_BURN, long=hours(1), short=minutes(5)),
        Burn(times=6, long=hours(6), short=minutes(30)),
    ),
    Severity.TICKET: (
        Burn(times=3, long=days(1), short=hours(2)),
        Burn(times=1, long=days(3), short=hours(6)),
    ),
}
"""Of a budget for 30 days: gone in 2 or 5 days, which is a page; in 10 or 30 days, which is a ticket."""


def alerting_groups(objectives: Objectives, timing: Timing) -> tuple[Group, ...]:
    """All of them. They come after the recorded series that they read."""
    return (
        Group(name="reidstream-promises", rules=(*_frames_lost(objectives), *_frames_old(objectives))),
        Group(name="reidstream-servers", rules=_servers(timing)),
        Group(name="reidstream-engines", rules=_engines(timing)),
        Group(name="reidstream-clients", rules=_clients(timing)),
        Group(name="reidstream-process", rules=(*_process(timing), *_certificate())),
    )


def _burning(series: str, budget: float, severity: Severity) -> str:
    """Recorded series keep the windows of production in their names, so no timing is needed."""
    return "\nor ".join(
        f"(reidstream:{series}:ratio_rate{burn.long} > {burn.times:g} * {budget:.6g}"
        f"\n  and reidstream:{series}:ratio_rate{burn.short} > {burn.times:g} * {budget:.6g})"
        for burn in BURNS[severity]
    )


def _frames_lost(objectives: Objectives) -> tuple[Alert, ...]:
    budget, ways = 1 - objectives.answered, ", ".join(outcomes(Whose.SERVER))
    return tuple(
        Alert(
            name="ReidstreamFramesLost",
            severity=severity,
            expr=_burning("frames_lost", budget, severity),
            lasting=Duration(0),
            summary="{{ $labels.instance }} loses {{ $value | humanizePercentage }} of the frames it should answer",
            description=f"{{{{ $value | humanizePercentage }}}} of the frames end with {ways}, and the objective "
            f"allows {budget * 100:g}%. Their cameras get no vectors.",
        )
        for severity in Severity
    )


def _frames_old(objectives: Objectives) -> tuple[Alert, ...]:
    budget = 1 - objectives.fresh
    return tuple(
        Alert(
            name="ReidstreamFramesOld",
            severity=severity,
            expr=_burning("frames_old", budget, severity),
            lasting=Duration(0),
            summary=f"{{{{ $labels.instance }}}} answers {{{{ $value | humanizePercentage }}}} of its frames "
            f"later than {objectives.age_s:g} s",
            description=f"{{{{ $value | humanizePercentage }}}} of the frames are older than {objectives.age_s:g} s "
            f"when their answers are ready, and the objective allows {budget * 100:g}%. Either the server is slow, or "
            "frames are old when they come.",
        )
        for severity in Severity
    )


def _servers(timing: Timing) -> tuple[Alert, ...]:
    short = timing(minutes(2))
    return (
        Alert(
            name="ReidstreamScrapeGone",
            severity=Severity.PAGE,
            expr=f'up{{job="{JOB}"}} == 0\nor absent(up{{job="{JOB}"}})',
            lasting=timing(minutes(2)),
            summary="{{ with $labels.instance }}{{ . }} does not answer Prometheus"
            "{{ else }}Prometheus knows no server of reidstream{{ end }}",
            description="{{ with $labels.instance }}Prometheus gets no metrics from {{ . }}: the server has ended, is "
            "still loading its models, or cannot be reached.{{ else }}The job " + JOB + " has no target at all."
            "{{ end }} No other alert can tell what happens there.",
        ),
        Alert(
            name="ReidstreamRestarting",
            severity=Severity.PAGE,
            expr=f'changes(process_start_time_seconds{{job="{JOB}"}}[{timing(minutes(15))}]) > {MAX_RESTARTS}',
            lasting=Duration(0),
            summary="{{ $labels.instance }} has started again {{ $value }} times within 15 minutes",
            description="The server has started again {{ $value }} times within 15 minutes. Something ends it each "
            "time: a lost engine, the kernel for want of memory, or a probe.",
        ),
        Alert(
            name="ReidstreamNotReady",
            severity=Severity.PAGE,
            expr="reidstream_ready == 0",
            lasting=timing(minutes(5)),
            summary="{{ $labels.instance }} takes no frames, and does not end",
            description="reidstream_ready has been {{ $value }} for 5 minutes: the server has been told to leave, or "
            "has lost an engine, and should have ended by now. Nobody starts it again while it runs.",
        ),
        Alert(
            name="ReidstreamQueueStuck",
            severity=Severity.PAGE,
            expr=f"min_over_time(reidstream_queue_boxes[{short}]) > 0\n"
            f'and ignoring (outcome) increase(reidstream_frames_total{{outcome="answered"}}[{short}]) == 0',
            lasting=timing(minutes(1)),
            summary="{{ $labels.instance }} has work that waits, and finishes none",
            description="At least {{ $value }} boxes have waited for 2 minutes, and no frame was answered meanwhile: a "
            "decoder, an engine or its device does not come back.",
        ),
    )


def _engines(timing: Timing) -> tuple[Alert, ...]:
    return (
        Alert(
            name="ReidstreamEngineFailing",
            severity=Severity.PAGE,
            expr=f"reidstream:batch_faults:ratio_rate5m > {MAX_BATCH_FAULTS:g}",
            lasting=timing(minutes(2)),
            summary="{{ $labels.instance }}: {{ $value | humanizePercentage }} of {{ $labels.model }}'s batches fail",
            description="The engine of {{ $labels.model }} raises for {{ $value | humanizePercentage }} of its "
            "batches. Frames are answered, but boxes that fail have no vectors.",
        ),
        Alert(
            name="ReidstreamEngineFallback",
            severity=Severity.TICKET,
            expr="reidstream_engine_fallback == 1",
            lasting=timing(minutes(5)),
            summary="{{ $labels.instance }} runs {{ $labels.model }} on the CPU",
            description="The engine that was asked for is not available to {{ $labels.model }}, and another one runs "
            "(reidstream_engine_fallback is {{ $value }}). It answers, but it is slower.",
        ),
    )


def _clients(timing: Timing) -> tuple[Alert, ...]:
    window, half_an_hour = timing(minutes(5)), timing(minutes(30))
    return (
        Alert(
            name="ReidstreamFramesGivenUp",
            severity=Severity.TICKET,
            expr=f"reidstream:frames_given_up:ratio_rate5m > {MAX_GIVEN_UP:g}",
            lasting=timing(minutes(15)),
            summary="{{ $labels.instance }} gives up {{ $value | humanizePercentage }} of its frames",
            description="{{ $value | humanizePercentage }} of the frames are dropped for newer ones, find their window "
            "full, or are over their budget, as their sessions asked. There are more frames than are answered in time.",
        ),
        Alert(
            name="ReidstreamCallsRefused",
            severity=Severity.TICKET,
            expr="sum without (reason) (\n  "
            f'increase(reidstream_calls_refused_total{{reason=~"{"|".join(_NO_ROOM)}"}}[{window}])\n) > 0',
            lasting=timing(minutes(10)),
            summary="{{ $labels.instance }} refuses calls for want of room",
            description="{{ $value | humanize }} calls were refused within 5 minutes, because the server, or its "
            "client, has as many as it may have. Cameras cannot come in.",
        ),
        Alert(
            name="ReidstreamClientsStalled",
            severity=Severity.TICKET,
            expr="sum without (cause) (\n  "
            f'increase(reidstream_sessions_ended_total{{cause="stalled"}}[{half_an_hour}])\n) >= {MAX_STALLED}',
            lasting=Duration(0),
            summary="{{ $labels.instance }} has cut off {{ $value | humanize }} sessions that did not read",
            description="Within half an hour {{ $value | humanize }} sessions were ended because their clients did not "
            "read answers. Their newest answers may be lost.",
        ),
    )


def _process(timing: Timing) -> tuple[Alert, ...]:
    return (
        Alert(
            name="ReidstreamMemoryHigh",
            severity=Severity.TICKET,
            expr=f"reidstream:private_memory:ratio > {MAX_MEMORY:g}",
            lasting=timing(minutes(10)),
            summary="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its budget of memory",
            description="Private memory has been above nine tenths of the budget for 10 minutes: "
            "{{ $value | humanizePercentage }}. Above it, the kernel may end the process.",
        ),
        Alert(
            name="ReidstreamDescriptorsHigh",
            severity=Severity.TICKET,
            expr=f"reidstream:open_descriptors:ratio > {MAX_DESCRIPTORS:g}",
            lasting=timing(minutes(5)),
            summary="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its descriptors",
            description="{{ $value | humanizePercentage }} of the descriptors that the process may have are open. "
            "Without a free one it takes no connection, and Prometheus cannot ask it either.",
        ),
        Alert(
            name="ReidstreamLogLinesDropped",
            severity=Severity.TICKET,
            expr=f"increase(reidstream_log_lines_dropped_total[{timing(minutes(15))}]) > 0",
            lasting=Duration(0),
            summary="{{ $labels.instance }} cannot write its log",
            description="{{ $value | humanize }} lines of the log were lost within 15 minutes: whoever reads it is too "
            "slow or gone, or its disk is full. The server goes on, but what it says is missing.",
        ),
    )


def _certificate() -> tuple[Alert, ...]:
    left = "reidstream_tls_certificate_expiry_timestamp_seconds - time()"
    return tuple(
        Alert(
            name="ReidstreamCertificateExpires",
            severity=severity,
            expr=f"{left} < {within.ms // 1000}",
            lasting=Duration(0),
            summary="The certificate of {{ $labels.instance }} expires in {{ $value | humanizeDuration }}",
            description="In {{ $value | humanizeDuration }} no client connects any more. The server reads the file at "
            "its start only.",
        )
        for severity, within in ((Severity.PAGE, CERTIFICATE_PAGE), (Severity.TICKET, CERTIFICATE_TICKET))
    )
