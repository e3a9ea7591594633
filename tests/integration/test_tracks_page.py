"""What docs/tracks.md shows works as printed, and the numbers that it names are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reidstream_client import testing
from reidstream_server.tracks.rows import FAR, LEAST_WEIGHT, MAX_KEPT
from reidstream_server.tracks.terms import MAX_REPRESENTATIVES, OnRisk

PAGE = (Path(__file__).parents[2] / "docs" / "tracks.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """With the client's server in memory, whose rules are those of a server."""
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    made = 'client = ReidClient("localhost:50051", camera_id="door")\n'
    assert made in program
    with testing.FakeServer() as server, server.client(camera_id="door") as client:
        names: dict[str, Any] = {"client": client}
        exec(program.replace(made, ""), names)  # noqa: S102 - our own page
    track, boxes = capsys.readouterr().out.splitlines()
    rows = int(re.findall(r"had (\d+) rows", track)[0])
    assert 1 <= rows < 40
    assert boxes == f"{40 + rows} of 80 boxes were embedded"


def test_the_page_names_the_defaults_that_hold() -> None:
    """Of every rule of OnRisk, in its table."""
    policy = OnRisk()
    table = PAGE.partition("| rule of `EmbedOnRisk` |")[2].partition("\n\n")[0]
    rules = dict(re.findall(r"^\| \w+ \|.*?`(\w+)`.*?\| ([\d.]+)(?: s)? \| ", table, re.MULTILINE))
    assert {name: float(value) for name, value in rules.items()} == {
        "max_overlap": policy.max_overlap,
        "max_size_ratio": policy.max_size_ratio,
        "max_shift": policy.max_shift,
        "min_quality_gain": policy.min_quality_gain,
        "max_age_ms": policy.max_age_ns / 1e9,
    }


def test_the_page_names_the_constants_of_a_tracks_rows() -> None:
    """What is far, the least weight, how many rows are kept, and how many representatives there are at most."""
    assert f"1 - cosine > {FAR:g} · e" in PAGE
    assert f"at least {LEAST_WEIGHT:g}" in PAGE
    assert (MAX_KEPT, MAX_REPRESENTATIVES) == (4, 3)
    assert "four rows more" in PAGE
    assert "up to three of the kept rows" in PAGE
