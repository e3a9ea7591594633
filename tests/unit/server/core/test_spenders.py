"""How many sources spend what is free, at any time."""

from __future__ import annotations

import random

from reidstream_server.core.spenders import Spenders


def test_a_source_counts_from_its_beginning_until_it_may_have_all_again() -> None:
    """The times move on, and a source that begins again counts again."""
    spenders = Spenders()
    assert spenders.count(0, ["a"]) == 1
    spenders.note("a", 10)
    assert spenders.count(5, ["a", "b"]) == 2
    spenders.note("a", 20)
    spenders.note("b", 12)
    assert spenders.count(11, []) == 2
    assert spenders.count(12, []) == 1
    assert spenders.count(20, []) == 0
    assert spenders.count(21, ["a"]) == 1


def test_a_source_that_is_forgotten_counts_no_more() -> None:
    """Also when it comes back under its name, and its old time passes."""
    spenders = Spenders()
    spenders.note("a", 10)
    spenders.forget("a")
    spenders.forget("never seen")
    assert spenders.count(5, []) == 0
    spenders.note("a", 30)
    assert (spenders.count(10, []), spenders.count(29, []), spenders.count(30, [])) == (1, 1, 0)


def test_it_counts_as_one_who_looks_at_everybody() -> None:
    """A thousand random steps, beside a plain dict."""
    rng = random.Random(1)  # noqa: S311 - nothing to keep secret
    spenders, plain = Spenders(), dict.fromkeys("abcdefgh", 0)
    now = 0
    for _ in range(1000):
        now += rng.randint(0, 5)
        begin = rng.sample(sorted(plain), rng.randint(0, 3))
        assert spenders.count(now, begin) == len({name for name, until in plain.items() if until > now} | set(begin))
        for name in begin:
            plain[name] = max(plain[name], now) + rng.randint(1, 40)
            spenders.note(name, plain[name])
        if rng.random() < 0.1:
            gone = rng.choice(sorted(plain))
            plain[gone] = 0
            spenders.forget(gone)
