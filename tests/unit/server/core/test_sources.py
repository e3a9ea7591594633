"""Who is held responsible pays in time: nothing of it is read, and nobody else notices."""

from __future__ import annotations

import pytest

from reidstream_server.core.effects import Readable
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.sources import LONGEST_PAUSE_NS, PENALTY
from reidstream_server.core.terms import OverloadPolicy, SessionKey

from .builders import MS, Driver, a_request, some_limits, some_terms

BROKEN = FrameFault(reason=FaultReason.INVALID_IMAGE, message="broken")


def refuse(driver: Driver, session: SessionKey, spent_ns: int) -> None:
    driver.take(
        driver.scheduler.frame_refused(session, driver.next_id(), BROKEN, driver.now, spent_ns=spent_ns),
    )


def readable(driver: Driver, *sessions: SessionKey) -> list[bool]:
    return [driver.scheduler.readable(session) for session in sessions]


def test_all_sessions_of_a_source_pay_for_a_refused_frame_and_no_other() -> None:
    """For eight times as long as its reading took; then each is told that it may be read again."""
    driver = Driver()
    one, brother = driver.open(some_terms("one", source="bad")), driver.open(some_terms("two", source="bad"))
    other = driver.open(some_terms("other", source="good"))
    refuse(driver, one, 2 * MS)
    assert readable(driver, one, brother, other) == [False, False, True]
    assert driver.scheduler.statistics(driver.now).paused_sources == 1
    driver.wait(PENALTY * 2 * MS - 1)
    assert readable(driver, one, brother, other) == [False, False, True]
    driver.wait(1)
    assert readable(driver, one, brother, other) == [True, True, True]
    told = [effect.session for effect in driver.effects if isinstance(effect, Readable)]
    assert sorted(told) == sorted([one, brother])


def test_a_debt_grows_and_has_an_end() -> None:
    """What is refused while the source pays is added; but a source that has mended its ways is read within 10 s."""
    driver = Driver()
    session = driver.open(some_terms(source="bad"))
    refuse(driver, session, 1 * MS)
    refuse(driver, session, 1 * MS)
    assert driver.scheduler.paused_until_ns("bad") == driver.now + 2 * PENALTY * MS
    refuse(driver, session, LONGEST_PAUSE_NS)
    assert driver.scheduler.paused_until_ns("bad") == driver.now + LONGEST_PAUSE_NS


def test_a_debt_does_not_go_with_the_session() -> None:
    """A new session of the source pays on; when it is paid and nothing is open, the source is forgotten."""
    driver = Driver()
    session = driver.open(some_terms(source="bad"))
    refuse(driver, session, 1 * MS)
    driver.take(driver.scheduler.session_lost(session, driver.now))
    again = driver.open(some_terms(source="bad"))
    assert readable(driver, again) == [False]
    driver.take(driver.scheduler.session_lost(again, driver.now))
    driver.wait(PENALTY * MS)
    assert len(driver.scheduler._sources) == 0
    assert driver.scheduler.statistics(driver.now).timers == 0


def test_a_frame_that_finds_no_room_was_read_in_vain() -> None:
    """Whoever floods a full queue pays for the reading; a frame that finds room costs nothing."""
    driver = Driver(some_limits(queue_boxes=4))
    session = driver.open(some_terms(policy=OverloadPolicy.REJECT, source="flood"))

    def send(boxes: int) -> None:
        request = a_request(driver.next_id(), boxes)
        driver.take(driver.scheduler.frame_arrived(session, request, "pixels", driver.now, spent_ns=MS))

    send(4)
    assert driver.scheduler.paused_until_ns("flood") is None
    send(1)
    assert driver.scheduler.paused_until_ns("flood") == driver.now + PENALTY * MS


@pytest.mark.parametrize(("spent_ns", "pays"), [(220 * MS, True), (190 * MS, False)])
def test_a_staging_that_cost_far_more_than_its_headers_say_is_paid_for(spent_ns: int, *, pays: bool) -> None:
    """If it was long, too: an estimate may be wrong, and a short one harms nobody."""
    driver = Driver()  # slow is what takes 200 ms
    session = driver.open(some_terms(source="liar"))
    request = a_request(driver.next_id(), 1, staging_ns=10 * MS)
    driver.take(driver.scheduler.frame_arrived(session, request, "pixels", driver.now))
    driver.take(driver.scheduler.frame_staged(driver.staging.pop("pixels"), driver.now, spent_ns=spent_ns))
    until = driver.now + PENALTY * (spent_ns - 10 * MS)
    assert driver.scheduler.paused_until_ns("liar") == (until if pays else None)


def test_a_source_is_weighed_by_what_its_stagings_have_cost() -> None:
    """After some frames that took ten times as long as they said, the next are thought to take that long."""
    driver = Driver()
    liar, honest = driver.open(some_terms("liar", source="liar")), driver.open(some_terms("honest", source="honest"))
    for _ in range(40):
        request = a_request(driver.next_id(), 1, staging_ns=4 * MS)
        driver.take(driver.scheduler.frame_arrived(liar, request, "pixels", driver.now))
        driver.take(driver.scheduler.frame_staged(driver.staging.pop("pixels"), driver.now, spent_ns=40 * MS))
        driver.work_off()
        driver.write(liar)
    sources = driver.scheduler._sources
    assert sources.expected_ns("liar", 4 * MS) > 35 * MS
    assert sources.expected_ns("honest", 4 * MS) == 4 * MS
    del honest


def test_many_who_pay_wait_longer_each() -> None:
    """All together get a third of the time at most, however many connections they come by."""
    driver = Driver()
    waits = []
    for number in range(10):
        session = driver.open(some_terms(source=f"bad {number}"))
        refuse(driver, session, MS)
        until = driver.scheduler.paused_until_ns(f"bad {number}")
        assert until is not None
        waits.append((until - driver.now) // MS)
    assert waits == [8, 8, 9, 12, 15, 18, 21, 24, 27, 30]


def test_many_who_spend_what_is_free_share_it() -> None:
    """Each call costs a millisecond: for one alone a quarter of the time is free, for each of thirty a ninetieth."""
    driver = Driver()
    alone, crowd = 0, 0
    for _ in range(100):
        driver.take(driver.scheduler.called("alone", MS, driver.now))
        alone += driver.scheduler.paused_until_ns("alone") is not None
        driver.wait(5 * MS)
    for _ in range(100):
        for number in range(30):
            driver.take(driver.scheduler.called(f"crowd {number}", MS, driver.now))
            crowd += driver.scheduler.paused_until_ns(f"crowd {number}") is not None
        driver.wait(5 * MS)
    assert alone == 0
    assert crowd > 0
