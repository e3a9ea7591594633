"""Medians, ratios, files and tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import main
from bench.serving.results import Figures, Row, Run, Subject, load_run
from bench.serving.table import comparison, table


def _row(subject: Subject, *repeats: Figures) -> Row:
    return Row(scenario="tiny", subject=subject, repeats=repeats)


def _run(server_rate: float = 80.0, **settings: str) -> Run:
    ceiling = _row(Subject.CEILING, Figures(frames_per_s=100, cpu_s_per_1000=10), Figures(frames_per_s=50))
    server = _row(
        Subject.SERVER,
        Figures(frames_per_s=server_rate, cpu_s_per_1000=12, load_cpu=0.95),
        Figures(frames_per_s=server_rate / 2, load_cpu=0.95),
    )
    return Run(settings=settings, rows=(ceiling, server))


def test_a_ratio_is_taken_within_each_repeat() -> None:
    """The machine halved its speed in the second repeat: the ratio does not see it, the medians do."""
    run = _run()
    server = run.find("tiny", Subject.SERVER)
    assert server is not None
    assert server.figures().frames_per_s == 60
    ratio = run.ratios("tiny")["server / ceiling"]
    assert ratio.frames_per_s == pytest.approx(0.8)
    assert ratio.cpu_s_per_1000 == pytest.approx(1.2)  # of the only repeat that has both
    assert ratio.resident_mb is None


def test_a_ratio_to_nothing_is_left_out() -> None:
    """No faults in the ceiling: there is no ratio, and no error."""
    run = Run(
        settings={},
        rows=(
            _row(Subject.CEILING, Figures(faults_per_frame=0)),
            _row(Subject.SERVER, Figures(faults_per_frame=3)),
        ),
    )
    assert run.ratios("tiny")["server / ceiling"].faults_per_frame is None


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A run's file holds all of it."""
    run = _run(cpu="some cpu")
    run.save(tmp_path / "run.json")
    assert load_run(tmp_path / "run.json") == run


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says which file, and exits with 1."""
    (tmp_path / "other.json").write_text('{"rows": [{}]}')
    assert main(["compare", str(tmp_path / "other.json"), str(tmp_path / "other.json")]) == 1
    assert "other.json was not written by `python -m bench --output`" in capsys.readouterr().err


def test_the_table_marks_what_the_load_generator_limits() -> None:
    """Its core was 95 % busy: the server may be faster than that."""
    text = table(_run())
    assert "server*" in text
    assert "ceiling*" not in text
    assert "the load generator's own core was busy" in text


def test_the_table_has_no_empty_columns() -> None:
    """What no row has is not shown."""
    text = table(_run())
    assert "frames/s" in text
    assert "p99" not in text


def test_a_comparison_shows_both_runs_and_their_quotient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """B serves a quarter more: figures of both, 1.25 for the rate, and both ratios to the ceiling."""
    _run().save(tmp_path / "a.json")
    _run(server_rate=100).save(tmp_path / "b.json")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    at = lines.index(["A", "server", "60.0", "12.00", "0.95"])
    assert lines[at + 1][:3] == ["B", "server", "75.0"]
    assert lines[at + 2][:4] == ["B", "/", "A", "1.25"]
    assert ["A", "server", "/", "ceiling", "0.80", "1.20"] in lines
    assert ["B", "server", "/", "ceiling", "1.00", "1.20"] in lines


def test_runs_without_a_common_scenario_say_so() -> None:
    """Not an empty answer."""
    assert comparison(_run(), Run(settings={}, rows=())) == "the two runs have nothing in common"
