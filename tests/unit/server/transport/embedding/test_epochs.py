"""Who holds a session's name, and how many names one may hold."""

from __future__ import annotations

import pytest

from reidstream_server.errors import StaleEpoch, TooManySessions
from reidstream_server.identity.access import Caller
from reidstream_server.transport.embedding.epochs import Epochs


def caller(source: str, client: str = "") -> Caller:
    return Caller(client=client, source=source)


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


async def test_one_source_gets_half_of_the_sessions_and_there_is_room_for_another() -> None:
    """The refusal names the bound, its setting, and what to do."""
    epochs = Epochs(8, most_each=8)
    for number in range(4):
        epochs.hold(caller("a"), name(number), 0)
    with pytest.raises(TooManySessions, match=r"4 of 8 sessions are open \(max_sessions\), 4 of them.*close one"):
        epochs.hold(caller("a"), name(4), 0)
    for number in range(5, 9):
        epochs.hold(caller(f"connection {number}"), name(number), 0)
    with pytest.raises(TooManySessions, match=r"8 sessions are open, which is the limit \(max_sessions\)"):
        epochs.hold(caller("late"), name(9), 0)


async def test_one_source_gets_no_more_than_its_own_limit() -> None:
    """However much room there is."""
    epochs = Epochs(100, most_each=2)
    first = epochs.hold(caller("a"), name(1), 0)
    epochs.hold(caller("a"), name(2), 0)
    with pytest.raises(TooManySessions, match=r"2 sessions open, which is the limit for one \(max_sessions_per_client"):
        epochs.hold(caller("a"), name(3), 0)
    epochs.release(first)
    epochs.hold(caller("a"), name(3), 0)


async def test_a_session_that_moves_to_another_connection_takes_its_place_along() -> None:
    """Its old stream's end gives nothing back a second time, and its old connection has room again."""
    epochs = Epochs(8, most_each=2)
    old = epochs.hold(caller("a"), name(1), 0)
    new = epochs.hold(caller("b"), name(1), 1)
    epochs.release(old)
    assert len(epochs) == 1
    for number in (2, 3):
        epochs.hold(caller("a"), name(number), 0)
    epochs.hold(caller("b"), name(4), 0)
    with pytest.raises(TooManySessions):
        epochs.hold(caller("b"), name(5), 0)
    epochs.release(new)
    epochs.hold(caller("b"), name(5), 0)


async def test_all_sessions_of_a_full_server_may_be_resumed() -> None:
    """By a source that has as many as it may; an older epoch is refused, and takes no place."""
    epochs = Epochs(4, most_each=2)
    for number in range(2):
        epochs.hold(caller("a"), name(number), 1)
    for number in range(2):
        epochs.hold(caller(f"b{number}"), name(10 + number), 1)
    for number in range(2):
        epochs.hold(caller("a"), name(number), 2)
        with pytest.raises(StaleEpoch):
            epochs.hold(caller("a"), name(number), 1)
    assert len(epochs) == 4


async def test_a_server_for_one_session_takes_one() -> None:
    """Half of one is none; who has nothing gets what is free."""
    epochs = Epochs(1, most_each=1)
    held = epochs.hold(caller("a"), name(1), 0)
    epochs.release(held)
    epochs.hold(caller("b"), name(2), 0)
