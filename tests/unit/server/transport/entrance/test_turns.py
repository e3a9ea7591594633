"""What calls cost their source, and who waits for it: on the core's real accounts, with a clock that a test turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

import pytest

from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.sources import FREE_AT_ONCE_NS, FREE_PART, LONGEST_PAUSE_NS, PENALTY
from reidstream_server.errors import TooManyCalls
from reidstream_server.transport.entrance.turns import CALL_NS, LOOK_S, OPENING_NS, CallTurns, Payments
from tests.support.clock import settle
from tests.unit.server.core.builders import some_limits

FREE_AT_ONCE = FREE_AT_ONCE_NS // CALL_NS
STEP_S = 0.001
PEER = "ipv4:192.0.2.1:1"


class Accounts(Payments):
    """As the runtime keeps them. The clock stands still, for the event loop too, until it is turned on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = time.monotonic_ns()
        self.scheduler: Scheduler[object] = Scheduler(some_limits())
        self.charged: dict[str, int] = {}
        self.peers: set[str] | None = {PEER}
        monkeypatch.setattr(time, "monotonic", lambda: self.now_ns / 1e9)

    def pause_s(self, source: str) -> float:
        until = self.scheduler.paused_until_ns(source)
        return 0.0 if until is None else max(0, until - self.now_ns) / 1e9

    def called(self, source: str, cost_ns: int) -> None:
        self.charged[source] = self.charged.get(source, 0) + cost_ns
        self.scheduler.called(source, cost_ns, self.now_ns)

    async def connected(self) -> set[str] | None:
        return self.peers

    async def turn_on(self, seconds: float) -> None:
        """Step by step, and all that was due has happened."""
        for _ in range(round(seconds / STEP_S)):
            self.now_ns += int(STEP_S * 1e9)
            self.scheduler.on_timer(self.now_ns)
            await settle()


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    return Accounts(monkeypatch)


def started(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
    return asyncio.ensure_future(work)


async def over_what_is_free(turns: CallTurns, source: str) -> None:
    """Until the next call waits."""
    for _ in range(FREE_AT_ONCE + 1):
        await turns.wait(source, PEER, CALL_NS)


async def test_what_is_free_at_once_goes_on_at_once_and_the_next_call_waits(accounts: Accounts) -> None:
    """Until its source has paid for the last one; meanwhile another source is not kept waiting."""
    turns = CallTurns(100, accounts, accounts.connected)
    await over_what_is_free(turns, "quick")
    call = started(turns.wait("quick", PEER, CALL_NS))
    await settle()
    assert turns.waiting == 1
    await turns.wait("other", PEER, CALL_NS)
    await accounts.turn_on(PENALTY * CALL_NS / 1e9)
    assert not call.done()
    await accounts.turn_on(2 * STEP_S)
    assert call.done()
    assert turns.waiting == 0


@pytest.mark.parametrize(("cost_ns", "a_second"), [(CALL_NS, 500), (OPENING_NS, 200)])
async def test_a_quarter_of_the_time_is_free(accounts: Accounts, cost_ns: int, a_second: int) -> None:
    """Whoever takes less never waits, however long."""
    turns = CallTurns(100, accounts, accounts.connected)
    for _ in range(2 * a_second):
        await turns.wait("script", PEER, cost_ns)
        assert turns.waiting == 0
        accounts.now_ns += 10**9 // a_second


async def test_ordinary_clients_never_wait(accounts: Accounts) -> None:
    """300 devices under one token that start within a second, a probe each second, a script that embeds 50 pictures a
    second, and a camera that opens a stream each second.
    """
    turns = CallTurns(1000, accounts, accounts.connected)
    begin, calls = accounts.now_ns, list[tuple[int, str, int]]()
    calls += [(number * 10**9 // 300, "fleet", CALL_NS) for number in range(300)]
    for second in range(5):
        calls += [(second * 10**9, "probe", CALL_NS), (second * 10**9, "camera", OPENING_NS)]
        calls += [(second * 10**9 + number * 10**9 // 50, "script", CALL_NS) for number in range(50)]
    for at_ns, source, cost_ns in sorted(calls):
        accounts.now_ns = begin + at_ns
        await turns.wait(source, PEER, cost_ns)
        assert turns.waiting == 0


async def test_who_calls_without_end_gets_a_part_of_the_time(accounts: Accounts) -> None:
    """What is free, and what it has paid for."""
    turns, passed = CallTurns(400, accounts, accounts.connected), 0

    async def calls() -> None:
        nonlocal passed
        while True:
            await turns.wait("quick", PEER, CALL_NS)
            passed += 1

    tasks = [started(calls()) for _ in range(100)]
    await accounts.turn_on(2.0)
    for task in tasks:
        task.cancel()
    most_ns = FREE_AT_ONCE_NS + int(2e9) // FREE_PART + int(2e9) // PENALTY + CALL_NS
    assert FREE_AT_ONCE_NS < passed * CALL_NS <= most_ns
    assert accounts.charged["quick"] == passed * CALL_NS


async def test_calls_go_on_in_the_order_in_which_they_came(accounts: Accounts) -> None:
    """But one that has been charged is the first: its message was read when others of its source were charged."""
    turns, came = CallTurns(100, accounts, accounts.connected), list[str]()
    await over_what_is_free(turns, "quick")

    async def call(name: str, turn: Callable[[], Coroutine[object, object, None]]) -> None:
        await turn()
        came.append(name)

    calls = [
        started(call("first", lambda: turns.wait("quick", PEER, OPENING_NS))),
        started(call("second", lambda: turns.wait("quick", PEER, CALL_NS))),
        started(call("read", lambda: turns.again("quick", PEER))),
    ]
    await settle()
    charged = accounts.charged["quick"]
    await accounts.turn_on(1.0)
    assert came == ["read", "first", "second"]
    assert accounts.charged["quick"] == charged + OPENING_NS + CALL_NS
    await asyncio.gather(*calls)


async def test_a_call_that_was_left_keeps_its_place_until_its_turn(accounts: Accounts) -> None:
    """Else a client that leaves its calls would open the next ones at once. It is charged like any other."""
    turns = CallTurns(100, accounts, accounts.connected)
    await over_what_is_free(turns, "quick")
    charged, call = accounts.charged["quick"], started(turns.wait("quick", PEER, CALL_NS))
    await settle()
    call.cancel()
    await settle()
    assert not call.done()
    assert turns.waiting == 1
    await accounts.turn_on(1.0)
    assert call.cancelled()
    assert turns.waiting == 0
    assert accounts.charged["quick"] == charged + CALL_NS


async def left_calls(turns: CallTurns, count: int) -> list[asyncio.Task[None]]:
    """Calls of a source that calls too often, which their client has left."""
    await over_what_is_free(turns, "quick")
    calls = [started(turns.wait("quick", PEER, CALL_NS)) for _ in range(count)]
    await settle()
    for call in calls:
        call.cancel()
    await settle()
    return calls


async def test_a_call_whose_connection_is_gone_waits_no_more_and_its_source_pays(accounts: Accounts) -> None:
    """Its place is free for others long before its turn; what it would have cost is charged all the same."""
    turns = CallTurns(1200, accounts, accounts.connected)
    calls = await left_calls(turns, 600)
    charged, accounts.peers = accounts.charged["quick"], set()
    await accounts.turn_on(LOOK_S + 0.1)
    assert all(call.cancelled() for call in calls)
    assert turns.waiting == 0
    assert accounts.charged["quick"] == charged + 600 * CALL_NS
    assert accounts.pause_s("quick") > PENALTY * 300 * CALL_NS / 1e9
    assert accounts.pause_s("quick") <= LONGEST_PAUSE_NS / 1e9


@pytest.mark.parametrize("peers", [{PEER}, None])
async def test_a_call_that_was_left_on_an_open_connection_waits_on(accounts: Accounts, peers: set[str] | None) -> None:
    """However often the connections are looked at, and where nobody knows them."""
    turns = CallTurns(2000, accounts, accounts.connected)
    calls, accounts.peers = await left_calls(turns, 1000), peers
    await accounts.turn_on(3 * LOOK_S)
    passed = sum(call.done() for call in calls)
    assert passed <= 3 * LOOK_S * 1e9 * 3 / 8 / CALL_NS + FREE_AT_ONCE  # as many as of a client that waits for them
    assert turns.waiting == 1000 - passed


async def test_a_connection_that_goes_after_its_calls_were_left_is_noticed(accounts: Accounts) -> None:
    """Nothing says so: it is looked at as long as such a call waits."""
    turns = CallTurns(400, accounts, accounts.connected)
    calls = await left_calls(turns, 200)
    await accounts.turn_on(2 * LOOK_S)
    accounts.peers = set()
    await accounts.turn_on(LOOK_S + 0.1)
    assert all(call.cancelled() for call in calls)


async def test_calls_that_nobody_has_left_wait_whatever_is_said_of_their_connection(accounts: Accounts) -> None:
    """Only gRPC knows whether a call is still there."""
    turns = CallTurns(2000, accounts, accounts.connected)
    (left,) = await left_calls(turns, 1)
    calls, accounts.peers = [started(turns.wait("quick", PEER, CALL_NS)) for _ in range(900)], set()
    await accounts.turn_on(2 * LOOK_S)
    assert left.cancelled()
    assert turns.waiting > 400
    turns.close()
    await asyncio.gather(*calls)


async def test_one_source_has_at_most_half_of_the_calls_that_wait(accounts: Accounts) -> None:
    """What it tries beyond that is refused, and charged; another one may wait."""
    turns = CallTurns(8, accounts, accounts.connected)
    for source in ("quick", "other"):
        await over_what_is_free(turns, source)
    calls = [started(turns.wait("quick", PEER, CALL_NS)) for _ in range(4)]
    await settle()
    charged = accounts.charged["quick"]
    refused = [started(turns.wait("quick", PEER, CALL_NS)) for _ in range(4)]
    await settle()
    mine = sum(not call.done() for call in (*calls, *refused))
    assert mine <= 4
    with pytest.raises(TooManyCalls, match="call less often"):
        await refused[-1]
    assert accounts.charged["quick"] >= charged + 3 * CALL_NS
    calls.append(started(turns.wait("other", PEER, CALL_NS)))
    await settle()
    assert turns.waiting == mine + 1
    await accounts.turn_on(1.0)
    await asyncio.gather(*calls, *refused, return_exceptions=True)


async def test_when_the_port_stops_all_go_on(accounts: Accounts) -> None:
    """Nobody holds up the server's end by having called too often."""
    turns = CallTurns(100, accounts, accounts.connected)
    await over_what_is_free(turns, "quick")
    calls = [started(turns.wait("quick", PEER, CALL_NS)) for _ in range(10)]
    await settle()
    turns.close()
    await asyncio.gather(*calls)
    await turns.wait("quick", PEER, CALL_NS)
    await turns.again("quick", PEER)
    assert turns.waiting == 0
