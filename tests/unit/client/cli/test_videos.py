"""Videos: raw frames or JPEG, and how one that is cut short is noticed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from reidstream_client import FileError, MissingExtra
from reidstream_client.cli.sources import SourceCutShort, SourceFrame, SourceOptions, open_source
from tests.unit.client.scripted_server import ScriptedServer

Command = Callable[..., int]


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """One box in the second frame."""
    path = tmp_path / "b.txt"
    path.write_text("2,-1,1,2,3,4,1\n")
    return path


def frames(clip: Path, boxes: Path, quality: int | None = None) -> list[SourceFrame]:
    return list(open_source(clip, SourceOptions(boxes=boxes, jpeg_quality=quality)))


def cut(clip: Path, part: float) -> Path:
    """A copy that ends early, as a full disk or a pulled plug leaves it."""
    path = clip.with_stem("half")
    data = clip.read_bytes()
    start, end = data.index(b"movi") + 4, data.index(b"idx1")
    path.write_bytes(data[: start + int((end - start) * part)])
    return path


def test_a_video_gives_bgr_frames_from_1(clip: Path, boxes: Path) -> None:
    """With the boxes of their numbers."""
    found = frames(clip, boxes)
    assert [(frame.number, frame.name) for frame in found] == [(n, f"frame {n}") for n in range(1, 7)]
    assert [len(frame.boxes.xyxy) for frame in found] == [0, 1, 0, 0, 0, 0]
    image = found[3].image
    assert isinstance(image, np.ndarray)
    assert image.shape == (48, 64, 3)
    assert abs(int(image.mean()) - 120) < 4


@pytest.mark.parametrize("quality", [10, 95])
def test_a_videos_frames_can_be_sent_as_jpeg(clip: Path, boxes: Path, quality: int) -> None:
    """Files of the quality that was asked for, whose pixels are the frame's."""
    for i, frame in enumerate(frames(clip, boxes, quality)):
        assert isinstance(frame.image, bytes)
        assert frame.image.startswith(b"\xff\xd8")
        pixels = cv2.imdecode(np.frombuffer(frame.image, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == (48, 64, 3)
        assert abs(float(pixels.mean()) - 40 * i) < 5


def test_a_lower_quality_is_fewer_bytes(tmp_path: Path, boxes: Path) -> None:
    """The number reaches the encoder."""
    path = tmp_path / "noise.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    noise = np.random.default_rng(7).integers(0, 255, (48, 64, 3), np.uint8)
    for _ in range(2):
        writer.write(noise)
    writer.release()
    low, high = (frames(path, boxes, quality)[0].image for quality in (20, 95))
    assert isinstance(low, bytes)
    assert isinstance(high, bytes)
    assert len(low) < len(high) / 2


def test_jpeg_reaches_the_server(run: Command, served: ScriptedServer, clip: Path, boxes: Path, tmp_path: Path) -> None:
    """As a file, where a raw frame would be pixels."""
    del served
    assert run("stream", clip, "--boxes", boxes, "-o", tmp_path / "out.npz", "--jpeg-quality", 90) == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["name"].tolist() == ["frame 2"]


def test_a_video_that_is_cut_short_is_not_a_success(
    run: Command, clip: Path, boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What came is in the output; the status says that some is missing, and one line how much."""
    half = cut(clip, 0.5)
    with pytest.raises(SourceCutShort, match=r"half\.avi ends after 3 of 6 frames: the file is cut short or damaged"):
        frames(half, boxes)
    output = tmp_path / "out.npz"
    assert run("stream", half, "--boxes", boxes, "-o", output) == 1
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [2]
        assert arrays["valid"].all()
    said = capsys.readouterr()
    assert "ends after 3 of 6 frames" in said.err
    assert said.err.count("\n") == 1
    assert "3 frames and 1 boxes" in said.out


def test_a_video_without_any_frame_is_an_error(run: Command, clip: Path, boxes: Path, tmp_path: Path) -> None:
    """Its header is whole, and nothing behind it: no output, and the status of a file that cannot be read."""
    assert run("stream", cut(clip, 0), "--boxes", boxes, "-o", tmp_path / "out.npz") == 2
    assert not (tmp_path / "out.npz").exists()


def test_a_video_without_opencv_says_what_to_install(clip: Path, boxes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very line."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match="pip install opencv-python-headless"):
        frames(clip, boxes)


def test_a_video_that_is_none(tmp_path: Path, boxes: Path) -> None:
    """Named so, and not."""
    path = tmp_path / "clip.avi"
    path.write_text("no video")
    with pytest.raises(FileError, match="cannot be opened as a video"):
        frames(path, boxes)
