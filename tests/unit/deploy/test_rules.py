"""Rules and alerts on series that are written down: what fires, what does not, and when it is over.

By `promtool test rules`, on the rules of production and their windows. That faults of a real server give such series
is what tests/chaos/test_alerts.py shows.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.prometheus.alerts import BURNS, alerting_groups
from deploy.prometheus.command import RULES, rules_text
from deploy.prometheus.durations import Duration, as_written, days, hours, minutes
from deploy.prometheus.objectives import OBJECTIVES, Objectives
from deploy.prometheus.outcomes import Whose, outcomes, whose
from deploy.prometheus.recording import BURN_WINDOWS
from deploy.prometheus.rules import JOB, Alert, Severity
from reidstream_server.core.faults import FaultReason

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy" / "prometheus"
SERVER = {"instance": "gate:9464", "job": "reidstream", "rack": "7"}
PAGE, TICKET = "page", "ticket"

Piece = tuple[int, float]
"""So many minutes, and a value: of a gauge, or what a counter rises in a minute."""


def counter(*pieces: Piece) -> str:
    """In promtool's notation, a sample a minute."""
    words, value = [], 0.0
    for length, rise in pieces:
        words.append(f"{value:g}+{rise:g}x{length - 1}")
        value += rise * length
    return " ".join(words)


def gauge(*pieces: Piece) -> str:
    """In promtool's notation, a sample a minute."""
    return " ".join(f"{value:g}+0x{length - 1}" for length, value in pieces)


def series(name: str, **labels: str) -> str:
    """A series of the server, by its labels."""
    return selector(name, SERVER | labels)


def selector(name: str, labels: dict[str, str]) -> str:
    """In PromQL."""
    return name + "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in labels.items()) + "}"


def healthy(length: int) -> dict[str, str]:
    """Ten frames a second for so many minutes, all of them answered at once."""
    frames = "reidstream_frames_total"
    return {
        series("up"): gauge((length, 1)),
        series(frames, outcome="answered"): counter((length, 600)),
        **{series(frames, outcome=reason.value): counter((length, 0)) for reason in FaultReason},
        series("reidstream_frame_age_seconds_count"): counter((length, 600)),
        series("reidstream_frame_age_seconds_bucket", le="0.25"): counter((length, 600)),
        series("reidstream_ready"): gauge((length, 1)),
        series("reidstream_queue_boxes"): gauge((length, 5)),
        series("reidstream_batch_size_count", model="m"): counter((length, 100)),
        series("reidstream_batch_faults_total", model="m"): counter((length, 0)),
        series("reidstream_engine_fallback", model="m"): gauge((length, 0)),
        **{
            series("reidstream_calls_refused_total", reason=reason): counter((length, 0))
            for reason in ("too_many_sessions", "too_many_calls", "receiving_full", "unauthenticated")
        },
        series("reidstream_sessions_ended_total", cause="stalled"): counter((length, 0)),
        series("reidstream_private_memory_bytes"): gauge((length, 500)),
        series("reidstream_private_memory_limit_bytes"): gauge((length, 1000)),
        series("reidstream_log_lines_dropped_total"): counter((length, 0)),
        series("reidstream_tls_certificate_expiry_timestamp_seconds"): gauge((length, 60 * 86_400)),
        series("process_open_fds"): gauge((length, 100)),
        series("process_max_fds"): gauge((length, 1024)),
        series("process_start_time_seconds"): gauge((length, 1)),
    }


@dataclass(frozen=True, slots=True)
class Case:
    """`length`: how many samples. `changed`: series that differ from those of a healthy server. `seen`: minute -> the
    alerts that fire then.
    """

    name: str
    length: int
    changed: dict[str, str]
    seen: dict[int, Sequence[tuple[str, str]]]
    labels: dict[str, str] = field(default_factory=dict)
    without: str = ""

    def test(self, step: int) -> dict[str, object]:
        """As promtool reads it, with so many minutes between samples."""
        given = {name: values for name, values in (healthy(self.length) | self.changed).items() if name != self.without}
        return {
            "name": self.name,
            "interval": f"{step}m",
            "input_series": [{"series": name, "values": values} for name, values in given.items()],
            "promql_expr_test": [
                {
                    "expr": 'ALERTS{alertstate="firing"}',
                    "eval_time": f"{minute}m",
                    "exp_samples": [{"labels": self._alert(*alert), "value": 1} for alert in alerts],
                }
                for minute, alerts in self.seen.items()
            ],
        }

    def _alert(self, name: str, severity: str) -> str:
        server = {"job": "reidstream"} if self.without else SERVER
        labels = server | self.labels | {"alertname": name, "severity": severity, "alertstate": "firing"}
        return selector("ALERTS", labels)


def both(name: str) -> list[tuple[str, str]]:
    """Its page and its ticket."""
    return [(name, PAGE), (name, TICKET)]


ANSWERED = series("reidstream_frames_total", outcome="answered")
FRESH = series("reidstream_frame_age_seconds_bucket", le="0.25")
LOST, OLD = "ReidstreamFramesLost", "ReidstreamFramesOld"
EXPIRY = series("reidstream_tls_certificate_expiry_timestamp_seconds")


def frames(outcome: str) -> str:
    """The series of an outcome."""
    return series("reidstream_frames_total", outcome=outcome)


def level(name: str, alert: tuple[str, str], fine: float, wrong: float, lasting: int, **labels: str) -> Case:
    """A gauge that is wrong for a time: its alert fires when that has lasted for so many minutes, and not before."""
    before, there, after = 10, 30, 30
    changed = {series(name, **labels): gauge((before, fine), (there, wrong), (after, fine))}
    seen: dict[int, Sequence[tuple[str, str]]] = {
        9: [],
        before + max(0, lasting - 1): [] if lasting else [alert],
        before + lasting + 2: [alert],
        before + there + 20: [],
    }
    return Case(alert[0], before + there + after, changed, seen, labels)


def events(name: str, alert: tuple[str, str], rise: float, over_after: int, **labels: str) -> Case:
    """A counter that rises for a time, so much a minute."""
    changed = {series(name, **labels): counter((10, 0), (40, rise), (30, 0))}
    seen: dict[int, Sequence[tuple[str, str]]] = {9: [], 40: [alert], 50 + over_after: []}
    return Case(f"{alert[0]} {labels}", 80, changed, seen)


CASES = (
    Case("nothing is wrong", 100, {}, {1: [], 10: [], 60: [], 99: []}),
    # What is promised.
    *(
        Case(
            f"a tenth is lost for ten minutes: {outcome}",
            120,
            {ANSWERED: counter((60, 600), (10, 540), (50, 600)), frames(outcome): counter((60, 0), (10, 60), (50, 0))},
            {59: [], 70: both(LOST), 115: [(LOST, TICKET)]},
        )
        for outcome in outcomes(Whose.SERVER)
    ),
    *(
        Case(
            f"nine of ten frames are hopeless, and that is their clients' fault: {outcome}",
            60,
            {frames(outcome): counter((30, 0), (30, 5400))},
            {29: [], 35: [], 59: []},
        )
        for outcome in outcomes(Whose.CLIENT)
    ),
    Case(
        "hopeless frames do not hide those that are lost",
        60,
        {
            ANSWERED: counter((30, 600), (30, 540)),
            frames("internal"): counter((30, 0), (30, 60)),
            frames("invalid_image"): counter((60, 60_000)),
        },
        {29: [], 59: both(LOST)},
    ),
    Case(
        "a third of the frames is old for half an hour",
        200,
        {FRESH: counter((60, 600), (30, 400), (110, 600))},
        {59: [], 90: both(OLD), 135: [(OLD, TICKET)], 199: [(OLD, TICKET)]},
    ),
    *(
        Case(
            f"a fifth is given up: {outcome}",
            80,
            {frames(outcome): counter((20, 0), (40, 150), (20, 0))},
            {19: [], 30: [], 50: [("ReidstreamFramesGivenUp", TICKET)], 70: []},
        )
        for outcome in outcomes(Whose.POLICY)
    ),
    # Servers.
    level("up", ("ReidstreamScrapeGone", PAGE), 1, 0, 2),
    Case("Prometheus knows no server", 60, {}, {1: [], 5: [("ReidstreamScrapeGone", PAGE)]}, without=series("up")),
    level("reidstream_ready", ("ReidstreamNotReady", PAGE), 1, 0, 5),
    Case(
        "three starts within a quarter of an hour",
        180,
        {series("process_start_time_seconds"): gauge((60, 1), (4, 2), (4, 3), (112, 4))},
        {59: [], 66: [], 69: [("ReidstreamRestarting", PAGE)], 90: []},
    ),
    Case(
        "three starts in three hours",
        180,
        {series("process_start_time_seconds"): gauge((60, 1), (40, 2), (40, 3), (40, 4))},
        {61: [], 101: [], 141: []},
    ),
    Case(
        "work waits, and nothing is finished",
        180,
        {ANSWERED: counter((60, 600), (30, 0), (90, 600))},
        {59: [], 66: [("ReidstreamQueueStuck", PAGE)], 100: []},
    ),
    Case(
        "nothing is finished, because nothing waits",
        180,
        {ANSWERED: counter((60, 600), (120, 0)), series("reidstream_queue_boxes"): gauge((60, 5), (120, 0))},
        {59: [], 66: [], 100: [], 179: []},
    ),
    # Engines.
    Case(
        "a tenth of the batches fail",
        180,
        {series("reidstream_batch_faults_total", model="m"): counter((60, 0), (30, 10), (90, 0))},
        {59: [], 75: [("ReidstreamEngineFailing", PAGE)], 100: []},
        {"model": "m"},
    ),
    Case(
        "one bad crop in a thousand batches",
        180,
        {series("reidstream_batch_faults_total", model="m"): counter((180, 0.1))},
        {59: [], 179: []},
    ),
    level("reidstream_engine_fallback", ("ReidstreamEngineFallback", TICKET), 0, 1, 5, model="m"),
    # Clients.
    *(
        events("reidstream_calls_refused_total", ("ReidstreamCallsRefused", TICKET), 1, 20, reason=reason)
        for reason in ("too_many_sessions", "too_many_calls", "receiving_full")
    ),
    Case(
        "strangers are refused, which is their fault",
        180,
        {series("reidstream_calls_refused_total", reason="unauthenticated"): counter((60, 0), (120, 1000))},
        {59: [], 179: []},
    ),
    Case(
        "a client stalls now and then",
        180,
        {series("reidstream_sessions_ended_total", cause="stalled"): counter((180, 1 / 60))},
        {59: [], 179: []},
    ),
    Case(
        "a client stalls every five minutes",
        240,
        {series("reidstream_sessions_ended_total", cause="stalled"): counter((60, 0), (60, 0.2), (120, 0))},
        {59: [], 119: [("ReidstreamClientsStalled", TICKET)], 160: []},
    ),
    # The process.
    level("reidstream_private_memory_bytes", ("ReidstreamMemoryHigh", TICKET), 500, 950, 10),
    level("process_open_fds", ("ReidstreamDescriptorsHigh", TICKET), 100, 900, 5),
    Case(
        "a line of the log is lost",
        180,
        {series("reidstream_log_lines_dropped_total"): counter((60, 0), (1, 5), (119, 0))},
        {59: [], 65: [("ReidstreamLogLinesDropped", TICKET)], 90: []},
    ),
    Case(
        "the certificate has ten days, then is renewed",
        180,
        {EXPIRY: gauge((60, 60 * 86_400), (60, 10 * 86_400), (60, 60 * 86_400))},
        {59: [], 61: [("ReidstreamCertificateExpires", TICKET)], 121: []},
    ),
    Case(
        "the certificate has a day",
        180,
        {EXPIRY: gauge((60, 60 * 86_400), (60, 86_400), (60, 60 * 86_400))},
        {59: [], 61: both("ReidstreamCertificateExpires"), 121: []},
    ),
)


LONG = (
    Case(
        "a tenth was lost for ten minutes, six hours ago",
        240,
        {ANSWERED: counter((30, 600), (5, 540), (205, 600)), frames("internal"): counter((30, 0), (5, 60), (205, 0))},
        {70: both(LOST), 110: [(LOST, TICKET)], 400: [(LOST, TICKET)], 450: []},
    ),
    Case(
        "a burst of two minutes in ten hours wakes nobody",
        320,
        {ANSWERED: counter((300, 600), (1, 540), (19, 600)), frames("internal"): counter((300, 0), (1, 60), (19, 0))},
        {598: [], 604: [], 638: []},
    ),
    Case(
        "four of a thousand are lost for four hours",
        350,
        {frames("internal"): counter((30, 0), (120, 2.4), (200, 0))},
        {58: [], 290: [(LOST, TICKET)], 690: []},
    ),
    Case(
        "three of a hundred are old for four hours",
        350,
        {FRESH: counter((30, 600), (120, 582), (200, 600))},
        {58: [], 290: [(OLD, TICKET)], 690: []},
    ),
)
"""With two minutes between samples."""


def alerts() -> list[Alert]:
    """Every one of production."""
    return [
        rule for group in alerting_groups(OBJECTIVES, as_written) for rule in group.rules if isinstance(rule, Alert)
    ]


def promtool(*arguments: str | Path) -> str:
    """What it says; it must be content."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_fresh() -> None:
    """`make rules` would write what is there."""
    assert RULES.read_text(encoding="utf-8") == rules_text(), "run `make rules`"


@pytest.mark.needs("promtool")
def test_promtool_finds_nothing_to_complain_of() -> None:
    """In the rules, in the configuration, and in the targets that it names."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    promtool("check", "config", "--lint=all", "--lint-fatal", DEPLOY / "prometheus.yml")


def judge(folder: Path, cases: Sequence[Case], step: int = 1) -> None:
    """All of them by one promtool."""
    file = folder / "tests.yml"
    tests = [case.test(step) for case in cases]
    file.write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": f"{step}m", "tests": tests}), encoding="utf-8"
    )
    promtool("test", "rules", file)


def test_the_rules_look_for_the_job_that_is_scraped() -> None:
    """Its name is in both; and targets without and with compose have the same files."""
    assert f"job_name: {JOB}\n" in (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"targets/(\w+\.yml)\]", (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")))
    for folder in ("targets", "compose"):
        assert {path.name for path in (DEPLOY / folder).iterdir()} == named


@pytest.mark.needs("promtool")
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    """Every case; and no alert is without a case in which it fires."""
    judge(tmp_path, CASES)
    judge(tmp_path, LONG, step=2)
    seen = {alert for case in CASES for found in case.seen.values() for alert in found}
    assert seen == {(rule.name, rule.severity.value) for rule in alerts()}


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(("minute", "expected"), [(59, both(LOST)), (70, [])], ids=["does not fire", "fires"])
def test_a_wrong_expectation_is_noticed(tmp_path: Path, minute: int, expected: list[tuple[str, str]]) -> None:
    """The check itself can fail."""
    lost = {ANSWERED: counter((60, 600), (30, 540)), frames("internal"): counter((60, 0), (30, 60))}
    with pytest.raises(AssertionError):
        judge(tmp_path, [Case("wrong", 90, lost, {minute: expected})])


def test_every_outcome_is_somebodys() -> None:
    """Each once; a new reason fails in mypy, and here."""
    assert sorted(name for who in Whose for name in outcomes(who)) == sorted(reason.value for reason in FaultReason)
    assert whose(FaultReason.INTERNAL) is Whose.SERVER


def test_every_alert_has_its_section_in_the_runbooks() -> None:
    """Each section begins with a command, and says what to do and how to see that it is over; and none is left over."""
    page = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (Reidstream\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(sections) == {rule.name for rule in alerts()}
    for name, text in sections.items():
        assert text.lstrip().startswith("```sh\n"), name
        assert "**Change:**" in text, name
        assert "**Over:**" in text, name


def test_the_page_of_alerts_has_each_alert() -> None:
    """With its severities, and whose fault each outcome is."""
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks\.md#(\w+)\) \| ([\w, ]+) \|", page, re.MULTILINE)
    assert [name.lower() for name, _, _ in rows] == [anchor for _, anchor, _ in rows]
    found = {(name, severity) for name, _, severities in rows for severity in severities.split(", ")}
    assert found == {(rule.name, rule.severity.value) for rule in alerts()}
    for who in Whose:
        assert ", ".join(f"`{outcome}`" for outcome in outcomes(who)) in page


def test_every_alert_says_its_value_in_plain_english() -> None:
    """And names its server, unless there is none."""
    for rule in alerts():
        text = rule.summary + rule.description
        assert "$labels.instance" in text, rule.name
        assert "$value" in text or rule.name == "ReidstreamScrapeGone", rule.name
        assert rule.summary[-1] != ".", rule.name
        assert rule.description.endswith(".") or "{{ end }}" in rule.description, rule.name


def test_every_window_of_a_burn_rate_is_recorded() -> None:
    """Else its alert could never fire."""
    used = {window for burns in BURNS.values() for burn in burns for window in (burn.long, burn.short)}
    assert used == set(BURN_WINDOWS)
    assert set(BURNS) == set(Severity)


def test_an_objective_that_no_bucket_or_no_alert_can_see_is_refused() -> None:
    """With the values that would do."""
    with pytest.raises(ValueError, match=r"age_s is 0\.2, and no bucket ends there; choose one of .*0\.15, 0\.25"):
        Objectives(answered=0.999, fresh=0.99, age_s=0.2)
    with pytest.raises(ValueError, match=r"fresh is 0\.9; choose a share above 0\.931 and below 1"):
        Objectives(answered=0.999, fresh=0.9, age_s=0.25)
    with pytest.raises(ValueError, match="answered is 1;"):
        Objectives(answered=1, fresh=0.99, age_s=0.25)


def test_other_objectives_are_other_rules() -> None:
    """The bucket, the budget and the texts."""
    text = rules_text(Objectives(answered=0.99, fresh=0.95, age_s=1.0))
    assert 'le="1.0"' in text
    assert "14.4 * 0.01\n" in text
    assert "later than 1 s" in text
    assert "allows 5%" in text


@pytest.mark.parametrize(
    ("duration", "written"),
    [(minutes(5), "5m"), (minutes(60), "1h"), (hours(36), "36h"), (days(3), "3d"), (Duration(1500), "1500ms")],
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(duration: Duration, written: str) -> None:
    assert str(duration) == written
