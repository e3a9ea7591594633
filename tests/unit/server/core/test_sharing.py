"""What is bounded for all is shared: who has much gets no more, and there is room for a newcomer."""

from __future__ import annotations

from reidstream_server.core.sharing import Pool


def filled(pool: Pool[str], holder: str) -> int:
    """Let the holder take one at a time for as long as it may; returns what it has then."""
    while pool.fits(holder, 1):
        pool.take(holder, 1)
    return pool.of(holder)


def test_one_greedy_holder_gets_half_and_a_second_one_half_of_the_rest() -> None:
    """And some is left for a third."""
    pool: Pool[str] = Pool(100)
    assert filled(pool, "greedy") == 50
    assert filled(pool, "second") == 25
    assert pool.fits("third", 1)


def test_what_is_taken_at_once_leaves_as_much_room_up_to_a_quarter() -> None:
    """So large ones leave room for smaller ones; and what is half of the bound still fits where little is taken."""
    pool: Pool[str] = Pool(100)
    assert pool.fits("large", 100)
    assert not pool.fits("large", 101)
    pool.take("others", 40)
    assert pool.fits("large", 35)
    assert not pool.fits("large", 36)
    pool.take("large", 35)
    assert pool.fits("small", 12)
    assert not pool.fits("small", 13)


def test_what_was_given_back_is_free_and_its_holder_forgotten() -> None:
    """There is no end of names."""
    pool: Pool[str] = Pool(10)
    for name in range(1000):
        pool.take(f"camera-{name}", 3)
        pool.give_back(f"camera-{name}", 3)
    assert pool.taken == 0
    assert not pool._by_holder


def test_nothing_fits_always() -> None:
    """A frame without bytes does not wait for bytes, whoever holds them all."""
    pool: Pool[str] = Pool(4)
    pool.take("one", 4)
    assert pool.fits("other", 0)
    assert pool.fits("one", 0)
