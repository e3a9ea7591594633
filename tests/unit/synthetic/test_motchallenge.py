"""Sequences on disk: as MOTChallenge wants them, and as our client's source reads them."""

from __future__ import annotations

import configparser
from pathlib import Path

import cv2
import numpy as np
import pytest

from reidstream_client.cli.sources import SourceOptions, Use, open_source
from reidstream_synthetic import DetectorNoise, Scene, make_scene, write_motchallenge
from reidstream_synthetic.cli import main

FRAMES = 3


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(7, people=8, cameras=2, frames=FRAMES)


@pytest.fixture(scope="module")
def written(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return write_motchallenge(tmp_path_factory.mktemp("mot") / "made", scene, noise=DetectorNoise(seed=2))


def rows(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.loadtxt(path, delimiter=",", ndmin=2)


def test_there_is_a_folder_for_each_camera(written: tuple[Path, ...]) -> None:
    """With images of six digits from 1, the truth, detections and seqinfo.ini, and nothing else."""
    assert [path.name for path in written] == ["synthetic-7-c1", "synthetic-7-c2"]
    for path in written:
        files = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
        images = [f"img1/{number:06d}.jpg" for number in range(1, FRAMES + 1)]
        assert files == sorted([*images, "gt/gt.txt", "det/det.txt", "seqinfo.ini"])


def test_seqinfo_says_what_is_there(written: tuple[Path, ...]) -> None:
    """The keys that MOTChallenge's tools read; the name is the folder's, the size is the images'."""
    for path in written:
        parser = configparser.ConfigParser()
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read(path / "seqinfo.ini")
        image = cv2.imread(str(path / "img1" / "000001.jpg"))
        assert image is not None
        assert dict(parser["Sequence"]) == {
            "name": path.name,
            "imDir": "img1",
            "frameRate": "15",
            "seqLength": str(FRAMES),
            "imWidth": str(image.shape[1]),
            "imHeight": str(image.shape[0]),
            "imExt": ".jpg",
        }


def test_the_truth_has_nine_columns(scene: Scene, written: tuple[Path, ...]) -> None:
    """Frame, id, left, top, width, height, 1, 1, visibility: exactly what the frames say."""
    for path, camera in zip(written, scene.cameras, strict=True):
        truth = rows(path / "gt" / "gt.txt")
        assert truth.shape[1] == 9
        assert (truth[:, 6:8] == 1).all()
        for frame in camera:
            own = truth[truth[:, 0] == frame.number]
            assert own[:, 1].tolist() == frame.people.tolist()
            corners = np.concatenate([own[:, 2:4], own[:, 2:4] + own[:, 4:6]], axis=1)
            np.testing.assert_array_equal(corners, frame.boxes)
            np.testing.assert_allclose(own[:, 8], frame.visibility, atol=1e-4)


def test_detections_have_ten_columns_and_no_ids(written: tuple[Path, ...]) -> None:
    """Frame, -1, left, top, width, height, score, -1, -1, -1, with positive sizes."""
    for path in written:
        found = rows(path / "det" / "det.txt")
        assert found.shape[1] == 10
        assert (found[:, [1, 7, 8, 9]] == -1).all()
        assert (found[:, 4:6] > 0).all()
        assert ((found[:, 6] > 0) & (found[:, 6] <= 1)).all()


def test_the_client_reads_what_was_written(scene: Scene, written: tuple[Path, ...]) -> None:
    """Its MOTChallenge source: every image, with the boxes and ids of the truth, or the detections."""
    for path, camera in zip(written, scene.cameras, strict=True):
        source = open_source(path, SourceOptions())
        assert source.total == FRAMES
        for read, frame in zip(source, camera, strict=True):
            assert (read.number, read.image) == (frame.number, frame.jpeg())
            np.testing.assert_array_equal(read.boxes.xyxy, frame.boxes.astype(np.float32))
            np.testing.assert_array_equal(read.boxes.track_ids, frame.people)
        seen = list(open_source(path, SourceOptions(use=Use.GT, min_visibility=0.5)))
        assert sum(len(one.boxes.xyxy) for one in seen) == sum((f.visibility >= 0.5).sum() for f in camera)
        found = list(open_source(path, SourceOptions(use=Use.DET)))
        assert sum(len(one.boxes.xyxy) for one in found) == len(rows(path / "det" / "det.txt"))


def test_a_person_has_one_id_in_all_cameras(written: tuple[Path, ...]) -> None:
    """Ids of both cameras come from the same eight people."""
    ids = [set(rows(path / "gt" / "gt.txt")[:, 1].astype(int)) for path in written]
    assert ids[0] & ids[1]
    assert ids[0] | ids[1] <= set(range(1, 9))


def test_what_is_there_is_not_overwritten(scene: Scene, written: tuple[Path, ...]) -> None:
    """The error names the folder, and nothing is drawn before it."""
    drawn = []
    with pytest.raises(FileExistsError, match="synthetic-7-c1 exists already; remove it"):
        write_motchallenge(written[0].parent, scene, on_frame=lambda: drawn.append(1))
    assert drawn == []


def test_the_command_writes_the_same_files(
    written: tuple[Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m reidstream_synthetic`: the same seed gives the same bytes, and the folders are printed."""
    options = ["--people", "8", "--cameras", "2", "--frames", str(FRAMES), "--seed", "7"]
    assert main([*options, str(tmp_path)]) == 0
    printed = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [tmp_path / path.name for path in written]
    for ours, theirs in zip(printed, written, strict=True):
        for name in ("gt/gt.txt", "img1/000002.jpg", "seqinfo.ini"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        assert not (ours / "det").exists()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong options end with 2 and the range; a folder that is there already with 1 and its name."""
    for options, message in (
        (["--people", "0"], "'0' is not a whole number from 1 to 1000"),
        (["--miss-rate", "2"], "miss_rate 2.0 is not within 0 and 1"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*options, str(tmp_path)])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    (tmp_path / "synthetic-0-c1").mkdir()
    assert main(["--frames", "1", "--cameras", "1", str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the system's reason, and what to do."""
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert main(["--frames", "1", "--cameras", "1", "--people", "1", str(file / "out")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"cannot write {file}")
    assert said.endswith("Not a directory; choose another OUT")
