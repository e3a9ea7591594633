"""The page of operation names what the log says: every event, and every reason why a session loses frames."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from reidstream_server.core.faults import FaultReason
from reidstream_server.runtime.statistics import losses

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
LEVELS = {"debug", "info", "warning", "error", "failure"}


def table_after(heading: str) -> set[str]:
    """The words in the first column of the first table below a heading."""
    below = PAGE.split(f"\n{heading}", 1)[1]
    rows = re.search(r"\n\|---.*\n((?:\|.*\n)+)", below)
    assert rows
    return {word for row in rows[1].splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])}


def events(source: str) -> Iterator[str]:
    """The first argument of each call of a method of `log`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr=method), args=[ast.Constant(value=str(name)), *_]
            ) if method in LEVELS:
                yield name


def test_every_event_is_on_the_page_of_operation() -> None:
    """And the page has no others, but for those that the log itself writes: libraries' records, losses, floods."""
    files = (ROOT / "server" / "reidstream_server").rglob("*.py")
    written = {name for path in files for name in events(path.read_text(encoding="utf-8"))}
    assert len(written) > 30
    assert table_after("## Log") == written | {"python_log", "log_lines_dropped", "log_lines_left_out"}


def test_every_reason_of_a_loss_is_on_the_page_of_operation() -> None:
    """By the words of the event; what a drain gives up is no loss of a session."""
    words = set(losses(dict.fromkeys(FaultReason, 2), 1)) - {FaultReason.SHUTTING_DOWN.value}
    assert table_after("A session without losses") == words


def test_the_reader_of_events_finds_them() -> None:
    """The check itself can fail."""
    assert list(events('log.info("a", b=1)\nlog.failure("c", error)\nother.info("d")\nlog.isEnabledFor("e")')) == [
        "a",
        "c",
    ]
