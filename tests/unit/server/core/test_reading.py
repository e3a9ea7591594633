"""What reading frames costs, and who pays for it when it was for nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reidstream_server.core.effects import End, EndCause, Readable
from reidstream_server.core.sources import (
    ANSWERING_NS,
    FREE_AT_ONCE_NS,
    FREE_PART,
    MOST_GONE,
    PENALTY,
    USUAL_BYTE_NS,
    USUAL_CROP_NS,
    USUAL_FRAME_NS,
)
from reidstream_server.core.terms import DrainReason, OverloadPolicy, SessionKey

from .builders import MS, Driver, a_request, some_limits, some_terms


def read(driver: Driver, session: SessionKey, spent_ns: int, *, boxes: int = 0, age_ns: int = 0) -> None:
    request = replace(a_request(driver.next_id(), boxes), age_ns=age_ns)
    driver.take(
        driver.scheduler.frame_arrived(session, request, f"frame {driver.next_id()}", driver.now, spent_ns=spent_ns)
    )


def pays(driver: Driver, source: str = "connection") -> bool:
    return driver.scheduler.paused_until_ns(source) is not None


def test_a_camera_of_empty_rooms_pays_nothing() -> None:
    """Frames without boxes are read as long as that is a small part of the time."""
    driver = Driver()
    session = driver.open(some_terms(frames=1000))
    for _ in range(1000):
        read(driver, session, MS // 10)
        driver.now += MS
        assert not pays(driver)


@pytest.mark.parametrize("boxes", [0, 2])
def test_frames_that_are_long_read_and_soon_done_are_paid_for(boxes: int) -> None:
    """Whether none of their crops is embedded, or a few: what is free at once is free, and then the source is not
    read.
    """
    driver = Driver()
    session = driver.open(some_terms(frames=1000))
    frames = 0
    while not pays(driver):
        read(driver, session, 4 * MS, boxes=boxes)
        frames += 1
    usual = USUAL_FRAME_NS + boxes * USUAL_CROP_NS + 100 * USUAL_BYTE_NS if boxes else 0
    assert frames == FREE_AT_ONCE_NS // (4 * MS - usual) + 1
    assert driver.scheduler.paused_until_ns("connection") == driver.now + PENALTY * (4 * MS - usual)
    assert not driver.scheduler.readable(session)
    assert not pays(driver, "another")


def test_a_frame_that_was_read_and_is_too_late_was_read_for_nothing() -> None:
    """It is refused for its age alone, after all of it was read."""
    driver = Driver()
    session = driver.open(some_terms(budget_ns=MS))
    read(driver, session, FREE_AT_ONCE_NS + 1, boxes=8, age_ns=2 * MS)
    assert pays(driver)


def test_a_frame_that_is_dropped_was_read_for_nothing() -> None:
    """The newest frame takes its place, and no core has worked on it."""
    driver = Driver()
    session = driver.open(some_terms(policy=OverloadPolicy.DROP_OLDEST, frames=2))
    for _ in range(20):
        read(driver, session, USUAL_CROP_NS)
    assert not pays(driver)
    for _ in range(FREE_AT_ONCE_NS // USUAL_FRAME_NS + 20):
        read(driver, session, USUAL_FRAME_NS, boxes=1)
    assert pays(driver)


def test_a_frame_that_finds_no_room_is_paid_for_once() -> None:
    """At once, and for what reading it took: it is not also read for nothing, however much that was already."""
    driver = Driver()
    session = driver.open(some_terms(policy=OverloadPolicy.REJECT, frames=1))
    read(driver, session, FREE_AT_ONCE_NS)  # all that is free
    read(driver, session, MS // 10, boxes=1)
    assert not pays(driver)
    read(driver, session, MS, boxes=1)
    assert driver.scheduler.paused_until_ns("connection") == driver.now + PENALTY * MS


def test_a_frame_that_may_not_even_wait_for_room_is_paid_for_once() -> None:
    """Too much waits already."""
    driver = Driver(some_limits(queue_boxes=4, parked_bytes=150))
    read(driver, driver.open(some_terms("busy", source="another")), 0, boxes=4)
    read(driver, driver.open(some_terms("waits", source="another")), 0, boxes=4)
    session = driver.open(some_terms())
    read(driver, session, FREE_AT_ONCE_NS)
    read(driver, session, MS, boxes=4)
    assert driver.scheduler.paused_until_ns("connection") == driver.now + PENALTY * MS


def test_what_took_longer_than_usual_is_not_counted_again_when_the_frame_is_dropped() -> None:
    """Its reading counts once, and its answer."""
    driver = Driver()
    session = driver.open(some_terms(policy=OverloadPolicy.DROP_OLDEST, frames=3))
    read(driver, session, 0, boxes=1)
    read(driver, session, 0, boxes=1)  # as many as are decoded at a time
    spent = FREE_AT_ONCE_NS - ANSWERING_NS
    read(driver, session, spent, boxes=1)
    read(driver, session, 0, boxes=1)  # takes its place
    assert len(driver.released) == 1
    assert not pays(driver)
    read(driver, session, 1)
    assert pays(driver)


def test_frames_of_a_client_that_vanished_were_read_for_nothing() -> None:
    """Or a client could send, and hang up, as often as it likes. Those that were begun are not counted."""
    driver = Driver()
    session = driver.open(some_terms(frames=1000))
    reading_ns = USUAL_FRAME_NS + USUAL_CROP_NS
    for _ in range(2 + FREE_AT_ONCE_NS // reading_ns + 1):
        read(driver, session, reading_ns, boxes=1)
    assert not pays(driver)
    driver.take(driver.scheduler.session_lost(session, driver.now))
    assert pays(driver)


def test_what_is_settled_when_a_source_leaves_is_not_forgotten() -> None:
    """Its last session may be given up in the very event that brought its frame."""
    driver = Driver()
    limits = some_limits()
    session = driver.open(some_terms())
    read(driver, session, 0)  # an answer that its client does not take
    driver.now += limits.stall_timeout_ns
    read(driver, session, FREE_AT_ONCE_NS)
    assert driver.scheduler.session_statistics(session) is None
    assert not pays(driver)
    read(driver, driver.open(some_terms()), 1)
    assert pays(driver)


def test_whoever_has_paid_has_the_same_part_again_and_no_more() -> None:
    """However long a source goes on, reading for nothing takes the free part and the penalty's."""
    driver = Driver()
    session = driver.open(some_terms(frames=100_000))
    began, spent = driver.now, 0
    while driver.now < began + 2_000 * MS:
        if driver.scheduler.readable(session):
            read(driver, session, 2 * MS)
            driver.take(driver.scheduler.answer_written(session, driver.now))
            spent += 2 * MS
        driver.now += 2 * MS
        driver.take(driver.scheduler.on_timer(driver.now))
    assert spent < 2_000 * MS * (1 / FREE_PART + 1 / PENALTY)


def test_a_source_does_not_begin_anew_with_its_next_session() -> None:
    """A call is a session of its own. What was free at once is not free again with each."""
    driver = Driver()
    for _ in range(FREE_AT_ONCE_NS // (4 * MS) + 1):
        session = driver.open(some_terms())
        read(driver, session, 4 * MS)
        driver.take(driver.scheduler.session_lost(session, driver.now))
    assert pays(driver)


def test_of_sources_that_are_gone_a_bounded_number_is_remembered() -> None:
    """Their names are made by clients."""
    driver = Driver()
    for number in range(MOST_GONE + 10):
        session = driver.open(some_terms(source=f"connection {number}"))
        read(driver, session, MS)
        driver.take(driver.scheduler.session_lost(session, driver.now))
    assert len(driver.scheduler._sources._gone) == MOST_GONE


def test_a_source_without_a_session_pays_for_its_calls() -> None:
    """What is free at once is free once, whatever others do meanwhile; then it pays, and is forgotten in the end."""
    driver = Driver()

    def call(source: str) -> None:
        driver.take(driver.scheduler.called(source, MS, driver.now))

    for _ in range(FREE_AT_ONCE_NS // MS):
        call("quick")
        assert not pays(driver, "quick")
    call("other")
    call("quick")
    wait_ns = PENALTY * 3 // 2 * MS  # two spend, so both wait half as long again
    assert driver.scheduler.paused_until_ns("quick") == driver.now + wait_ns
    assert not pays(driver, "other")
    driver.wait(wait_ns)
    assert not pays(driver, "quick")
    assert len(driver.scheduler._sources) == 0


def test_calls_and_frames_of_a_source_are_one_account() -> None:
    """Whoever has used up what is free with calls is not read, on none of its sessions."""
    driver = Driver()
    session, other = driver.open(some_terms(frames=1000)), driver.open(some_terms("other", source="other"))
    driver.take(driver.scheduler.called("connection", FREE_AT_ONCE_NS, driver.now))
    assert driver.scheduler.readable(session)
    read(driver, session, MS)
    assert not driver.scheduler.readable(session)
    assert driver.scheduler.readable(other)


def test_frames_that_come_after_the_drain_are_read_for_nothing() -> None:
    """They are not processed. Their source pays like any other, and the drain does not wait for that."""
    driver = Driver()
    session = driver.open(some_terms(frames=1000))
    driver.send(session, "last")
    driver.take(driver.scheduler.drain(session, DrainReason.IDLE, driver.now + 10_000 * MS, driver.now))
    assert driver.scheduler.readable(session)
    read(driver, session, FREE_AT_ONCE_NS)
    assert driver.scheduler.readable(session)
    read(driver, session, MS)
    assert pays(driver)
    assert not driver.scheduler.readable(session)
    driver.work_off()
    driver.write(session)
    assert [effect.cause for effect in driver.effects if isinstance(effect, End)] == [EndCause.DRAINED]


def test_a_session_that_drains_is_read_again_when_its_source_has_paid() -> None:
    """And is told so."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "last")
    driver.take(driver.scheduler.charge("connection", MS, driver.now))
    driver.take(driver.scheduler.drain(session, DrainReason.IDLE, driver.now + 10_000 * MS, driver.now))
    assert not driver.scheduler.readable(session)
    driver.effects.clear()
    driver.wait(PENALTY * MS)
    assert driver.seen(Readable) == [Readable(session=session)]


def test_another_session_is_the_first_to_be_read_after_each_pause() -> None:
    """So one camera of a source that makes it pay each time does not keep the others out."""
    driver = Driver()
    sessions = [driver.open(some_terms(str(number))) for number in range(3)]
    firsts = set()
    for _ in sessions:
        driver.take(driver.scheduler.charge("connection", MS, driver.now))
        driver.effects.clear()
        driver.now += PENALTY * MS
        driver.take(driver.scheduler.on_timer(driver.now))
        firsts.add(next(effect.session for effect in driver.effects if isinstance(effect, Readable)))
    assert firsts == set(sessions)
