"""Findings as people and programs read them."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from reidstream_client.cli.doctor.finding import Finding, Verdict, ok, unseen, warning, worst, wrong
from reidstream_client.cli.doctor.report import Style, as_json, as_text, terminal_style
from tests.unit.client.cli.doctor.sights import ASKED

EVERY = (
    ok("name", "gate is 10.0.0.7."),
    warning("window", "It is small. " * 12, "Make it larger.", fps=12.5),
    wrong("frames", "They are \x1b[2J lost.", "Look at rtsp://me:sesame@camera/1."),
    unseen("cores", "There are no metrics."),
    unseen("memory", "There are no metrics."),
    unseen("clock", "Nobody said."),
)


def test_text_has_a_verdict_in_front_and_the_next_step_below() -> None:
    """What was not looked at stands at the end, by reasons."""
    lines = as_text(replace(ASKED, tls=True), EVERY, Style(width=80)).splitlines()
    assert lines[0] == f"reidstream-client doctor {ASKED.version}: gate:50051, with TLS"
    assert lines[2] == "ok       name            gate is 10.0.0.7."
    assert lines[3].startswith("warning  window          It is small.")
    assert "                         -> Make it larger." in lines
    assert "WRONG    frames          They are \\x1b[2J lost." in lines
    assert lines[-5:] == [
        "not looked at",
        "  cores, memory: There are no metrics.",
        "  clock: Nobody said.",
        "",
        "1 thing is wrong: frames; 1 warning: window.",
    ]
    assert max(map(len, lines)) <= 80


def test_nothing_commands_the_terminal_and_no_password_is_shown() -> None:
    """Whoever wrote the sentence: also for programs."""
    for said in (as_text(ASKED, EVERY, Style()), as_json(ASKED, EVERY)):
        assert "\x1b" not in said
        assert "sesame" not in said


def test_json_has_every_finding() -> None:
    """With figures, and the worst verdict above all."""
    record = json.loads(as_json(ASKED, EVERY))
    assert (record["target"], record["verdict"]) == ("gate:50051", "wrong")
    assert [one["verdict"] for one in record["findings"]] == ["ok", "warning", "wrong", *["not_looked_at"] * 3]
    assert record["findings"][1]["figures"] == {"fps": 12.5}


@pytest.mark.parametrize(
    ("findings", "verdict", "said"),
    [
        (EVERY[:1], Verdict.OK, "All is well."),
        (EVERY[:2], Verdict.WARNING, "Nothing is wrong; 1 warning: window."),
        ((EVERY[2],) * 2, Verdict.WRONG, "2 things are wrong: frames, frames; no warnings."),
    ],
)
def test_the_sum(findings: tuple[Finding, ...], verdict: Verdict, said: str) -> None:
    """In one line, the last."""
    assert worst(findings) is verdict
    assert as_text(ASKED, findings, Style()).splitlines()[-1] == said


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR, a dumb terminal and a file have none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal_style(_Terminal()).colours
    assert not terminal_style(io.StringIO()).colours
    assert "\x1b[1;31mWRONG\x1b[0m" in as_text(ASKED, EVERY, Style(colours=True))
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal_style(_Terminal()).colours
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal_style(_Terminal()).colours
