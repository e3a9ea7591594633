"""How far a session's open frames are, and what holds it up."""

from __future__ import annotations

from reidstream_server.core.progress import OpenFrame, Progress, SessionProgress
from reidstream_server.core.terms import OverloadPolicy, SessionKey

from .builders import MS, Driver, some_limits, some_terms


def progress_of(driver: Driver, session: SessionKey) -> SessionProgress:
    found = driver.scheduler.session_progress(session, driver.now)
    assert found is not None
    return found


def open_frames(driver: Driver, session: SessionKey, most: int = 64) -> list[tuple[int, Progress]]:
    return [(frame.frame_id, frame.progress) for frame in driver.scheduler.open_frames(session, most, driver.now)]


def test_a_frame_is_seen_at_each_of_its_steps() -> None:
    """One is embedded, one is being decoded, and one waits for that; then they are done one by one."""
    driver = Driver(some_limits(staging_slots=1, cores=1))
    session = driver.open(some_terms())
    for name in ("one", "two", "three"):
        driver.send(session, name)
        driver.wait(MS)
    driver.stage("one")
    assert open_frames(driver, session)[0] == (1, Progress.READY)
    assert {progress for _, progress in open_frames(driver, session)[1:]} <= {Progress.QUEUED, Progress.STAGING}
    found = progress_of(driver, session)
    assert (found.waiting_frames + found.running_frames, found.done_frames) == (3, 0)
    assert found.oldest_frame_ns == 3 * MS
    driver.work_off()
    assert open_frames(driver, session) == []
    assert progress_of(driver, session).oldest_frame_ns == 0


def test_a_frame_that_is_done_waits_for_an_older_one() -> None:
    """In order, its answer may not overtake; it is open until then, and nothing works on it."""
    driver = Driver(some_limits())
    session = driver.open(some_terms())
    driver.send(session, "one")
    driver.send(session, "two")
    driver.stage("two")
    driver.finish()
    assert open_frames(driver, session) == [(1, Progress.STAGING), (2, Progress.DONE)]
    found = progress_of(driver, session)
    assert (found.waiting_frames, found.running_frames, found.done_frames) == (0, 1, 1)


def test_a_client_that_reads_nothing_is_seen() -> None:
    """How long it has taken none of the answers that wait for it; zero once it has taken all."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "one")
    driver.send(session, "two")
    driver.work_off()
    driver.wait(7 * MS)
    assert progress_of(driver, session).unread_ns == 7 * MS
    driver.write(session)
    driver.wait(2 * MS)
    assert progress_of(driver, session).unread_ns == 2 * MS
    driver.write(session)
    assert progress_of(driver, session).unread_ns == 0


def test_a_session_whose_frame_waits_for_room_is_parked() -> None:
    """The server's queue is full, and its policy is to wait."""
    driver = Driver(some_limits(queue_boxes=4))
    other, session = driver.open(some_terms("other")), driver.open(some_terms("gate", policy=OverloadPolicy.WAIT))
    driver.send(other, "one", boxes=2)
    driver.send(other, "two", boxes=2)
    driver.send(session, "three", boxes=2)
    found = progress_of(driver, session)
    assert (found.parked, found.waiting_frames) == (True, 1)
    assert open_frames(driver, session) == [(3, Progress.PARKED)]


def test_the_oldest_frames_come_first_and_no_more_than_asked_for() -> None:
    """With what each one is, and how long it has been here."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "one", boxes=3, size=50)
    driver.wait(5 * MS)
    driver.send(session, "two")
    (found,) = driver.scheduler.open_frames(session, 1, driver.now)
    assert found == OpenFrame(
        frame_id=1, progress=Progress.STAGING, here_ns=5 * MS, age_ns=0, crops=3, message_bytes=50
    )


def test_a_session_that_is_over_has_no_progress() -> None:
    """Whoever asks too late gets nothing, and no error."""
    driver = Driver()
    assert driver.scheduler.session_progress(SessionKey(99), driver.now) is None
    assert driver.scheduler.open_frames(SessionKey(99), 1, driver.now) == ()


def test_a_paused_and_a_half_closed_session_are_seen() -> None:
    """Its source pays for something, and its client sends no more."""
    driver = Driver()
    session = driver.open(some_terms(source="connection"))
    driver.take(driver.scheduler.charge("connection", 50 * MS, driver.now))
    driver.send(session, "one")
    driver.take(driver.scheduler.half_closed(session, driver.now))
    found = progress_of(driver, session)
    assert (found.paused, found.slowed, found.half_closed) == (True, True, True)
