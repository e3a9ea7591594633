"""The watch, without its thread: whose calls it ends, in which order, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from reidstream_server.memory.rule import MUCH_BYTES, WatchRule
from reidstream_server.memory.watch import (
    BLAMED_BYTES,
    ENDING_S,
    LOOK_S,
    LOOK_SOON_S,
    SETTLE_S,
    UNEXPLAINED_S,
    MemoryWatch,
    Receiving,
    Senses,
)

MIB = 2**20
BASE, BOUND = 100 * MIB, 512 * MIB


@dataclass
class Connection:
    """A pretended connection. `obedient`: its calls end when they are told to."""

    peer: str
    bytes: int
    calls: int = 1
    obedient: bool = True


class World(Receiving):
    """A process, its connections, and a clock."""

    def __init__(self, *connections: Connection, known: bool = True) -> None:
        self.connections = {connection.peer: connection for connection in connections}
        self.known = known
        self.now = 1000.0
        self.other = self.free = 0
        self.ended: list[str] = []
        self.whys: list[str] = []
        self.cuts: list[str] = []
        self.told: list[str] = []
        rule = WatchRule(base_bytes=BASE, bound_bytes=BOUND, idle_bytes=0)
        senses = Senses(
            private_bytes=lambda: BASE + self.other + self.free + self.held,
            counted_bytes=lambda: 0,
            give_back=self.give_back,
            clock=lambda: self.now,
        )
        self.watch = MemoryWatch(rule, self, senses, bound_bytes=BOUND)

    @property
    def held(self) -> int:
        """By all connections."""
        return sum(connection.bytes for connection in self.connections.values())

    def give_back(self) -> None:
        """What is free is gone."""
        self.free = 0

    def looks(self, count: int) -> None:
        """So many looks, with the pauses between them."""
        for _ in range(count):
            self.now += max(self.watch.look(), 0.001)

    def holders(self) -> Sequence[Connection]:
        """The largest first."""
        found = sorted(self.connections.values(), key=lambda connection: -connection.bytes)
        return found if self.known else [Connection(each.peer, 0, each.calls) for each in found if each.calls]

    def settle(self, *, little: bool) -> None:
        self.told.append("little" if little else "much")

    def end_calls(self, peer: str, why: str) -> None:
        self.ended.append(peer)
        self.whys.append(why)
        connection = self.connections[peer]
        if connection.obedient:
            self.free += connection.bytes
            connection.bytes = connection.calls = 0

    def ending(self, peer: str) -> bool:
        return peer in self.connections and self.connections[peer].calls > 0 and peer in self.ended

    def cut(self, peer: str) -> bool:
        self.cuts.append(peer)
        gone = self.connections.pop(peer, None)
        self.free += 0 if gone is None else gone.bytes
        return gone is not None


def test_the_connections_that_hold_most_are_ended_until_the_rest_is_below_the_bound() -> None:
    """The largest first, and no more than it takes."""
    world = World(*(Connection(f"peer-{n}", n * 100 * MIB) for n in range(5)))  # 1000 MiB
    world.looks(20)
    assert world.ended == ["peer-4", "peer-3"]
    assert world.held == 300 * MIB


def test_a_client_is_told_the_numbers_and_the_setting() -> None:
    """What was held, the limit, and what to do."""
    world = World(Connection("peer", 600 * MIB))
    world.looks(20)
    assert f"{600 * MIB} bytes" in world.whys[0]
    assert f"{BOUND} bytes (max_receiving_bytes)" in world.whys[0]
    assert "send fewer messages at a time" in world.whys[0]


def test_a_camera_beside_the_attacker_is_left_alone() -> None:
    """It holds a frame that is on its way."""
    world = World(Connection("camera", 6 * MIB), Connection("attacker", 2000 * MIB, calls=30))
    world.looks(100)
    assert world.ended == ["attacker"]


def test_a_connection_whose_calls_have_ended_is_cut() -> None:
    """It may hold bytes of a call that no handler has seen; when it is gone, it holds nothing."""
    world = World(Connection("attacker", 600 * MIB))
    world.looks(20)
    assert world.cuts == ["attacker"]


def test_calls_that_do_not_end_are_waited_for_and_then_their_connection_is_cut() -> None:
    """The event loop may be busy, and the client may not read."""
    world = World(Connection("attacker", 600 * MIB, obedient=False))
    world.looks(3)
    assert world.ended == ["attacker"]
    assert world.cuts == []
    world.now += ENDING_S
    world.looks(1)
    assert world.cuts == ["attacker"]
    world.looks(10)
    assert world.ended == ["attacker"]


def test_nobody_is_ended_for_what_no_connection_holds(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once a minute, and whoever holds less than a megabyte is not to blame."""
    world = World(Connection("camera", BLAMED_BYTES - 1))
    world.other = 2 * BOUND
    world.looks(200)
    assert world.ended == world.cuts == []
    assert [record.getMessage() for record in caplog.records].count("memory_over_bound") == 1


def test_where_the_kernel_does_not_say_who_holds_what_calls_are_ended_one_connection_at_a_time() -> None:
    """The one with most calls, after a second, and then memory is measured again."""
    world = World(Connection("one", 300 * MIB, calls=9), Connection("two", 300 * MIB, calls=2), known=False)
    world.looks(200)
    assert world.ended == ["one"]


def test_a_quiet_server_settles_its_accounts_and_asks_nothing_else() -> None:
    """Little is held, so what the kernel has counted beyond messages is overhead."""
    world = World(Connection("camera", MUCH_BYTES))
    world.looks(int(SETTLE_S / LOOK_S) + 2)
    assert world.told == ["little"]
    assert world.watch.look() == LOOK_S
    assert world.watch.given_back == 0


def test_accounts_are_not_settled_while_much_is_held() -> None:
    """Else what an attacker holds would be forgotten."""
    world = World(Connection("attacker", BOUND // 2 + 1))
    world.looks(int(SETTLE_S / LOOK_SOON_S) + 100)
    assert set(world.told) == {"much"}


def test_a_kernel_that_does_not_say_how_much_is_private_is_no_error() -> None:
    """Then nothing is watched."""
    world = World()
    silent = Senses(private_bytes=lambda: None, counted_bytes=lambda: 0, give_back=lambda: None)
    rule = WatchRule(base_bytes=0, bound_bytes=BOUND, idle_bytes=0)
    assert MemoryWatch(rule, world, silent, bound_bytes=BOUND).look() == LOOK_S


def test_a_watch_that_was_never_started_can_be_stopped() -> None:
    """As when a port cannot be had."""
    world = World()
    world.watch.stop()
    world.watch.stop()


def test_connections_that_hold_little_are_not_blamed_for_memory_that_becomes_free_in_a_moment() -> None:
    """What was ended a moment ago may take its time."""
    world = World(*(Connection(f"peer-{n}", 8 * MIB) for n in range(20)))
    world.other = BOUND
    world.looks(int(UNEXPLAINED_S / LOOK_SOON_S) // 2)
    world.other = 0
    world.looks(200)
    assert world.ended == []


def test_small_pieces_that_hold_more_memory_than_bytes_are_found_out() -> None:
    """If memory stays above the bound, whoever has sent most is ended, though it is less than the bound."""
    world = World(Connection("attacker", 100 * MIB), Connection("camera", 6 * MIB))
    world.other = BOUND
    world.looks(int(UNEXPLAINED_S / LOOK_SOON_S) * 3)
    assert world.ended[0] == "attacker"


def test_nobody_else_is_blamed_while_memory_of_those_that_were_cut_becomes_free() -> None:
    """A gigabyte of frames is freed piece by piece."""
    world = World(Connection("attacker", 600 * MIB), Connection("camera", 300 * MIB))
    world.looks(2)
    assert (world.ended, world.cuts) == (["attacker"], [])
    world.free = 0  # not yet
    for left in range(600, 0, -50):
        world.other = left * MIB
        world.now += LOOK_S
        world.watch.look()
    world.other = 0
    world.looks(100)
    assert world.ended == ["attacker"]
