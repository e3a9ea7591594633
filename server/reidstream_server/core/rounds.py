"""Rounds in which nobody could pay, all at once. Why: one item may cost a thousand quanta.

Every round is as the one before: each source has so many turns, which its lanes have in the order of its line. So it is
known how many more rounds it takes until the first of all lanes can pay, and what each of them has by then.

Trap: this changes nothing but the time that it takes. So it gives up where a round may be another one than the last: in
the middle of a place's turn, or where some lane is in the middle of its own. Those are few and soon over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Generic, NamedTuple, TypeVar

from .lanes import Lane, Place, Source

T = TypeVar("T")


class _Line(NamedTuple, Generic[T]):
    """The lanes of a source that are wanted, in the order of their turns; and how many turns they have in a round."""

    source: Source[T]
    lanes: list[Lane[T]]
    turns: int


def skip_rounds(
    places: Collection[Place[T]],
    sources: Iterable[Source[T]],
    wanted: Callable[[T], bool] | None,
    least: int | None,
) -> None:
    """Let all rounds pass, beginning with the place that is found next, until somebody may be able to pay."""
    lines = [
        _Line(source, lanes, min(source.places, len(lanes)))
        for source in sources
        if (lanes := [lane for lane in source.line.values() if lane.is_wanted(wanted)])
    ]
    if any(place.open and place.source.first(wanted, []) for place in places):
        return
    rounds = min((_rounds_in_vain(line, least) for line in lines), default=0)
    if rounds < 1:
        return
    for line in lines:
        source, lanes, turns = line
        if lanes[0].in_turn:
            source.purse += rounds * source.places * source.quantum
            continue
        count = rounds * turns
        each, more = divmod(count, len(lanes))
        for index, lane in enumerate(lanes):
            lane.deficit += (each + (index < more)) * source.quantum
        source.purse += count * source.quantum
        source.saved += count * source.quantum
        in_order = [*lanes[more:], *lanes[:more]]
        for lane in in_order[-count:]:
            source.line.move_to_end(lane.flow)
        if turns < len(lanes):
            _seat(in_order[-turns:], [place for place in places if place.source is source])


def _rounds_in_vain(line: _Line[T], least: int | None) -> int:
    """So many rounds pass for sure before one of these lanes is able to pay."""
    source, lanes, turns = line
    first, cost = lanes[0], least or lanes[0].first().cost
    if first.in_turn and cost <= first.deficit:  # it can pay, but its source cannot
        return (-((source.purse - cost) // source.quantum) - 1) // source.places
    if source.has_turn_left or any(lane.in_turn for lane in lanes):
        return 0
    return min(
        (index + (_turns(lane, source.quantum, least) - 1) * len(lanes)) // turns for index, lane in enumerate(lanes)
    )


def _turns(lane: Lane[T], quantum: int, least: int | None) -> int:
    """In how many turns the lane can pay for its first item, or for the least part of it."""
    return max(-((lane.deficit - (least or lane.first().cost)) // quantum), 1)


def _seat(lanes: list[Lane[T]], places: list[Place[T]]) -> None:
    """They had the last turns, each in one of these places."""
    for place in places:
        place.clear()
    for place, lane in zip(places, lanes, strict=True):
        place.seat(lane)
