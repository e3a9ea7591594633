"""Calls and doors: what is called and how it ends, who is refused, certificates, and what Prometheus itself sees."""

from __future__ import annotations

from deploy.prometheus.alerts import CERTIFICATE_PAGE, CERTIFICATE_TICKET

from .page import Page, Placed, Section
from .panels import Query, Steps, facts, lines, number
from .promql import increase, lowest, of, rate, share, total, worst

_ENDED = "reidstream_calls_ended_total"
_EXPIRY = "reidstream_tls_certificate_expiry_timestamp_seconds"
_WELL = 'status=~"OK|CANCELLED"'


def calls() -> Page:
    """The fifth dashboard."""
    return Page(
        name="calls",
        title="reidstream / 5 Calls and doors",
        description="What is called and how does it end, who is refused, and does Prometheus see every server?",
        sections=(_now(), _calls(), _refused(), _scrapes(), _telling()),
    )


def _now() -> Section:
    down = number(
        "How many servers does Prometheus not reach?",
        "Servers whose newest scrape failed: they have ended, still load their models (503), or cannot be reached. "
        "Everything else on these dashboards leaves them out. Look at the server, then at the network.",
        "short",
        Query(f"count({of('up')} == 0) or vector(0)", "servers"),
        steps=Steps(red=1),
        alert="ReidstreamScrapeGone",
    )
    certificate = number(
        "When does the first certificate expire?",
        "Time that is left to the server's own certificate, of the server where it ends first. Signing certificates "
        "and those of clients are not looked at. The file is read at the start: after a renewal, start again. No "
        "data: no server has TLS.",
        "s",
        Query(f"min({of(_EXPIRY)}) - time()", "left"),
        steps=Steps(orange=CERTIFICATE_TICKET.ms / 1000, red=CERTIFICATE_PAGE.ms / 1000, falling=True),
        alert="ReidstreamCertificateExpires",
    )
    failed = number(
        "Which share of calls fails?",
        "Calls that ended with another status than OK or CANCELLED (the client left). A stream counts when it ends; "
        "its frames have errors of their own. Connections that TLS refuses are not included.",
        "percentunit",
        Query(f"1 - {share(total(rate(_ENDED, _WELL)), total(rate(_ENDED)))}", "share"),
        steps=Steps(orange=0.01, red=0.1),
        decimals=1,
    )
    refused = number(
        "How many calls are refused?",
        "Calls a minute that ended with a refusal, of any method and reason. The panel below has the reasons. "
        "`unauthenticated`: a client without a token, or with a wrong one.",
        "suffix: calls/min",
        Query(f"60 * {total(rate('reidstream_calls_refused_total'))}", "calls"),
        steps=Steps(orange=1),
        alert="ReidstreamCallsRefused",
    )
    arriving = number(
        "How many calls arrive slowly?",
        "Calls whose message is arriving, of the server that has most. Near 16 for long: somebody sends slowly, or "
        "not to the end.",
        "short",
        Query(worst(of("reidstream_receiving_calls")), "calls"),
        steps=Steps(orange=12),
    )
    lines_lost = number(
        "How many lines of the log were lost?",
        "Lines that could not be written in the last hour: whoever reads stderr is too slow or gone, or its disk is "
        "full. The server does not wait. docs/operation.md (A log that nobody reads).",
        "short",
        Query(total(increase("reidstream_log_lines_dropped_total", window="1h")), "lines"),
        steps=Steps(orange=1),
        alert="ReidstreamLogLinesDropped",
    )
    panels = (down, certificate, failed, refused, arriving, lines_lost)
    return Section("Now", 5, [Placed(panel, 4) for panel in panels])


def _calls() -> Section:
    methods = lines(
        "What is called?",
        "Calls a second that ended, by method. A stream counts when it ends. Health and reflection count as a whole; "
        "`other` is what is not offered.",
        "suffix: calls/s",
        Query(total(rate(_ENDED), "door", "method"), "{{method}} ({{door}})"),
        stacked=True,
    )
    statuses = lines(
        "How do calls end?",
        "Calls a second by gRPC's status. CANCELLED: the client has left, its deadline was over, or the message was "
        "above --max-message-bytes. RESOURCE_EXHAUSTED: no room. INTERNAL and UNKNOWN: a fault of the server, see "
        "its log.",
        "suffix: calls/s",
        Query(total(rate(_ENDED), "status"), "{{status}}"),
        stacked=True,
    )
    failing = lines(
        "Which methods fail?",
        "Calls a second that ended with another status than OK or CANCELLED, by method and status.",
        "suffix: calls/s",
        Query(f"{total(rate(_ENDED, _WELL.replace('=~', '!~')), 'method', 'status')} > 0", "{{method}}: {{status}}"),
        stacked=True,
    )
    return Section("Calls", 9, [Placed(panel, 8) for panel in (methods, statuses, failing)])


def _refused() -> Section:
    reasons = lines(
        "Why are calls refused?",
        "Calls a second that ended with a refusal, by reason. docs/metrics.md names the setting of each. "
        "`going_away`: a server that leaves; clients go on elsewhere.",
        "suffix: calls/s",
        Query(total(rate("reidstream_calls_refused_total"), "reason"), "{{reason}}"),
        stacked=True,
    )
    progress = lines(
        "How many calls are in progress?",
        "Unary calls in progress, of --max-calls, for each server. One client gets at most half. At 1 the next is "
        "refused (too_many_calls).",
        "percentunit",
        Query(worst(share(of("reidstream_calls"), of("reidstream_calls_limit")), "instance"), "{{instance}}"),
        most=1,
    )
    ended = lines(
        "Were connections ended?",
        "Connections a minute that were ended because unfinished messages passed --max-receiving-bytes and they held "
        "most. If it is no attacker, it sends too many large messages at a time; the log has receiving_full.",
        "suffix: connections/min",
        Query(f"60 * {total(rate('reidstream_connections_ended_total'), 'instance')}", "{{instance}}"),
    )
    arriving = lines(
        "Where do messages arrive slowly?",
        "Unary calls whose message is arriving, for each server. Near 16 for long: somebody sends slowly, or not to "
        "the end.",
        "short",
        Query(worst(of("reidstream_receiving_calls"), "instance"), "{{instance}}"),
    )
    return Section("Refusals and bounds", 8, [Placed(panel, 6) for panel in (reasons, progress, arriving, ended)])


def _scrapes() -> Section:
    up = lines(
        "Which servers does Prometheus reach?",
        "1 while the newest scrape of a server worked. 0 while its models load (503), too.",
        "none",
        Query(lowest(of("up"), "instance"), "{{instance}}"),
        most=1,
    )
    ready = lines(
        "Which servers take frames?",
        "1 while a server takes frames, 0 while it drains. It has no value while models load or the server is down.",
        "none",
        Query(lowest(of("reidstream_ready"), "instance"), "{{instance}}"),
        most=1,
    )
    duration = lines(
        "How long does a scrape take?",
        "Of each server. It rises with its load, since Python runs one thread at a time. Near the scrape's time-out, "
        "figures are missing: look at that machine's load.",
        "s",
        Query(worst(of("scrape_duration_seconds"), "instance"), "{{instance}}"),
    )
    samples = lines(
        "How many samples does a scrape bring?",
        "Of each server: about 360 for one model, and a few more for each further one. It must not grow with the "
        "number of cameras.",
        "short",
        Query(worst(of("scrape_samples_scraped"), "instance"), "{{instance}}"),
    )
    return Section("Scrapes", 8, [Placed(panel, 6) for panel in (up, ready, duration, samples)])


def _telling() -> Section:
    expiry = facts(
        "When does each certificate expire?",
        "The server's own certificate, of each server with TLS. A ticket is made two weeks before, a page two days "
        "before.",
        Query(f"{of(_EXPIRY)} * 1000", "{{instance}}"),
        columns=("instance", "job", "Value"),
        renamed="expires",
    ).unit("dateTimeAsIso")
    spans = lines(
        "Do traces arrive?",
        "Spans a second: `exported` (a collector has them), `queue_full` (more than the collector takes), "
        "`export_failed` (nobody took them). All 0 without tracing. docs/operation.md (Traces do not arrive).",
        "suffix: spans/s",
        Query(total(rate("reidstream_trace_spans_total"), "outcome"), "{{outcome}}"),
        stacked=True,
    )
    ignored = lines(
        "Do clients send broken trace headers?",
        "Headers of frames a second that were no `traceparent`. Such a frame begins a trace of its own, and is "
        "answered.",
        "suffix: headers/s",
        Query(total(rate("reidstream_traceparents_ignored_total"), "instance"), "{{instance}}"),
    )
    dropped = lines(
        "When were lines of the log lost?",
        "Lines a second that could not be written, for each server. While there are any, the log is not complete.",
        "suffix: lines/s",
        Query(total(rate("reidstream_log_lines_dropped_total"), "instance"), "{{instance}}"),
    )
    return Section(
        "Certificates, traces and the log", 8, [Placed(panel, 6) for panel in (expiry, spans, ignored, dropped)]
    )
