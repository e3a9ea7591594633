"""Who walks where: straight on, or to and fro."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reidstream_synthetic.people.cast import cast
from reidstream_synthetic.ways import Way, deal, stance_on, with_return

WALKER = replace(cast(0)[0], speed=1.5)  # metres a second: a tenth of a metre a frame
TO_THE_RIGHT = Way(x=2.0, z=10.0, heading=90, at=0.0)


def test_a_way_is_walked_at_the_walkers_speed() -> None:
    """A hundred frames on a way to the right are ten metres of x, and z stays."""
    stance = stance_on(TO_THE_RIGHT, WALKER, 100, 1000)
    assert (stance.x, stance.z, stance.walked) == pytest.approx((12.0, 10.0, 10.0))


def test_a_way_is_crossed_in_its_middle_at_its_share_of_the_clip() -> None:
    """With `at` 0.5 of 60 frames, frame 30 is at (x, z)."""
    stance = stance_on(replace(TO_THE_RIGHT, at=0.5), WALKER, 30, 60)
    assert (stance.x, stance.z) == pytest.approx((2.0, 10.0))


def test_who_returns_turns_round_at_the_reach() -> None:
    """4 m out, then back: the place repeats every 16 m, feet walk on, and the face turns with the body."""
    way = replace(TO_THE_RIGHT, reach_m=4.0)
    places = [stance_on(way, WALKER, frame, 1000) for frame in (0, 30, 40, 50, 80, 120, 160)]
    assert [stance.x - 2.0 for stance in places] == pytest.approx([0, 3, 4, 3, 0, -4, 0], abs=1e-9)
    assert [stance.walked for stance in places] == pytest.approx([0, 3, 4, 5, 8, 12, 16])
    turned = [round((stance.heading - places[0].heading) / np.pi) for stance in places]
    assert turned == [0, 0, 1, 1, 1, 0, 0]


def test_nobody_walks_through_the_wall() -> None:
    """A way that leads away from the camera is turned a metre before the wall; one along it far to the side."""
    away = with_return(Way(x=0, z=9.0, heading=0, at=0), 20.0)
    along = with_return(TO_THE_RIGHT, 20.0)
    assert away.reach_m == pytest.approx(10.0)
    assert along.reach_m == 13.0


def test_ways_are_dealt_to_any_number_of_people() -> None:
    """Few people get some of the laid ways; many get all of them first, and then ways of their own."""
    laid = tuple(replace(TO_THE_RIGHT, z=float(z)) for z in range(8, 12))

    def dealt(people: int) -> tuple[Way, ...]:
        return deal(laid, people, np.random.default_rng(1), np.random.default_rng(2))

    many = dealt(30)
    assert set(many[:4]) == set(laid)
    assert dealt(2) == many[:2]
    assert len(set(many)) == 30
