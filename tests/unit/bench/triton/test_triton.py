"""What is made of others' words: apt's sources, perf_analyzer's file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.triton.fetched import NotHere, later_sources, os_release
from bench.triton.runs import read_row
from bench.triton.table import table

TARGETS = """\
http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm-updates main
http://mirror.example/debian/ bookworm contrib
http://security.example/ bookworm-security main
http://packages.example/tool/ nodistro main
http://other.example/debian/ bookworm main
"""

CSV = """\
Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency
2,211.5,60,1200,10,200,3000,20,5,75000,80000,81000,90500
"""


def test_a_later_release_comes_from_the_mirrors_that_the_machine_uses() -> None:
    """Debian's own, and not whatever else it has packages from."""
    lines = later_sources(TARGETS, "bookworm").splitlines()
    assert [line.split()[-3:] for line in lines] == [
        ["http://mirror.example/debian/", "trixie", "main"],
        ["http://other.example/debian/", "trixie", "main"],
    ]
    with pytest.raises(NotHere, match="no mirror for Debian 'sid'"):
        later_sources(TARGETS, "sid")


def test_the_machines_name_is_read() -> None:
    """With quotes and without."""
    assert os_release('ID=debian\nVERSION_CODENAME="bookworm"\n\n')["VERSION_CODENAME"] == "bookworm"


def test_a_file_of_perf_analyzer_becomes_a_row_and_repeats_their_median() -> None:
    """It writes times in microseconds."""
    row = read_row(CSV, "gRPC", 5.0)
    assert (row.concurrency, row.crops_per_s, row.p50_ms, row.p99_ms) == (2, 211.5, 75.0, 90.5)
    rows = [row, replace(row, crops_per_s=100.0), replace(row, crops_per_s=201.0, cpu_ms=6.0)]
    text = table(rows, 0.25).splitlines()
    assert text[1].split() == ["gRPC", "2", "201.0", "100.0", "211.5", "75.0", "90.5", "5.000"]
    assert text[2:] == ["others: 0.25 of a core"]
