"""What each layout means, and what is wrong with a data set, said before the long work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reidstream_client import FileError
from reidstream_client.evaluation import Layout, Protocol, Reading, Split, check, only_identities, open_dataset
from reidstream_client.evaluation.datasets import group
from reidstream_client.evaluation.datasets.checking import refuse
from reidstream_client.evaluation.datasets.market import read_market
from tests.unit.client.evaluation.conftest import Put, jpeg


def test_market_is_known_by_its_folders(market: Path) -> None:
    """Identity and camera of each name; junk is left out and counted, distractors stay."""
    dataset = open_dataset(market, Reading())
    benchmark = dataset.benchmark
    assert (dataset.layout, dataset.split, benchmark.protocol) == (Layout.MARKET, Split.GIVEN, Protocol.CROSS_CAMERA)
    assert benchmark.query.names == ("query/0001_c1s1_000001_00.jpg", "query/0002_c2s1_000001_00.jpg")
    assert benchmark.query.identities.tolist() == [1, 2]
    assert benchmark.query.cameras.tolist() == [1, 2]
    assert benchmark.gallery.identities.tolist() == [0, 1, 1, 2]
    assert benchmark.junk == 1


def test_one_folder_of_marked_names_is_split(put: Put) -> None:
    """Each picture that can be found again is a query in turn; or the first of each identity, out of the gallery."""
    folder = put("0001_c1_1.jpg", "0001_c2_1.jpg", "0001_c2_2.jpg", "0002_c1_1.jpg", "0002_c1_2.jpg", "0000_c1_1.jpg")
    each = open_dataset(folder, Reading()).benchmark
    assert each.query.identities.tolist() == [1, 1, 1]  # 2 was seen by one camera
    assert len(each.gallery) == 6
    first = open_dataset(folder, Reading(split=Split.FIRST, protocol=Protocol.ALL_CAMERAS)).benchmark
    assert first.query.names == ("0001_c1_1.jpg", "0002_c1_1.jpg")
    assert first.gallery.names == ("0000_c1_1.jpg", "0001_c2_1.jpg", "0001_c2_2.jpg", "0002_c1_2.jpg")


def test_a_folder_for_each_identity(put: Put) -> None:
    """Names say nothing of cameras here, so all pictures count; a folder 0000 has distractors, and -1 junk."""
    folder = put("ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.png", "carl/1.jpg", "0000/x.jpg", "-1/y.jpg")
    (folder / "bob" / "notes.txt").write_text("no picture", encoding="utf-8")
    dataset = open_dataset(folder, Reading())
    assert (dataset.layout, dataset.benchmark.protocol) == (Layout.FOLDERS, Protocol.ALL_CAMERAS)
    assert [name.split("/")[0] for name in dataset.benchmark.query.names] == ["ann", "ann", "bob", "bob"]
    assert len(dataset.benchmark.gallery) == 6
    assert dataset.benchmark.junk == 1


def test_query_and_gallery_folders_share_identities(put: Put) -> None:
    """By the names of their folders; the names of the files have cameras."""
    folder = put("query/b/b_c1_1.jpg", "gallery/a/a_c1_1.jpg", "gallery/b/b_c2_1.jpg")
    benchmark = open_dataset(folder, Reading()).benchmark
    assert benchmark.query.identities[0] == benchmark.gallery.identities[1]
    assert benchmark.protocol is Protocol.CROSS_CAMERA


def sequence(folder: Path, truth: str, frames: int = 2, name: str = "gt.txt") -> Path:
    images = folder / "img1"
    images.mkdir(parents=True)
    for number in range(1, frames + 1):
        (images / f"{number:06d}.jpg").write_bytes(jpeg(100 + number, size=(64, 48)))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(truth, encoding="utf-8")
    return folder


ROWS = "1,7,10,20,8,16,1,1,1\n2,7,11,20,8,16,1,1,0.5\n1,8,30,5,8,16,1,1,0.2\n1,9,30,5,8,16,0,1,1\n2,8,3,5,8,16,1,7,1\n"


def test_boxes_of_ground_truth_are_pictures(tmp_path: Path) -> None:
    """Those that count, with corners; each sequence has people of its own unless it is said that they are shared."""
    for name in ("A", "B"):
        sequence(tmp_path / name, ROWS, name="gt/gt.txt" if name == "A" else "gt.txt")
    dataset = open_dataset(tmp_path, Reading())
    benchmark = dataset.benchmark
    assert (dataset.layout, dataset.split, benchmark.protocol) == (
        Layout.MOTCHALLENGE,
        Split.FIRST,
        Protocol.ALL_CAMERAS,
    )
    assert benchmark.query.names == ("A/000001.jpg#1:7", "B/000001.jpg#1:7")
    assert benchmark.gallery.names == (
        *("A/000001.jpg#1:8", "A/000002.jpg#2:7", "B/000001.jpg#1:8", "B/000002.jpg#2:7"),
    )
    assert benchmark.query.identities.tolist() == [1, 3]
    assert benchmark.query.boxes is not None
    assert benchmark.query.boxes[0].tolist() == [10, 20, 18, 36]
    shared = open_dataset(tmp_path, Reading(shared_identities=True)).benchmark
    assert shared.protocol is Protocol.CROSS_CAMERA
    assert set(shared.query.identities.tolist()) <= {1, 2}
    seen = open_dataset(tmp_path, Reading(min_visibility=0.3)).benchmark
    assert len(seen.query) + len(seen.gallery) == 4


def test_lists_of_tao_are_found_beside_themselves(market: Path, tmp_path: Path) -> None:
    """The paths in them are those of another machine."""
    for name, folder in (("q", "query"), ("g", "bounding_box_test")):
        entries = [{"img_path": f"/data/x/{folder}/{path.name}"} for path in sorted((market / folder).iterdir())]
        (market / f"{name}.json").write_text(json.dumps(entries), encoding="utf-8")
    dataset = open_dataset(tmp_path, Reading(query=market / "q.json", gallery=market / "g.json"))
    assert dataset.layout is Layout.TAO
    assert dataset.benchmark.query.identities.tolist() == [1, 2]
    (market / "q.json").write_text('[{"img_path": "/data/0009_c1.jpg"}]', encoding="utf-8")
    with pytest.raises(FileError, match=r"/data/0009_c1\.jpg, of .*q\.json, is not there, nor beside"):
        open_dataset(tmp_path, Reading(query=market / "q.json", gallery=market / "g.json"))
    for text, said in (
        ("[", "is no JSON"),
        ("[]", "have an entry"),
        ('[{"path": "x"}]', 'entry 1 of .* has no "img_path"'),
    ):
        (market / "q.json").write_text(text, encoding="utf-8")
        with pytest.raises(FileError, match=said):
            open_dataset(tmp_path, Reading(query=market / "q.json", gallery=market / "g.json"))


def test_so_many_identities_are_drawn_by_a_seed(put: Put) -> None:
    """The same for the same seed; queries and gallery have these alone."""
    folder = put(*(f"{who:04d}_c{camera}_1.jpg" for who in range(1, 21) for camera in (1, 2)), "0000_c1_1.jpg")
    whole = open_dataset(folder, Reading()).benchmark
    drawn = only_identities(whole, 5, seed=3)
    assert len(set(drawn.query.identities.tolist())) == 5
    assert set(drawn.gallery.identities.tolist()) == set(drawn.query.identities.tolist())
    assert (
        only_identities(whole, 5, seed=3).query.names
        == drawn.query.names
        != only_identities(whole, 5, seed=4).query.names
    )
    with pytest.raises(FileError, match="has 20 identities among its queries, which is less than 21"):
        only_identities(whole, 21, seed=0)


def test_a_check_counts_and_names(market: Path) -> None:
    """Pictures, people, cameras, junk, singles; files that are damaged or there twice; queries with nothing to find."""
    gallery = market / "bounding_box_test"
    first, second = sorted(gallery.glob("0001_*"))
    first.write_bytes(second.read_bytes())
    whole = (gallery / "0002_c1s1_000003_01.jpg").read_bytes()
    (gallery / "0002_c1s1_000003_01.jpg").write_bytes(whole[: len(whole) // 2])
    (market / "query" / "0004_c1s1_000001_00.jpg").write_bytes(b"")
    benchmark = open_dataset(market, Reading()).benchmark
    seen: list[int] = []
    findings = check(benchmark, lambda: seen.append(1))
    assert len(seen) == 7
    assert (findings.query.identities, findings.gallery.distractors, findings.gallery.singles) == (3, 1, 1)
    assert findings.gallery.cameras == {1: 3, 2: 1}
    assert [(Path(path).name, why) for path, why in findings.damaged] == [
        ("0002_c1s1_000003_01.jpg", "the file is cut short: its end is missing"),
        ("0004_c1s1_000001_00.jpg", "the file is empty"),
    ]
    assert findings.duplicates == ((str(first), str(second)),)
    assert findings.unmatched == ("query/0004_c1s1_000001_00.jpg",)
    text = "\n".join(findings.lines())
    assert "queries: 3 pictures of 3 identities" in text
    assert "junk, left out: 1 pictures" in text
    with pytest.raises(FileError, match=r"0002_c1s1_000003_01\.jpg cannot be used: the file is cut short.* \(2 files"):
        refuse(findings, "Market")


def test_a_query_without_a_match_is_named(market: Path) -> None:
    """With what to do."""
    (market / "query" / "0004_c1s1_000001_00.jpg").write_bytes(jpeg(77))
    findings = check(open_dataset(market, Reading()).benchmark)
    with pytest.raises(FileError, match=r"the query query/0004_c1s1_000001_00\.jpg has no picture in the gallery"):
        refuse(findings, "Market")


def test_a_flat_set_is_grouped_and_means_the_same(market: Path, tmp_path: Path) -> None:
    """Copied bit for bit; junk and distractors keep their meaning; a folder that is there is refused."""
    sets = {
        "query": read_market(market / "query", root=market),
        "gallery": read_market(market / "bounding_box_test", root=market),
    }
    out = tmp_path / "grouped"
    assert group(sets, out) == 7
    source = market / "query" / "0001_c1s1_000001_00.jpg"
    assert (out / "query" / "0001" / source.name).read_bytes() == source.read_bytes()
    flat, grouped = open_dataset(market, Reading()).benchmark, open_dataset(out, Reading()).benchmark
    assert (grouped.protocol, grouped.junk) == (flat.protocol, flat.junk)
    assert sorted(grouped.gallery.cameras.tolist()) == sorted(flat.gallery.cameras.tolist())
    assert (grouped.gallery.identities == 0).sum() == 1
    with pytest.raises(FileError, match="is there already and not empty"):
        group(sets, out)
    assert not list(tmp_path.glob(".*part"))


def test_wrong_places_are_refused_with_the_next_step(market: Path, put: Put, tmp_path: Path) -> None:
    """Each in one sentence."""
    put("odd/holiday.jpg", "mixed/0001_c1_1.jpg", "mixed/holiday.jpg", "same/0001_c1_1.jpg", "same/0001_c1_2.jpg")
    (tmp_path / "empty").mkdir()
    sequence(tmp_path / "mot", "1,7,10,20,8,16,1,1\n2,7,10\n")
    for folder, reading, said in (
        (tmp_path / "nowhere", Reading(), "nowhere does not exist"),
        (tmp_path / "empty", Reading(), "is of no layout that is known"),
        (tmp_path / "odd", Reading(), "is of no layout that is known"),
        (tmp_path / "mixed", Reading(), "holiday.jpg in .* has no name such as"),
        (tmp_path / "same", Reading(protocol=Protocol.CROSS_CAMERA), "no identity is seen by two cameras"),
        (tmp_path / "mot", Reading(), "line 2 has 3 columns.*was the file cut short"),
        (market, Reading(split=Split.FIRST), "has queries and a gallery of its own: leave --split out"),
        (market, Reading(min_visibility=0.5), "--min-visibility needs MOTChallenge ground truth"),
        (market, Reading(query=market), "belong together"),
        (market / "query" / "0001_c1s1_000001_00.jpg", Reading(), "is a file: give a folder"),
    ):
        with pytest.raises(FileError, match=said):
            open_dataset(folder, reading)


@pytest.mark.needs("shared-data")
def test_the_crops_of_market_style_are_split_as_their_table_says(shared_data: Path) -> None:
    """18 queries, and 72 pictures in the gallery, of which 54 are distractors."""
    benchmark = open_dataset(shared_data / "crops" / "market_style", Reading()).benchmark
    assert (len(benchmark.query), len(benchmark.gallery)) == (18, 72)
    assert (benchmark.gallery.identities == 0).sum() == 54
    assert benchmark.protocol is Protocol.CROSS_CAMERA


@pytest.mark.needs("shared-data")
def test_the_sequences_of_mot17_are_split_as_their_table_says(shared_data: Path) -> None:
    """98 queries and 495 pictures in the gallery, at a visibility of at least 0.3."""
    frames = shared_data / "frames"
    parts = [open_dataset(path, Reading(min_visibility=0.3)) for path in sorted(frames.glob("MOT17-*"))]
    assert sum(len(part.benchmark.query) for part in parts) == 98
    assert sum(len(part.benchmark.gallery) for part in parts) == 495
    assert np.unique(parts[0].benchmark.gallery.cameras).tolist() == [1]
