"""Vectors out of files: by name, of one space, whole, and finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reidstream_client import FileError, SpaceMismatch
from reidstream_client.evaluation import Pictures, of_one_space, read_vectors, rows_for
from reidstream_client.evaluation.vectors import write_tao
from tests.unit.client.evaluation.plain import pictures

SPACE = "1:" + "a" * 64


def arrays(path: Path, names: list[str], **changed: Any) -> Path:
    """As `reidstream-client stream` writes them."""
    count = len(names)
    known = {
        "name": np.array(names),
        "embedding": np.arange(count * 4, dtype=np.float32).reshape(count, 4) + 1,
        "frame": np.arange(count) + 1,
        "track_id": np.full(count, -1),
        "valid": np.ones(count, np.bool_),
        "outcome": np.array(["embedded"] * count),
        "space_id": np.array(SPACE),
        "model": np.array("osnet"),
    }
    np.savez(path, **{**known, **changed})
    return path


def named(*names: str, root: str = "query/") -> Pictures:
    plain = pictures([1] * len(names))
    return Pictures(
        paths=tuple(f"/data/{root}{name}" for name in names),
        names=tuple(f"{root}{name}" for name in names),
        files=plain.files,
        boxes=None,
        identities=plain.identities,
        cameras=plain.cameras,
    )


def test_rows_are_found_by_name(tmp_path: Path) -> None:
    """By the whole path, or by the file's name; in the order of the pictures."""
    vectors = read_vectors(arrays(tmp_path / "v.npz", ["a.jpg", "b.jpg", "query/c.jpg"]))
    assert (vectors.space_id, vectors.model) == (SPACE, "osnet")
    rows = rows_for(named("c.jpg", "a.jpg"), vectors)
    assert rows[:, 0].tolist() == [9, 1]


def test_boxes_are_found_by_frame_and_track(tmp_path: Path) -> None:
    """A box of a frame has the frame's file in common with all others of it."""
    path = arrays(
        tmp_path / "v.npz", ["1.jpg", "1.jpg", "2.jpg"], frame=np.array([1, 1, 2]), track_id=np.array([7, 8, 7])
    )
    rows = rows_for(named("2.jpg#2:7", "1.jpg#1:8", root="MOT/"), read_vectors(path))
    assert rows[:, 0].tolist() == [9, 5]


def test_what_is_missing_or_failed_is_named(tmp_path: Path) -> None:
    """With what became of it."""
    path = arrays(
        tmp_path / "v.npz",
        ["a.jpg", "b.jpg"],
        valid=np.array([True, False]),
        outcome=np.array(["embedded", "too_small"]),
    )
    vectors = read_vectors(path)
    with pytest.raises(FileError, match=r"has no vector of query/b\.jpg \(too_small\)"):
        rows_for(named("a.jpg", "b.jpg"), vectors)
    with pytest.raises(FileError, match=r"no vector of query/d\.jpg, query/e\.jpg \(2 of 3 pictures\)"):
        rows_for(named("a.jpg", "d.jpg", "e.jpg"), vectors)
    twice = read_vectors(arrays(tmp_path / "w.npz", ["x/a.jpg", "y/a.jpg"]))
    with pytest.raises(FileError, match=r"several vectors with the file name of query/a\.jpg"):
        rows_for(named("a.jpg"), twice)


def test_taos_json_is_read_and_written(tmp_path: Path) -> None:
    """It does not say its space."""
    path = tmp_path / "tao.json"
    write_tao(path, ["/data/query/a.jpg", "/data/query/b.jpg"], np.eye(2, 3, dtype=np.float32))
    vectors = read_vectors(path)
    assert (vectors.space_id, vectors.values.tolist()) == ("", [[1, 0, 0], [0, 1, 0]])
    assert rows_for(named("b.jpg"), vectors).tolist() == [[0, 1, 0]]


def test_files_of_two_spaces_are_not_mixed(tmp_path: Path) -> None:
    """Though their vectors have the same length; and neither are two vectors of one picture."""
    one = read_vectors(arrays(tmp_path / "a.npz", ["a.jpg"]))
    two = read_vectors(arrays(tmp_path / "b.npz", ["b.jpg"], space_id=np.array("1:" + "b" * 64)))
    with pytest.raises(SpaceMismatch, match=r"a\.npz has vectors of the space 1:a+ and .*b\.npz of 1:b+"):
        of_one_space([one, two])
    short = read_vectors(arrays(tmp_path / "c.npz", ["c.jpg"], embedding=np.ones((1, 3), np.float32)))
    with pytest.raises(FileError, match=r"vectors of 4 numbers and .* of 3"):
        of_one_space([one, short])
    with pytest.raises(FileError, match=r"two vectors of a\.jpg"):
        of_one_space([one, read_vectors(arrays(tmp_path / "d.npz", ["a.jpg"]))])
    both = of_one_space([one, read_vectors(arrays(tmp_path / "e.npz", ["e.jpg"]))])
    assert both.names == ("a.jpg", "e.jpg")


def test_wrong_files_are_named(tmp_path: Path) -> None:
    """Cut short, of another kind, with NaN, empty, not there."""
    whole = arrays(tmp_path / "v.npz", ["a.jpg"]).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no arrays", encoding="utf-8")
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    bad = np.ones((1, 4), np.float32)
    bad[0, 2] = np.inf
    arrays(tmp_path / "nan.npz", ["a.jpg"], embedding=bad)
    arrays(tmp_path / "none.npz", ["a.jpg"], valid=np.array([False]))
    arrays(tmp_path / "flat.npz", ["a.jpg"], embedding=np.ones(4, np.float32))
    (tmp_path / "cut.json").write_text('[{"img_path": "a.jpg", "embedding": [1', encoding="utf-8")
    (tmp_path / "ragged.json").write_text(
        json.dumps([{"img_path": "a", "embedding": [1, 2]}, {"img_path": "b", "embedding": [1]}]), encoding="utf-8"
    )
    (tmp_path / "words.json").write_text('[{"img_path": "a", "embedding": ["x"]}]', encoding="utf-8")
    for name, said in (
        ("cut.npz", "is no whole .npz file"),
        ("text.npz", "is no whole .npz file"),
        ("other.npz", "has no array 'embedding'"),
        ("nan.npz", r"the vector of a\.jpg in .*nan\.npz has a number that is not finite"),
        ("none.npz", "has no vector"),
        ("flat.npz", r"embedding is of shape \(4,\)"),
        ("gone.npz", "cannot be read: No such file"),
        ("cut.json", "is no JSON"),
        ("ragged.json", 'entry 2 of .* has no "embedding" of as many numbers'),
        ("words.json", "is no list of numbers"),
    ):
        with pytest.raises(FileError, match=said):
            read_vectors(tmp_path / name)
