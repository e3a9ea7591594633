"""No test waits for a time that a slow machine can reach: what is waited for comes, or hangs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
WAITS = {"wait", "join", "result", "exception", "communicate", "acquire", "wait_for"}
"""Methods whose last argument may be a time-out in seconds."""
WITHOUT_CLOCKS = ("typing/", "unit/server/core/")
"""Lines that are never run, and a core whose time is an argument."""


def impatient(source: str) -> list[int]:
    """Lines that wait for a number of seconds, of one or more. Shorter ones are behaviours that are time-outs."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        seconds = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
        if isinstance(node.func, ast.Attribute) and node.func.attr in WAITS:
            seconds += node.args[-1:]
        found += [
            value.lineno
            for value in seconds
            if isinstance(value, ast.Constant)
            and isinstance(value.value, int | float)
            and not isinstance(value.value, bool)
            and value.value >= 1
        ]
    return found


def test_tests_wait_as_long_as_only_a_hang_takes() -> None:
    """By `patience.HANG_S`, or without an end, where pytest's own time-out says which test it was."""
    wrong = [
        f"{path.relative_to(TESTS)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        if not str(path.relative_to(TESTS)).startswith(WITHOUT_CLOCKS)
        for line in impatient(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


@pytest.mark.parametrize("line", ["run(x, timeout=10)", "gate.wait(30)", "asyncio.wait_for(answer, 5.0)"])
def test_impatience_is_seen(line: str) -> None:
    assert impatient(line) == [1]
    assert impatient(line.replace("10", "HANG_S").replace("30", "0.05").replace("5.0", "HANG_S")) == []
