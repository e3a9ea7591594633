"""The server and its sessions, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reidstream_client.admin import Budget, ServerState

from .columns import GAP, Column, Sorting, shown_columns, sorted_rows
from .lines import Line, Style
from .looks import Look, Seen
from .writing import count, duration, mebibytes, name, padded, rate

HEAD_LINES: Final = 5
"""Lines above the rows of the table."""

_BUDGETS: Final = {
    "queue_boxes": "queue boxes",
    "queue_bytes": "queue MiB",
    "parked_bytes": "parked MiB",
    "staged_bytes": "staged MiB",
    "held_answer_bytes": "answers MiB",
    "memory_bytes": "memory MiB",
    "calls": "calls",
}


def table(target: str, look: Look, sorting: Sorting, *, width: int | None = None) -> list[Line]:
    """All of it; `width`: of the terminal, None for no limit."""
    columns = shown_columns(width, sorting)
    return [
        *head(target, look.answer.server, look.seen),
        header(columns, sorting),
        *(row(seen, columns) for seen in sorted_rows(look.seen, sorting)),
    ]


def head(target: str, server: ServerState, seen: Sequence[Seen]) -> list[Line]:
    """The server, in four lines."""
    limits = {budget.name: budget for budget in server.budgets}
    sessions = limits.get("sessions")
    open_sessions = f"{len(seen)} sessions" if sessions is None else f"sessions {sessions.used}/{sessions.limit}"
    first = f"reidstream {server.version} at {name(target)}, up {duration(server.uptime_s)}, {open_sessions}"
    if server.draining:
        first += ", DRAINING"
    if server.paused_clients:
        first += f", {server.paused_clients} clients paused"
    if server.parked_frames:
        first += f", {server.parked_frames} frames parked"
    rates = [one.rates for one in seen if one.rates is not None]
    second = (
        f"frames/s {rate(sum(one.answered_fps for one in rates))}, lost/s {rate(sum(one.lost_fps for one in rates))}, "
        f"MiB/s {mebibytes(sum(one.received_bytes_per_s for one in rates))}, "
        f"{sum(one.suffers for one in seen)} of {len(seen)} suffer; "
        f"oldest queued frame {duration(server.oldest_waiting_s)}"
        if rates
        else "rates come with the second answer"
    )
    models = ", ".join(
        f"{name(model.name)}{' (retiring)' if model.retiring else ''}{' LOST' if model.lost else ''} "
        f"{model.running_batches} batches, {model.ready_crops} crops wait"
        for model in server.models
    )
    used = ", ".join(f"{_BUDGETS[one.name]} {_use(one)}" for one in server.budgets if one.name in _BUDGETS)
    return [Line(first, Style.BOLD), Line(second), Line(f"used: {used}"), Line(f"models: {models}")]


def header(columns: Sequence[Column], sorting: Sorting) -> Line:
    """The titles; the sorted one is marked."""
    cells = []
    for column in columns:
        mark = ("v" if column.ascending == sorting.reverse else "^") if column.key == sorting.key else ""
        cells.append(padded(mark + column.title, column.width, right=not column.left))
    return Line((" " * GAP).join(cells), Style.MARKED)


def row(seen: Seen, columns: Sequence[Column]) -> Line:
    """One session."""
    cells = [padded(column.text(seen), column.width, right=not column.left) for column in columns]
    return Line((" " * GAP).join(cells), Style.ALERT if seen.suffers else Style.PLAIN)


def _use(budget: Budget) -> str:
    if budget.name.endswith("_bytes"):
        return f"{budget.used / 2**20:.0f}/{budget.limit / 2**20:.0f}"
    return f"{count(budget.used)}/{count(budget.limit)}"
