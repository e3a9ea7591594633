"""The budget: every part once, one sum, and a setting for what can be made smaller."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from reidstream_server.bounds import memory_bounds
from reidstream_server.config import ServerConfig
from reidstream_server.config.table import SETTINGS
from reidstream_server.memory.budget import REQUEST_STREAM_BYTES, Bounds, Part, held_by, memory_budget, table

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the scheduler counts."""

    sessions: int = 0
    parked_bytes: int = 0
    queue_bytes: int = 0
    staged_bytes: int = 0
    held_answer_bytes: int = 0


def bounds(**changes: int) -> Bounds:
    """Of the default configuration, of a process with 100 MiB."""
    return replace(memory_bounds(ServerConfig(), 100 * MIB), **changes)


def test_every_part_has_one_line() -> None:
    """And the sum is theirs."""
    budget = memory_budget(bounds())
    assert [line.part for line in budget.lines] == list(Part)
    assert budget.total_bytes == sum(budget.bytes_of(part) for part in Part)
    assert all(0 <= line.client_bytes <= line.bytes for line in budget.lines)
    assert budget.client_bytes < budget.total_bytes


def test_every_setting_of_the_budget_exists() -> None:
    """By its name in the configuration, since people look for it there."""
    known = {setting.name for setting in SETTINGS} | {"max_calls"}
    assert {line.setting for line in memory_budget(bounds()).lines} - {""} <= known


@pytest.mark.parametrize(
    "setting",
    [
        "max_message_bytes",
        "max_receiving_bytes",
        "max_parked_bytes",
        "max_queue_bytes",
        "max_staged_bytes",
        "max_held_answer_bytes",
        "max_sessions",
        "max_calls",
        "max_track_bytes",
    ],
)
def test_a_smaller_setting_makes_a_smaller_budget(setting: str) -> None:
    """So whoever has a smaller machine can lower any of them."""
    full, half = bounds(), bounds(**{setting: getattr(bounds(), setting) // 2})
    lines = zip(memory_budget(full).lines, memory_budget(half).lines, strict=True)
    smaller = {before.setting for before, after in lines if after.bytes < before.bytes}
    assert setting in smaller


def test_an_answer_that_is_not_written_counts_four_times() -> None:
    """Vectors, message, bytes, and gRPC's copy: so much private memory was measured for clients that do not read."""
    held = held_by(Counted(held_answer_bytes=MIB), bounds(), calls=0, waiting_calls=0, streams=0, track_bytes=0)
    assert held[Part.ANSWERS] + held[Part.WRITING] == 4 * MIB
    budget = memory_budget(bounds(max_held_answer_bytes=MIB))
    assert budget.bytes_of(Part.ANSWERS) + budget.bytes_of(Part.WRITING) == 4 * MIB


def test_what_is_held_is_never_more_than_its_line() -> None:
    """With every account at its bound, each part is at its line."""
    full = bounds(max_request_streams=512)
    at_bounds = Counted(
        sessions=full.max_sessions + full.max_calls,  # each call has one
        parked_bytes=full.max_parked_bytes,
        queue_bytes=full.max_queue_bytes,
        staged_bytes=full.max_staged_bytes,
        held_answer_bytes=full.max_held_answer_bytes,
    )
    budget = memory_budget(full)
    held = held_by(
        at_bounds,
        full,
        calls=full.max_calls,
        waiting_calls=full.max_waiting_calls,
        streams=full.max_request_streams,
        track_bytes=full.max_track_bytes,
    )
    assert held.pop(Part.TRACKS) == budget.bytes_of(Part.TRACKS) // 4  # what hands them over cannot be counted
    assert {part: budget.bytes_of(part) for part in held} == held


def test_streams_of_requests_are_in_it_where_the_protocol_is_served() -> None:
    """As many as there may be sessions; and nothing is kept for them where it is not."""
    config = ServerConfig()
    served = replace(config, listen=replace(config.listen, kserve=True))
    without, beside = (memory_budget(memory_bounds(one, 100 * MIB)) for one in (config, served))
    assert without.bytes_of(Part.STREAMS) == 0
    assert beside.bytes_of(Part.STREAMS) == config.limits.max_sessions * REQUEST_STREAM_BYTES
    assert beside.total_bytes - without.total_bytes == beside.bytes_of(Part.STREAMS)


def test_people_read_it_as_a_table() -> None:
    """A line for each part, and the sum last."""
    budget = memory_budget(bounds())
    lines = table(budget)
    assert len(lines) == len(Part) + 2
    assert lines[-1].split()[:2] == ["total", str(-(-budget.total_bytes // MIB))]
    assert all(max(map(len, lines)) < 120 and line == line.rstrip() for line in lines)
