"""Rules as the text that Prometheus reads.

Trap: a template has braces and quotes, and an expression has lines. So strings are written as JSON, which YAML takes,
and expressions as blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from typing_extensions import assert_never

from .objectives import RUNBOOKS
from .rules import Alert, Group, Recording


def rules_file(groups: Iterable[Group]) -> str:
    """The whole file."""
    lines = ["# Written by `make rules` from deploy/prometheus. Change it there: objectives.py has what is promised."]
    lines.append("groups:")
    for group in groups:
        lines += [f"  - name: {group.name}", "    rules:"]
        for rule in group.rules:
            match rule:
                case Recording():
                    lines += _recording(rule)
                case Alert():
                    lines += _alert(rule)
                case _:
                    assert_never(rule)
    return "\n".join(lines) + "\n"


def _recording(rule: Recording) -> Iterator[str]:
    yield f"      - record: {rule.record}"
    yield from _block(rule.expr)


def _alert(rule: Alert) -> Iterator[str]:
    yield f"      - alert: {rule.name}"
    yield from _block(rule.expr)
    if rule.lasting.ms:
        yield f"        for: {rule.lasting}"
    yield "        labels:"
    yield f"          severity: {rule.severity.value}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(rule.summary)}"
    yield f"          description: {json.dumps(rule.description)}"
    yield f"          runbook_url: {json.dumps(f'{RUNBOOKS}#{rule.name.lower()}')}"


def _block(expr: str) -> Iterator[str]:
    yield "        expr: |-"
    for line in expr.splitlines():
        yield f"          {line}"
