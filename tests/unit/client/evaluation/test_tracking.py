"""Figures of trackers, on sequences that are small enough to count by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from reidstream_client import FileError, MissingExtra
from reidstream_client.evaluation import tracking_figures
from reidstream_client.evaluation.metrics.tracking import overlap_of

Rows = list[tuple[int, int, float]]
"""Frame, id, left; every box is 10 wide and 20 high, at top 5."""

TWO: Rows = [(frame, who, 100.0 * who + frame) for frame in range(1, 11) for who in (1, 2)]


def truth(path: Path, rows: Rows, *more: str) -> Path:
    lines = [f"{frame},{who},{left},5,10,20,1,1,1\n" for frame, who, left in rows]
    path.write_text("".join([*lines, *more]), encoding="utf-8")
    return path


def results(path: Path, rows: Rows) -> Path:
    path.write_text("".join(f"{f},{who},{left},5,10,20,0.9,-1,-1,-1\n" for f, who, left in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _trackeval() -> None:
    pytest.importorskip("trackeval")


def test_a_perfect_tracker_has_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And other ids than the truth's; nothing is printed."""
    found = tracking_figures(
        truth(tmp_path / "gt.txt", TWO), results(tmp_path / "r.txt", [(f, 70 + who, left) for f, who, left in TWO])
    )
    assert (found.hota, found.idf1, found.mota, found.id_switches) == pytest.approx((1, 1, 1, 0))
    assert (found.frames, found.true_boxes, found.result_boxes) == (10, 20, 20)
    assert capsys.readouterr().out == ""


def test_errors_are_counted(tmp_path: Path) -> None:
    """One person gets another id half-way, one box is missed and one is false."""
    rows = [(f, 9 if who == 1 and f > 5 else who, left) for f, who, left in TWO if (f, who) != (3, 2)]
    found = tracking_figures(truth(tmp_path / "gt.txt", TWO), results(tmp_path / "r.txt", [*rows, (4, 50, 700.0)]))
    assert (found.id_switches, found.misses, found.false_positives) == (1, 1, 1)
    assert found.mota == pytest.approx(1 - 3 / 20)
    assert found.idf1 == pytest.approx(2 * 14 / (20 + 20))
    assert 0 < found.hota < 1


def test_boxes_on_people_who_do_not_count_are_no_errors(tmp_path: Path) -> None:
    """A reflection (class 12) that the tracker finds is taken out; a box on nobody stays."""
    more = [f"{frame},5,500,5,10,20,1,12,1\n" for frame in range(1, 11)]
    mirrored = [*TWO, *((frame, 8, 501.0) for frame in range(1, 11))]
    counted = tracking_figures(truth(tmp_path / "gt.txt", TWO, *more), results(tmp_path / "r.txt", mirrored))
    assert (counted.false_positives, counted.mota) == (0, 1)
    plain = tracking_figures(truth(tmp_path / "gt.txt", TWO), results(tmp_path / "r.txt", mirrored))
    assert plain.false_positives == 10


def test_an_overlap_is_a_share_of_the_union() -> None:
    """Half of one, none, and the same."""
    found = overlap_of(np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 10, 10], [20, 0, 10, 10], [0, 0, 10, 10]]))
    assert found[0].tolist() == pytest.approx([1 / 3, 0, 1])


def test_wrong_files_and_a_missing_package_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id twice in a frame, no box that counts, a file that is cut short, no trackeval."""
    good = truth(tmp_path / "gt.txt", TWO)
    with pytest.raises(FileError, match="has id 1 twice in frame 1"):
        tracking_figures(good, results(tmp_path / "r.txt", [*TWO, TWO[0]]))
    (tmp_path / "none.txt").write_text("1,1,0,0,5,5,0,1,1\n", encoding="utf-8")
    with pytest.raises(FileError, match="has no box that counts"):
        tracking_figures(tmp_path / "none.txt", results(tmp_path / "r.txt", TWO))
    (tmp_path / "cut.txt").write_text("1,1,0,0,5,5,0.9\n1,2,0", encoding="utf-8")
    with pytest.raises(FileError, match="line 2 has 3 columns"):
        tracking_figures(good, tmp_path / "cut.txt")
    monkeypatch.setitem(sys.modules, "trackeval", None)
    with pytest.raises(MissingExtra, match=r"pip install 'reidstream-client\[evaluate\]'"):
        tracking_figures(good, tmp_path / "r.txt")
