"""Rates are of two answers, and a state names what to look at first."""

from __future__ import annotations

import pytest

from reidstream_client.cli.top.looks import Looks, Rates, Seen
from tests.unit.client.cli.top.figures import details, rates, seen, session, sessions


def test_rates_are_of_the_time_between_two_answers() -> None:
    """By the clock of the server, whenever the answers came."""
    looks = Looks()
    looks.look(sessions(session(open_s=10.0, answered=100, given_up=5, failed=1, received_bytes=1000)))
    now = session(open_s=14.0, answered=180, given_up=15, failed=3, received_bytes=9000)
    (found,) = looks.look(sessions(now)).seen
    assert found.rates == Rates(
        interval_s=4.0, answered_fps=20.0, given_up_fps=2.5, failed_fps=0.5, received_bytes_per_s=2000.0
    )
    assert found.rates.lost_fps == 3.0
    assert found.rates.lost_percent == pytest.approx(100 * 3 / 23)


def test_a_session_that_is_new_has_no_rates() -> None:
    """The first answer has none at all; and neither has who came since the last one."""
    looks = Looks()
    (first,) = looks.look(sessions(session(number=1))).seen
    _, came = looks.look(sessions(session(number=1, open_s=12.0), session(number=2, answered=5))).seen
    assert (first.rates, came.rates) == (None, None)


def test_answers_of_two_processes_are_not_compared() -> None:
    """A server that was started again has other sessions under the same numbers."""
    looks = Looks()
    looks.look(sessions(session(answered=100), instance="a"))
    (found,) = looks.look(sessions(session(answered=7, open_s=12.0), instance="b")).seen
    assert found.rates is None
    (found,) = looks.look(sessions(session(answered=9, open_s=13.0), instance="b")).seen
    assert found.rates is not None
    assert found.rates.answered_fps == 2.0


def test_two_answers_of_one_moment_have_no_rate() -> None:
    """Nothing is divided by zero."""
    looks = Looks()
    looks.look(sessions(session(answered=1)))
    (found,) = looks.look(sessions(session(answered=1))).seen
    assert found.rates is None


def test_a_detail_is_compared_with_the_table_before_it() -> None:
    """So that it has rates at once; and the table after it is compared with the detail."""
    looks = Looks()
    looks.look(sessions(session(number=1), session(number=2)))
    one = looks.look_at(details(session(number=1, open_s=12.0, answered=6)))
    assert one.seen.rates is not None
    assert one.seen.rates.answered_fps == 3.0
    first, second = looks.look(
        sessions(session(number=1, open_s=13.0, answered=8), session(number=2, open_s=20.0))
    ).seen
    assert first.rates is not None
    assert second.rates is not None
    assert (first.rates.interval_s, second.rates.interval_s) == (1.0, 10.0)


def test_an_answer_that_comes_very_soon_is_compared_with_the_one_before() -> None:
    """Rates of a moment say little: who opens a session in detail sees those of about an interval."""
    looks = Looks()
    looks.look(sessions(session(open_s=10.0)))
    looks.look(sessions(session(open_s=12.0, answered=20)))
    for open_s, answered in ((12.1, 20), (12.3, 24)):
        found = looks.look_at(details(session(open_s=open_s, answered=answered))).seen.rates
        assert found is not None
        assert found.interval_s == pytest.approx(open_s - 10.0)
        assert found.answered_fps == pytest.approx(answered / (open_s - 10.0))
    found = looks.look_at(details(session(open_s=14.0, answered=40))).seen.rates
    assert found is not None
    assert (found.interval_s, found.answered_fps) == (2.0, 10.0)


def test_a_second_answer_that_comes_very_soon_has_rates_all_the_same() -> None:
    """There is no other to compare it with."""
    looks = Looks()
    looks.look(sessions(session(open_s=10.0)))
    (found,) = looks.look(sessions(session(open_s=10.25, answered=5))).seen
    assert found.rates is not None
    assert found.rates.answered_fps == 20.0


def test_without_frames_there_is_no_share_of_losses() -> None:
    """Nothing of nothing."""
    assert rates().lost_percent is None


@pytest.mark.parametrize(
    ("found", "state", "suffers"),
    [
        (seen(rates(5.0), draining=True, parked=True), "draining", False),
        (seen(rates(5.0), unread_s=1.5, unwritten_answers=3), "not reading", True),
        (seen(rates(5.0, given_up=1.0), paused=True, slowed=True), "paused", True),
        (seen(rates(5.0), parked=True, held=True), "parked", True),
        (seen(rates(5.0), slowed=True), "slowed", True),
        (seen(rates(5.0, given_up=0.5)), "losing", True),
        (seen(rates(5.0, failed=0.5)), "losing", True),
        (seen(rates(5.0), held=True, window_frames=16), "window full", False),
        (seen(rates(5.0), half_closed=True), "finishing", False),
        (seen(rates(5.0)), "ok", False),
        (seen(rates(), window_frames=1), "ok", False),
        (seen(None), "ok", False),
        (seen(rates()), "idle", False),
    ],
)
def test_a_state_names_what_to_look_at_first(found: Seen, state: str, *, suffers: bool) -> None:
    """Whatever else is so."""
    assert (found.state, found.suffers) == (state, suffers)
