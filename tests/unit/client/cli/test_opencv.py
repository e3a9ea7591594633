"""Any OpenCV is fine for videos, and what is wrong with one is said in words."""

from __future__ import annotations

import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from reidstream_client import MissingExtra
from reidstream_client.cli import main
from reidstream_client.cli.sources.opencv import need_opencv


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a `cv2` that is found first can be written."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "cv2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "cv2"
    folder.mkdir()
    monkeypatch.setitem(sys.modules, "cv2", None)  # so that what the test imports does not stay
    monkeypatch.delitem(sys.modules, "cv2")
    return folder / "__init__.py"


def test_any_cv2_that_reads_videos_is_fine(another: Path) -> None:
    """Whichever distribution brought it, of whatever version."""
    another.write_text("VideoCapture = object", encoding="utf-8")
    need_opencv()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "raise ImportError('libGL.so.1: cannot open shared object file')",
            r"cannot be loaded: libGL\.so\.1: cannot open shared object file: pip uninstall every opencv-",
        ),
        ("import of_another_module", "cannot be loaded: No module named 'of_another_module': pip uninstall"),
        ("import sys; sys.made_for_another_numpy", "cannot be loaded: module 'sys' has no attribute .*: pip uninstall"),
        ("", "is damaged, it has no VideoCapture: pip uninstall every opencv-"),
    ],
)
def test_one_that_does_not_work_is_not_called_missing(another: Path, content: str, said: str) -> None:
    """To install a second one would make it worse."""
    another.write_text(content, encoding="utf-8")
    with pytest.raises(MissingExtra, match=said):
        need_opencv()


def test_a_folder_that_a_removed_one_left_is_no_opencv(another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python imports it as a package with nothing in it."""
    monkeypatch.setattr(sys, "path", [str(another.parents[1])])  # where no whole one is
    with pytest.raises(MissingExtra, match="is damaged, it has no VideoCapture"):
        need_opencv()


def test_where_there_is_none_the_command_says_which_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server's or a screen's, one of them. It is wrong usage, and one line."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    video, boxes = tmp_path / "a.mp4", tmp_path / "boxes.csv"
    video.write_bytes(b"")
    boxes.write_text("frame,x1,y1,x2,y2\n1,0,0,9,9\n", encoding="utf-8")
    status = main(["stream", str(video), "--boxes", str(boxes), "--output", str(tmp_path / "out.npz")])
    assert status == 2
    assert (
        "pip install opencv-python-headless (or opencv-python, if a program here opens windows"
        in capsys.readouterr().err
    )


def test_installing_the_client_never_brings_an_opencv() -> None:
    """Nor does its extra: it would overwrite the files of the one that a tracker has."""
    assert [line for line in requires("reidstream-client") or [] if "opencv" in line] == []
