"""What watching costs, measured with real processes, as short as it can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.machine.processes import Place
from bench.observing.doors import Way
from bench.observing.scrapes import Rate, scrapes
from bench.observing.tracing import tracing


def test_each_way_to_trace_has_its_turn_in_every_round() -> None:
    """On one server; and what is measured is CPU time of that server."""
    rounds = 0

    def count() -> None:
        nonlocal rounds
        rounds += 1

    found = tracing(2, 8, Place.apart(), count)
    assert {way: len(times) for way, times in found.frame_ns.items()} == dict.fromkeys(Way, 2)
    assert all(nanoseconds > 0 for times in found.frame_ns.values() for nanoseconds in times)
    assert rounds >= 2
    assert found.ratio(Way.ALL).rounds == 2


def test_frames_are_compared_with_and_without_scrapes() -> None:
    """Each kind of phase has frames, and the page tells what it cost the event loop."""
    found = scrapes(2, 0.5, 4, Place.apart(), lambda: None)
    rounds = {rate: len(delays) for rate, delays in found.delays_s.items()}
    assert len(set(rounds.values())) == 1
    assert rounds[Rate.NONE] >= 1
    assert found.took_s
    assert found.loop_s > 0
    assert found.series > 300
    assert found.ratio(Rate.TEN, 50).value > 0


def test_the_table_has_a_ratio_and_an_interval_for_each_way(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And the file has them for other programs."""
    output = tmp_path / "tracing.json"
    main(
        ["tracing", "--rounds", "1", "--frames", "8", "--output", str(output)]
    )  # what a single round says may miss any target
    said = capsys.readouterr().out
    assert "95 %" in said
    written = json.loads(output.read_text())
    for way in Way:
        assert way.value in said
        assert (way.value in written) == (way is not Way.OFF)
    assert set(written["1 %"]) == {"value", "low", "high", "rounds"}
