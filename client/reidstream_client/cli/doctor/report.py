"""Findings as text for people, or as JSON for programs.

Trap: sentences may repeat what a server said, and a terminal obeys what it is shown. So what is not printable is
escaped, and passwords are hidden, whoever wrote the line. Colours are for terminals alone.
"""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from reidstream_client.cli.top.writing import name as printable
from reidstream_client.redaction import without_secrets

from .finding import Finding, Verdict, worst
from .seen import Asked

_COLOURS: Final[Mapping[Verdict, str]] = {
    Verdict.OK: "\x1b[32m",
    Verdict.WARNING: "\x1b[33m",
    Verdict.WRONG: "\x1b[1;31m",
    Verdict.NOT_LOOKED_AT: "\x1b[2m",
}
_PLAIN: Final = "\x1b[0m"
_MARGIN: Final = 25
_NARROWEST, _WIDEST = 60, 120
_WORDS: Final[Mapping[Verdict, str]] = {Verdict.OK: "ok", Verdict.WARNING: "warning", Verdict.WRONG: "WRONG"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Of the text: how wide it is, and whether verdicts have colours."""

    width: int = 100
    colours: bool = False


def terminal_style(stream: TextIO) -> Style:
    """As wide as the terminal, in colours unless NO_COLOR is set; a file is plain."""
    if not stream.isatty():
        return Style()
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    return Style(width=width, colours=not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def as_text(asked: Asked, findings: Sequence[Finding], style: Style) -> str:
    """A line for each check, with the next step below it; then what was not looked at, and the sum."""
    with_what = "with TLS" if asked.tls else "without TLS"
    lines = [f"reidstream-client doctor {asked.version}: {_safe(asked.target)}, {with_what}", ""]
    for finding in findings:
        if finding.verdict is not Verdict.NOT_LOOKED_AT:
            lines += _lines(finding, style)
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        if finding.verdict is Verdict.NOT_LOOKED_AT:
            reasons.setdefault(finding.seen, []).append(finding.check)
    if reasons:
        lines += ["", _coloured("not looked at", Verdict.NOT_LOOKED_AT, style)]
    for why, checks in reasons.items():
        lines += _wrapped(f"{', '.join(checks)}: {why}", style, indent=2)
    return "\n".join([*lines, "", _coloured(_sum(findings), worst(findings), style)])


def as_json(asked: Asked, findings: Sequence[Finding]) -> str:
    """Names that are there stay, and others may come."""
    record = {
        "target": without_secrets(asked.target),
        "version": asked.version,
        "verdict": _word(worst(findings)),
        "findings": [
            {
                "check": finding.check,
                "verdict": _word(finding.verdict),
                "seen": without_secrets(finding.seen),
                "change": without_secrets(finding.change),
                "figures": dict(finding.figures),
            }
            for finding in findings
        ],
    }
    return json.dumps(record, indent=2)


def _lines(finding: Finding, style: Style) -> list[str]:
    word = _WORDS[finding.verdict]
    head = f"{_coloured(word, finding.verdict, style)}{' ' * (9 - len(word))}{finding.check:<{_MARGIN - 9}}"
    first, *rest = _wrapped(finding.seen, style, indent=_MARGIN)
    lines = [head + first[_MARGIN:], *rest]
    return lines + (_wrapped(f"-> {finding.change}", style, indent=_MARGIN, hang=3) if finding.change else [])


def _wrapped(text: str, style: Style, *, indent: int, hang: int = 0) -> list[str]:
    return textwrap.wrap(
        _safe(text),
        style.width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_on_hyphens=False,
    )


def _safe(text: str) -> str:
    return printable(without_secrets(text))


def _sum(findings: Sequence[Finding]) -> str:
    bad, doubtful = (
        [one.check for one in findings if one.verdict is verdict] for verdict in (Verdict.WRONG, Verdict.WARNING)
    )
    if not bad and not doubtful:
        return "All is well."
    said = f"{len(bad)} {'thing is' if len(bad) == 1 else 'things are'} wrong: {', '.join(bad)}" if bad else ""
    warned = f"{len(doubtful)} {'warning' if len(doubtful) == 1 else 'warnings'}: {', '.join(doubtful)}"
    return f"{said or 'Nothing is wrong'}; {warned if doubtful else 'no warnings'}."


def _coloured(text: str, verdict: Verdict, style: Style) -> str:
    return f"{_COLOURS[verdict]}{text}{_PLAIN}" if style.colours else text


def _word(verdict: Verdict) -> str:
    return verdict.name.lower()
