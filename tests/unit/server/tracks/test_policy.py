"""When a box of a track is embedded: each policy's formula, at its edge and on both sides of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_server.tracks.policy import Reason, RowSource, needs_row
from reidstream_server.tracks.sighting import Rect, Sighting
from reidstream_server.tracks.terms import AtIntervals, EmbedPolicy, EveryFrame, Once, OnRisk

MS = 1_000_000
LAST: Rect = (100.0, 100.0, 150.0, 220.0)  # 50 x 120
SOURCE = RowSource(frame=10, taken_ns=1_000 * MS, quality=0.5)
RISK = OnRisk(max_overlap=0.25, max_size_ratio=1.5, max_shift=0.5, min_quality_gain=0.25, max_age_ns=500 * MS)
EACH_POLICY = [EveryFrame(), AtIntervals(frames=5), AtIntervals(interval_ns=5), RISK, Once()]


def seen(rect: Rect = LAST, *, quality: float = 0.5, overlap: float = 0.0) -> Sighting:
    return Sighting(track_id=1, rect=rect, quality=quality, overlap=overlap)


def asked(
    policy: EmbedPolicy,
    box: Sighting,
    *,
    frame: int = 11,
    taken_ns: int = 1_033 * MS,
    source: RowSource | None = SOURCE,
    last: Rect | None = LAST,
) -> Reason | None:
    return needs_row(policy, box, frame=frame, taken_ns=taken_ns, last=last, source=source)


@pytest.mark.parametrize("policy", EACH_POLICY)
def test_a_track_without_a_row_gets_one(policy: EmbedPolicy) -> None:
    """Whatever was agreed: there is nothing to answer with. Also when a box was seen, but its row was lost."""
    assert asked(policy, seen(), source=None, last=None) is Reason.FIRST
    assert asked(policy, seen(), source=None, last=LAST) is Reason.FIRST


def test_every_frame_is_every_frame() -> None:
    assert asked(EveryFrame(), seen()) is Reason.EVERY_FRAME


def test_once_is_once() -> None:
    """Even for a box that jumped, a year later."""
    assert asked(Once(), seen((0, 0, 900, 900), overlap=1.0), frame=10**9, taken_ns=10**18) is None


@pytest.mark.parametrize(("frame", "due"), [(10, False), (12, False), (13, True), (40, True)])
def test_an_interval_in_frames_counts_from_the_newest_row(frame: int, *, due: bool) -> None:
    """3: every third frame, whether the frames between held the track or not."""
    assert asked(AtIntervals(frames=3), seen(), frame=frame) is (Reason.INTERVAL if due else None)


@pytest.mark.parametrize(("ms", "due"), [(1_000, False), (1_199, False), (1_200, True), (9_000, True), (900, False)])
def test_an_interval_in_time_counts_from_when_the_newest_row_was_taken(ms: int, *, due: bool) -> None:
    """A frame that was taken before that one is not due: a client may send late ones."""
    assert asked(AtIntervals(interval_ns=200 * MS), seen(), taken_ns=ms * MS) is (Reason.INTERVAL if due else None)


def test_of_two_intervals_the_one_that_is_over_first_counts() -> None:
    both = AtIntervals(frames=5, interval_ns=200 * MS)
    assert asked(both, seen(), frame=14, taken_ns=1_199 * MS) is None
    assert asked(both, seen(), frame=15, taken_ns=1_001 * MS) is Reason.INTERVAL
    assert asked(both, seen(), frame=11, taken_ns=1_200 * MS) is Reason.INTERVAL


def test_a_calm_track_costs_nothing() -> None:
    """It moved, grew and improved a little, and another box touches it."""
    assert asked(RISK, seen((110, 104, 165, 230), quality=0.7, overlap=0.2)) is None


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (seen(overlap=0.25), None),
        (seen(overlap=0.2500001), Reason.OVERLAP),
        (seen((100, 100, 175, 280)), None),  # half as large again, both ways
        (seen((100, 100, 176, 280)), Reason.SIZE),
        (seen((100, 100, 175, 281)), Reason.SIZE),
        (seen((100, 100, 133, 179)), Reason.SIZE),  # smaller
        (seen((100, 100, 160, 190)), Reason.SIZE),  # neither side by so much, but together: of another shape
        (seen((125, 160, 175, 280)), None),  # half a width aside, half a height down
        (seen((126, 100, 176, 220)), Reason.SHIFT),
        (seen((74, 100, 124, 220)), Reason.SHIFT),
        (seen((100, 161, 150, 281)), Reason.SHIFT),
        (seen((100, 39, 150, 159)), Reason.SHIFT),
        (seen(quality=0.75), None),
        (seen(quality=0.7500001), Reason.QUALITY),
        (seen(quality=0.0), None),  # worse is no reason
    ],
)
def test_each_risk_begins_above_its_bound(box: Sighting, reason: Reason | None) -> None:
    """At the bound nothing is embedded, and a little above it something is, for that reason."""
    assert asked(RISK, box) is reason


@pytest.mark.parametrize(("age_ms", "reason"), [(500, None), (501, Reason.AGE), (-10, None)])
def test_a_row_becomes_too_old(age_ms: int, reason: Reason | None) -> None:
    assert asked(RISK, seen(), taken_ns=(1_000 + age_ms) * MS) is reason


def test_where_the_last_box_is_not_known_nothing_is_compared_with_it() -> None:
    """The other risks count as ever."""
    far = (500.0, 100.0, 520.0, 120.0)
    assert asked(RISK, seen(far), last=None) is None
    assert asked(RISK, seen(far, overlap=0.9), last=None) is Reason.OVERLAP


bounds = st.floats(0, 1)


@given(
    st.builds(
        OnRisk,
        max_overlap=bounds,
        max_size_ratio=st.floats(1, 3),
        max_shift=st.floats(0.01, 2),
        min_quality_gain=bounds,
        max_age_ns=st.integers(1, 10**9),
    ),
    st.builds(
        Sighting,
        track_id=st.just(1),
        rect=st.builds(
            lambda x, y, w, h: (x, y, x + w, y + h),
            st.floats(0, 500),
            st.floats(0, 500),
            st.floats(1, 500),
            st.floats(1, 500),
        ),
        quality=bounds,
        overlap=bounds,
    ),
    st.integers(0, 10**9),
)
def test_what_a_lax_policy_embeds_a_strict_one_embeds_too(policy: OnRisk, box: Sighting, later_ns: int) -> None:
    """Each bound alone: lowered, it finds all that it found before."""
    found = asked(policy, box, taken_ns=SOURCE.taken_ns + later_ns)
    strict = OnRisk(
        max_overlap=policy.max_overlap / 2,
        max_size_ratio=(policy.max_size_ratio + 1) / 2,
        max_shift=policy.max_shift / 2,
        min_quality_gain=policy.min_quality_gain / 2,
        max_age_ns=policy.max_age_ns // 2,
    )
    if found is not None:
        assert asked(strict, box, taken_ns=SOURCE.taken_ns + later_ns) is not None
