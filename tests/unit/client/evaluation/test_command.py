"""`reidstream-client evaluate` and `calibrate`, with vectors out of files."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reidstream_client.cli import main
from reidstream_client.evaluation.reports.comparison import compare_reports
from reidstream_client.evaluation.reports.stored import read_report
from tests.unit.client.evaluation.conftest import Put, jpeg
from tests.unit.client.evaluation.test_calibration import crowd, stream
from tests.unit.client.evaluation.test_datasets import ROWS, sequence
from tests.unit.client.evaluation.test_vectors import SPACE, arrays

Said = pytest.CaptureFixture[str]
PEOPLE = 12


@pytest.fixture
def folder(put: Put) -> Path:
    """Twelve people, seen by two cameras in three pictures each."""
    return (
        put(*(f"set/{who:04d}_c{1 + shot % 2}_{shot}.jpg" for who in range(1, PEOPLE + 1) for shot in range(3))) / "set"
    )


def vectors(folder: Path, out: Path, *, noise: float = 0.3, seed: int = 0, **changed: Any) -> Path:
    """Of all pictures of a folder: a direction for each person, and noise."""
    draw = np.random.default_rng(seed)
    names = sorted(path.name for path in folder.iterdir())
    centres = np.random.default_rng(99).normal(size=(PEOPLE + 1, 8))
    who = [int(name[:4]) for name in names]
    rows = centres[who] + noise * draw.normal(size=(len(names), 8))
    return arrays(out, names, **{"embedding": rows.astype(np.float32), **changed})


def test_figures_come_with_everything_that_they_mean(folder: Path, tmp_path: Path, capsys: Said) -> None:
    """Model, space, protocol, distance, counts and intervals, in text and in every file of the report."""
    npz, report = vectors(folder, tmp_path / "v.npz", noise=1.2), tmp_path / "report"
    assert main(["evaluate", str(folder), "--vectors", str(npz), "--report", str(report)]) == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in report.iterdir()) == [
        *("cmc.svg", "report.html", "report.json", "report.md", "scores.svg"),
    ]
    page = (report / "report.html").read_text(encoding="utf-8")
    forms = [said, (report / "report.md").read_text(encoding="utf-8"), page]
    for form in forms:
        for word in (
            "osnet",
            SPACE,
            "cross-camera",
            "cosine",
            "36 pictures of 12 identities, 2 cameras",
            "95%",
            "mINP",
        ):
            assert word in form
    written = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert (written["model"], written["space_id"]) == ("osnet", SPACE)
    assert (written["protocol"], written["distance"], written["reranking"]) == ("cross-camera", "cosine", None)
    figure = written["figures"]["mAP"]
    assert figure["low"] < figure["value"] < figure["high"] < 1
    assert f"{100 * figure['value']:.2f}" in said
    assert len(written["per_query"]) == 36
    assert not re.search(r"https?://(?!www\.w3\.org)|<script|<link", page)
    assert page.count("data:image/") >= 8 * 11


def test_names_of_files_cannot_write_into_the_page(put: Put, tmp_path: Path) -> None:
    """They are text, whatever is in them."""
    folder = put(*(f"set/<b>{who}/{shot}.jpg" for who in "ab" for shot in (1, 2))) / "set"
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg"))]
    npz = arrays(tmp_path / "v.npz", names, model=np.array("<script>x</script>"))
    assert main(["evaluate", str(folder), "--vectors", str(npz), "--report", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page


def test_a_report_shows_the_boxes_of_frames(tmp_path: Path) -> None:
    """Cut out of them, right and wrong ones framed."""
    pytest.importorskip("PIL")
    mot = sequence(tmp_path / "MOT", ROWS + "2,9,40,5,8,16,1,1,1\n")
    names, frames = ["000001.jpg", "000001.jpg", "000002.jpg", "000002.jpg"], np.array([1, 1, 2, 2])
    npz = arrays(tmp_path / "v.npz", names, frame=frames, track_id=np.array([7, 8, 7, 9]))
    assert main(["evaluate", str(mot), "--vectors", str(npz), "--report", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert page.count('<figure class="right"><img') >= 1
    assert page.count('<figure class="wrong"><img') >= 1


def test_two_runs_are_compared(folder: Path, tmp_path: Path, capsys: Said) -> None:
    """A model against a worse one; against another that is as good, it says so."""
    first = tmp_path / "first"
    good = vectors(folder, tmp_path / "good.npz", noise=0.9)
    assert main(["evaluate", str(folder), "--vectors", str(good), "--report", str(first)]) == 0
    capsys.readouterr()
    bad = vectors(folder, tmp_path / "bad.npz", noise=4, space_id=np.array("1:" + "b" * 64), model=np.array("other"))
    words = ["evaluate", str(folder), "--vectors", str(bad), "--compare", str(first / "report.json"), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)["comparison"]["differences"]["mAP"]
    assert found["distinguishable"]
    assert found["high"] < 0
    same = vectors(folder, tmp_path / "same.npz", noise=0.9, seed=1)
    assert main(["evaluate", str(folder), "--vectors", str(same), "--compare", str(first / "report.json")]) == 0
    assert "not distinguishable" in capsys.readouterr().out
    report = read_report(first / "report.json")
    assert compare_reports(report, report).differences["mAP"].value == 0


def test_runs_over_other_queries_are_not_compared(folder: Path, tmp_path: Path, capsys: Said) -> None:
    """Another split or protocol; and a file that is no report."""
    npz, first = vectors(folder, tmp_path / "v.npz"), tmp_path / "first"
    words = ["evaluate", str(folder), "--vectors", str(npz)]
    assert main([*words, "--report", str(first)]) == 0
    assert main([*words, "--split", "first", "--compare", str(first / "report.json")]) == 2
    assert "the two runs cannot be compared" in capsys.readouterr().err
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    assert main([*words, "--compare", str(tmp_path / "x.json")]) == 2
    assert "is no report.json" in capsys.readouterr().err


def test_reranking_is_asked_for_by_flags_or_by_a_file(folder: Path, tmp_path: Path, capsys: Said) -> None:
    """And named in the report; what does not fit together is refused."""
    npz = vectors(folder, tmp_path / "v.npz", noise=1)
    words = ["evaluate", str(folder), "--vectors", str(npz), "--json"]
    assert main([*words, "--rerank", "--k1", "5", "--k2", "2"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["reranking"] == {"k1": 5, "k2": 2, "lambda": 0.3}
    spec = tmp_path / "spec.yaml"
    spec.write_text("re_ranking:\n  re_ranking: True\n  k1: 5\n  k2: 2\n  lambda_value: 0.3\n", encoding="utf-8")
    assert main([*words, "--spec", str(spec)]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == written["figures"]
    assert main([*words, "--k1", "5"]) == 2
    assert main([*words, "--rerank", "--spec", str(spec)]) == 2
    assert main([*words, "--query-expansion", "2"]) == 0


def test_a_draw_of_identities_is_in_the_report(folder: Path, tmp_path: Path, capsys: Said) -> None:
    """With its seed."""
    npz = vectors(folder, tmp_path / "v.npz")
    assert main(["evaluate", str(folder), "--vectors", str(npz), "--identities", "5", "--seed", "3", "--json"]) == 0
    dataset = json.loads(capsys.readouterr().out)["dataset"]
    assert (dataset["identities_drawn"], dataset["identity_seed"], dataset["queries"]["identities"]) == (5, 3, 5)


def test_a_check_needs_no_vectors(folder: Path, capsys: Said) -> None:
    """Status 0 where all is well, and 1 where something is wrong."""
    assert main(["evaluate", str(folder), "--check"]) == 0
    assert "queries: 36 pictures of 12 identities" in capsys.readouterr().out
    broken = folder / "0001_c1_0.jpg"
    broken.write_bytes(jpeg(1)[:-10])
    assert main(["evaluate", str(folder), "--check"]) == 1
    assert f"damaged: {broken}: the file is cut short" in capsys.readouterr().out


def test_a_damaged_file_is_told_before_a_server_is_asked(folder: Path, capsys: Said) -> None:
    """No server is there at all."""
    (folder / "0001_c1_0.jpg").write_bytes(b"no picture")
    assert main(["evaluate", str(folder), "--server", "127.0.0.1:1"]) == 2
    assert "0001_c1_0.jpg cannot be used" in capsys.readouterr().err


def test_a_set_is_grouped(market: Path, tmp_path: Path, capsys: Said) -> None:
    """Its training pictures, junk and distractors, too."""
    out = tmp_path / "grouped"
    assert main(["evaluate", str(market), "--group-into", str(out)]) == 0
    assert "copied 8 pictures" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["gallery", "query", "train"]
    assert sorted(path.name for path in (out / "gallery").iterdir()) == ["-1", "0000", "0001", "0002"]


def test_a_recorded_stream_gives_a_threshold_file(tmp_path: Path, capsys: Said) -> None:
    """Without labels and without a server."""
    npz, out = stream(tmp_path / "s.npz", *crowd(1, 30)), tmp_path / "threshold.json"
    assert main(["calibrate", str(npz), "--false-match-rate", "0.01", "--output", str(out)]) == 0
    said = capsys.readouterr().out
    written = json.loads(out.read_text(encoding="utf-8"))
    assert f"cosine {written['threshold']:.4f}" in said
    assert (written["space_id"], written["origin"], written["people"]) == (SPACE, "recorded stream", 30)


def test_labelled_pictures_give_a_threshold_file(folder: Path, tmp_path: Path, capsys: Said) -> None:
    """Each picture once, though it is query and gallery."""
    npz, out = vectors(folder, tmp_path / "v.npz"), tmp_path / "threshold.json"
    words = ["calibrate", str(folder), "--vectors", str(npz), "--false-match-rate", "0.05", "-o", str(out)]
    assert main(words) == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert (written["origin"], written["people"], written["impostor_pairs"]) == ("labels", 12, 66 * 9)
    arrays_without = vectors(folder, tmp_path / "w.npz", space_id=np.array(""))
    assert main([*words[:3], str(arrays_without), *words[4:]]) == 2
    assert "does not say its space" in capsys.readouterr().err
    assert main(["calibrate", str(folder), str(npz), "-o", str(out)]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which data set?"),
        (["FOLDER", "--profile", "torchreid"], "--profile belongs to --model-file"),
        (["FOLDER", "--vectors", "v.npz", "--cache", "c"], "leave --model-file and --cache out"),
        (["FOLDER", "--model-file", "none.onnx"], "none.onnx is no file"),
        (["FOLDER", "--lambda", "2"], "2 is not in 0 to 1"),
        (["FOLDER", "--identities", "13", "--vectors", "v.npz"], "has 12 identities among its queries"),
        (["nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], said: str, folder: Path, capsys: Said) -> None:
    """Status 2, and what to do."""
    assert main(["evaluate", *(str(folder) if word == "FOLDER" else word for word in words)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_pillow_small_files_are_shown_as_they_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And large ones by their names."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    large = sorted(folder.glob("000[1-6]_*"))
    for path in large:
        path.write_bytes(path.read_bytes() + bytes(1 << 16))
    npz = vectors(folder, tmp_path / "v.npz", noise=1.2)
    assert main(["evaluate", str(folder), "--vectors", str(npz), "--report", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    small = [path for path in folder.iterdir() if path not in large]
    assert any(f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}" in page for path in small)
    assert set(re.findall(r"<span>(.*?)</span>", page)) <= {path.name for path in large} != set()
    assert "<span>" in page
