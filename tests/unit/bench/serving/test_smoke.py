"""The whole benchmark with real processes, as short as it can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.load.pictures import Content, Pictures
from bench.load.question import Load, run_load
from bench.machine.processes import BenchFailed, Place, server
from bench.serving.results import Subject, load_run

SERVER = ("--port", "0", "--metrics-port", "0", "--log-format", "json")
SHORT = ("--repeats", "1", "--seconds", "1", "--half-seconds", "1", "--connections", "2", "--quick")


def test_a_run_measures_every_subject(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded network on a real server: work was done everywhere, and every ratio could be taken."""
    output = tmp_path / "run.json"
    affinity = os.sched_getaffinity(0)
    assert main(["--scenario", "tiny", "--boxes", "2", "--output", str(output), *SHORT]) == 0
    assert os.sched_getaffinity(0) == affinity
    run = load_run(output)
    rows = {row.subject: row.figures() for row in run.rows}
    assert set(rows) == set(Subject)
    for subject in (Subject.CEILING, Subject.ECHO, Subject.SERVER, Subject.HALF_LOAD):
        figures = rows[subject]
        assert figures.frames_per_s is not None
        assert figures.frames_per_s > 0
        assert figures.crops_per_s == pytest.approx(2 * figures.frames_per_s)
        assert figures.resident_mb is not None
        assert figures.resident_mb > 20
    assert set(run.ratios("tiny")) == {"server / ceiling", "server / echo", "server, half load / simulated fifo"}
    assert "[tiny]" in capsys.readouterr().out


def test_raw_frames_are_measured_by_bytes_and_by_handle(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer with an error, or a refusal to share, would have failed it."""
    assert main(["--scenario", "raw", "--scenario", "shared", "--boxes", "2", *SHORT]) == 0
    said = capsys.readouterr().out
    assert "[raw]" in said
    assert "[shared]" in said


def test_a_frame_that_takes_longer_than_the_measurement_is_waited_for(tmp_path: Path) -> None:
    """On a busy machine any frame may; a closed loop then measures a frame, and not none."""
    names = []
    for number, message in enumerate(Pictures(content=Content.CROPS, boxes=2).messages()):
        (tmp_path / f"{number}.bin").write_bytes(message)
        names.append(str(tmp_path / f"{number}.bin"))
    place = Place.apart()
    with server("bench.ceilings.instant", [*SERVER, "--crop-ms", "100"], place.server) as served:
        load = Load(
            target=served.address,
            server_pid=served.pid,
            server_cores=list(place.server),
            messages=names,
            warmup_s=0.01,
            measure_s=0.01,
            connections=1,
            window=1,
        )
        seen = run_load(load, place.load)
    assert seen.delays_s
    assert seen.embedded == 2 * len(seen.delays_s)
    assert seen.used.seconds > 0.1


def test_a_server_that_does_not_start_is_reported_with_its_last_words() -> None:
    """Its own message reaches whoever runs the benchmark."""
    place = Place.apart()
    with (
        pytest.raises(BenchFailed, match="required: --boxes, --dim"),
        server("bench.ceilings.echo", [], place.server),
    ):
        pytest.fail("it does not serve")


def test_an_answer_with_an_error_fails_the_load(tmp_path: Path) -> None:
    """Frames that are refused are fast, and must not count as served."""
    garbage = tmp_path / "garbage.bin"
    garbage.write_bytes(b"\x12\x00")  # a frame without a picture
    place = Place.apart()
    with server("bench.ceilings.instant", SERVER, place.server) as served:
        load = Load(
            target=served.address,
            server_pid=served.pid,
            server_cores=list(place.server),
            messages=[str(garbage)],
            warmup_s=0.1,
            measure_s=0.1,
            connections=1,
        )
        with pytest.raises(BenchFailed, match="no image"):
            run_load(load, place.load)
