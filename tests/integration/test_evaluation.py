"""Figures through a real server: the reference table, a cache, a server of its own, and the page's examples."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reidstream_client.cli import main
from reidstream_client.evaluation import Distance, Method, Reading, open_dataset, read_vectors, rows_for, run
from reidstream_engines import default_model
from tests.support.harness import encode, picture
from tests.support.process import server_process

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
Said = pytest.CaptureFixture[str]

REFERENCE = {"osnet_x0_25_msmt17": (0.9898, 0.9803), "osnet_x0_5_msmt17": (1.0, 0.9889)}


@pytest.fixture(autouse=True)
def _untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of a test's own does not measure which settings suit the machine."""
    monkeypatch.setenv("REIDSTREAM_TUNE_SECONDS", "0")


@pytest.fixture
def mot17(shared_data: Path, tmp_path: Path) -> Path:
    """The six sequences of MOT17, and nothing else, in one folder."""
    folder = tmp_path / "mot17"
    folder.mkdir()
    for sequence in sorted((shared_data / "frames").glob("MOT17-*")):
        (folder / sequence.name).symlink_to(sequence)
    return folder


def evaluated(capsys: Said, *words: str | Path) -> dict[str, Any]:
    """The report of a run that succeeds."""
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    written: dict[str, Any] = json.loads(capsys.readouterr().out)
    return written


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("model", REFERENCE)
def test_the_reference_table_comes_out(
    model: str, mot17: Path, shared_data: Path, tmp_path: Path, capsys: Said
) -> None:
    """98 queries and 495 pictures of MOT17, and the 18 queries of market_style; with a server that the command starts.
    The second run embeds nothing, and neither the figures nor the space change.
    """
    started = ("--model-file", shared_data / "models" / f"{model}.onnx", "--profile", "torchreid")
    words = (mot17, "--min-visibility", "0.3", "--cache", tmp_path / "cache", *started)
    written = evaluated(capsys, *words)
    rank_1, precision = REFERENCE[model]
    assert (written["dataset"]["queries"]["pictures"], written["dataset"]["gallery"]["pictures"]) == (98, 495)
    assert written["figures"]["rank-1"]["value"] == pytest.approx(rank_1, abs=5e-5)
    assert written["figures"]["mAP"]["value"] == pytest.approx(precision, abs=5e-5)
    assert written["vectors"].endswith("593 embedded now")
    again = evaluated(capsys, *words)
    assert again["vectors"].endswith("0 embedded now")
    assert (again["figures"], again["space_id"]) == (written["figures"], written["space_id"])
    crops = evaluated(capsys, shared_data / "crops" / "market_style", *started)
    assert (crops["dataset"]["queries"]["pictures"], crops["protocol"]) == (18, "cross-camera")
    assert (crops["figures"]["rank-1"]["value"], crops["figures"]["mAP"]["value"]) == (1, 1)


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("model", REFERENCE)
def test_vectors_that_were_made_elsewhere_give_the_same_table(model: str, shared_data: Path, tmp_path: Path) -> None:
    """The golden vectors of market_style, without any server."""
    with np.load(shared_data / "golden" / f"market_style_{model}.npz") as golden:
        np.savez(tmp_path / "v.npz", name=golden["name"], embedding=golden["embedding"], space_id=np.array("golden"))
    vectors = read_vectors(tmp_path / "v.npz")
    benchmark = open_dataset(shared_data / "crops" / "market_style", Reading()).benchmark
    out = run(
        benchmark,
        rows_for(benchmark.query, vectors),
        rows_for(benchmark.gallery, vectors),
        Method(distance=Distance.COSINE),
    )
    assert (out.figures["rank-1"].value, out.figures["mAP"].value) == (1, 1)


def people(folder: Path) -> Path:
    """A small Market-1501: twelve people, each a picture that four shots vary."""
    for who in range(1, 13):
        for shot in range(4):
            part = "query" if shot == 0 else "bounding_box_test"
            path = folder / part / f"{who:04d}_c{1 + shot % 2}s1_{shot:06d}_00.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = picture(seed=who).astype(np.int16) + 3 * shot
            path.write_bytes(encode(image.clip(0, 255).astype(np.uint8)))
    return folder


def test_a_picture_that_cannot_be_embedded_ends_the_run(tmp_path: Path, capsys: Said) -> None:
    """By its name, and not by figures without it. Its header and its end are right, so only a decoder sees it."""
    folder = people(tmp_path / "set")
    (folder / "query" / "0003_c1s1_000000_00.jpg").unlink()
    bad = folder / "query" / "0003_c1s1_000000_00.png"
    data = bytearray(encode(picture(), ".png"))
    data[1000:1400] = bytes(400)
    bad.write_bytes(bytes(data))
    with server_process() as (_, address):
        assert main(["evaluate", str(folder), "--server", address]) == 2
    assert f"{bad} was not embedded" in capsys.readouterr().err


def test_a_server_that_does_not_start_says_why(tmp_path: Path, capsys: Said) -> None:
    """In the words of its log."""
    folder = people(tmp_path / "set")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    assert main(["evaluate", str(folder), "--model-file", str(tmp_path / "bad.onnx"), "--profile", "torchreid"]) == 3
    assert "did not start: " in capsys.readouterr().err


def test_a_cache_of_another_space_is_refused(tmp_path: Path, capsys: Said) -> None:
    """Though it has the right name."""
    folder, cache = people(tmp_path / "set"), tmp_path / "cache"
    with server_process() as (_, address):
        words = ["evaluate", str(folder), "--server", address, "--cache", str(cache)]
        assert main(words) == 0
        (kept,) = cache.iterdir()
        with np.load(kept) as arrays:
            np.savez(kept, **{**arrays, "space_id": np.array("1:other")})
        assert main(words) == 2
    assert "is no cache of the space" in capsys.readouterr().err


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    """In order, on a small data set; the commands, and then the programs."""
    pytest.importorskip("trackeval")
    people(tmp_path / "Market-1501")
    gate = tmp_path / "gate"
    (gate / "img1").mkdir(parents=True)
    (gate / "gt").mkdir()
    rows = []
    for frame in range(1, 7):
        (gate / "img1" / f"{frame:06d}.jpg").write_bytes(encode(picture(seed=50 + frame)))
        rows += [f"{frame},{who},{12 * who},20,11,30,1,1,1\n" for who in range(1, 13)]
    (gate / "gt" / "gt.txt").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "gate-results.txt").write_text("".join(rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    commands = "".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)).splitlines()
    assert len(commands) == 8
    with server_process(f"--model=person={default_model.PATH}") as (_, address):
        monkeypatch.setenv("REIDSTREAM_SERVER", address)
        for command in commands:
            program, *words = shlex.split(command)
            assert program == "reidstream-client"
            assert main(words) == 0, capsys.readouterr().err
        capsys.readouterr()
        program = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
        exec(program.replace("localhost:50051", address), {})  # noqa: S102 - our own page
    threshold, figures = capsys.readouterr().out.splitlines()
    assert len(threshold.split()) == 4
    assert figures.split() == ["1.0", "1.0", "1.0", "0"]
    assert (tmp_path / "reranked" / "report.html").stat().st_size > 0


def test_the_page_names_every_figure_and_layout() -> None:
    """In its tables."""
    for word in ("mAP", "mINP", "rank-1", "`market`", "`folders`", "`motchallenge`", "`tao`", "not distinguishable"):
        assert word in PAGE
