"""Heavy frames give way: they take no core from light ones, nor their place in sight, nor all of the memory."""

from __future__ import annotations

from reidstream_server.core.effects import GiveUpStaging, SetAside, Stage
from reidstream_server.core.faults import FaultReason
from reidstream_server.core.terms import SessionKey

from .builders import MS, Driver, a_model, a_request, some_limits, some_terms


def send(
    driver: Driver, session: SessionKey, name: str, boxes: int = 1, *, staging_ns: int = 0, size: int = 100
) -> None:
    request = a_request(driver.next_id(), boxes, size=size, staging_ns=staging_ns)
    driver.take(driver.scheduler.frame_arrived(session, request, name, driver.now))


def aside(driver: Driver) -> dict[str, bool]:
    """The frames that were staged, and whether aside."""
    return {effect.payload: effect.aside for effect in driver.effects if isinstance(effect, Stage)}


def test_light_frames_are_staged_beside_heavy_ones() -> None:
    """On one core with one slot: a heavy frame is staged aside, and the light one has the core."""
    driver = Driver(some_limits(staging_slots=1, cores=1))
    session, other = driver.open(some_terms("heavy")), driver.open(some_terms("light"))
    send(driver, session, "first", staging_ns=60 * MS)
    send(driver, session, "second", staging_ns=60 * MS)
    send(driver, other, "light")
    assert aside(driver) == {"first": True, "light": False}
    statistics = driver.scheduler.statistics(driver.now)
    assert (statistics.staging_frames, statistics.aside_frames) == (1, 1)


def test_light_frames_do_not_wait_until_heavy_crops_have_run() -> None:
    """A thousand ready crops of one frame would feed the engine for long; a small frame is staged all the same."""
    driver = Driver(some_limits(staging_slots=1, cores=2, queue_boxes=4000), models=(a_model(max_batch=4),))
    session, other = driver.open(some_terms("heavy")), driver.open(some_terms("light"))
    send(driver, session, "heavy", 1001)
    driver.stage("heavy")
    send(driver, other, "light", 2)
    assert aside(driver) == {"heavy": True, "light": False}
    driver.stage("light")
    for _ in range(3):
        driver.finish()
    assert [answer.payload for answer in driver.answers] == ["light"]


def test_heavy_frames_leave_memory_for_light_ones() -> None:
    """A quarter of it; but the largest heavy frame fits where no other heavy one is."""
    driver = Driver(some_limits(staging_slots=4, staged_bytes=1000))
    session, other = driver.open(some_terms("heavy")), driver.open(some_terms("light"))
    for name in ("first", "second", "third"):
        send(driver, session, name, staging_ns=60 * MS, size=300)
    send(driver, other, "light", size=250)
    assert aside(driver) == {"first": True, "second": True, "light": False}
    alone = Driver(some_limits(staged_bytes=1000))
    send(alone, alone.open(some_terms()), "largest", staging_ns=60 * MS, size=1000)
    assert aside(alone) == {"largest": True}


def test_what_turns_out_to_be_heavy_is_set_aside_and_its_camera_slowed() -> None:
    """After 200 ms its slot is free for others; until it is staged, all frames of its source are taken for heavy."""
    driver = Driver(some_limits(staging_slots=1, cores=1))
    slow, other = driver.open(some_terms("slow", source="slow")), driver.open(some_terms("other", source="other"))
    send(driver, slow, "slow")
    send(driver, other, "other")
    driver.wait(200 * MS)
    assert [effect.payload for effect in driver.effects if isinstance(effect, SetAside)] == ["slow"]
    assert aside(driver) == {"slow": False, "other": False}
    send(driver, slow, "next")
    driver.stage("other")
    assert "next" not in aside(driver)  # its place aside is taken
    driver.stage("slow")
    while driver.running:
        driver.finish()
    assert aside(driver)["next"] is False


def test_a_decoder_that_does_not_come_back_is_given_up() -> None:
    """The frame is answered and its source pays; the memory is held until the decoder ends, the slot is not."""
    driver = Driver(some_limits(staging_slots=1, cores=1))
    session, other = driver.open(some_terms("hung", source="hung")), driver.open(some_terms("ok", source="ok"))
    send(driver, session, "hung")
    driver.wait(2_000 * MS)
    assert [effect.payload for effect in driver.effects if isinstance(effect, GiveUpStaging)] == ["hung"]
    fault = driver.answers[0].fault
    assert fault is not None
    assert fault.reason is FaultReason.STAGING_TIMEOUT
    assert driver.scheduler.paused_until_ns("hung") is not None
    send(driver, other, "ok")
    driver.stage("ok")
    statistics = driver.scheduler.statistics(driver.now)
    assert (statistics.lost_stagings, statistics.staging_frames, statistics.staged_bytes) == (1, 0, 200)
    driver.stage("hung")
    driver.work_off()
    statistics = driver.scheduler.statistics(driver.now)
    assert (statistics.lost_stagings, statistics.staged_bytes, driver.released) == (0, 0, ["hung", "ok"])
