"""Where the command's frames come from: folders and sequences."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidstream_client import FileError
from reidstream_client.cli.sources import SourceFrame, SourceOptions, Use, open_source
from reidstream_client.frames.encoded_size import encoded_size
from tests.unit.client.scripted_server import f32

GT = """\
1,7,100,200,30,40,1,1,0.9
1,8,10,20,30,40,0,1,1.0
1,9,10,20,30,40,1,2,1.0
2,7,101.5,201,30,40,1,1,0.2
"""
DET = "1,-1,10.5,20,30,40,0.98\n3,-1,1,2,3,4,0.5\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def sequence(folder: Path, *, official: bool = False) -> Path:
    for number in (1, 2, 10):
        write(folder / "img1" / f"{number:06}.jpg", f"file {number}")
    write(folder / ("gt/gt.txt" if official else "gt.txt"), GT)
    write(folder / ("det/det.txt" if official else "det.txt"), DET)
    return folder


def opened(
    path: Path, *, boxes: Path | None = None, use: Use | None = None, min_visibility: float = 0
) -> list[SourceFrame]:
    source = open_source(path, SourceOptions(boxes=boxes, use=use, min_visibility=min_visibility))
    frames = list(source)
    assert source.total == len(frames)
    return frames


def test_a_folder_of_turned_images_gives_whole_ones(tmp_path: Path) -> None:
    """Around the picture as the server will see it."""
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (64, 48)).save(tmp_path / "1.jpg", exif=exif)
    for upright, size in ((False, [64, 48]), (True, [48, 64])):
        (frame,) = open_source(tmp_path, SourceOptions(upright=upright))
        assert frame.boxes.xyxy.tolist() == [[0, 0, *size]]


@pytest.mark.parametrize("official", [False, True])
def test_a_sequence_gives_its_files_and_ground_truth(tmp_path: Path, official: bool) -> None:  # noqa: FBT001
    """Rows with considered 1 and class 1; raw pixel values, without subtracting 1; frames without boxes stay."""
    frames = opened(sequence(tmp_path, official=official))
    assert [(frame.number, frame.name, frame.image) for frame in frames] == [
        (1, "000001.jpg", b"file 1"),
        (2, "000002.jpg", b"file 2"),
        (10, "000010.jpg", b"file 10"),
    ]
    np.testing.assert_array_equal(frames[0].boxes.xyxy, f32([[100, 200, 130, 240]]))
    np.testing.assert_array_equal(frames[1].boxes.xyxy, f32([[101.5, 201, 131.5, 241]]))
    assert frames[0].boxes.track_ids.tolist() == [7]
    assert frames[2].boxes.xyxy.shape == (0, 4)


def test_a_sequences_detections(tmp_path: Path) -> None:
    """All rows of them; and they are what is used where there is no ground truth."""
    folder = sequence(tmp_path)
    detections = [frame.boxes.xyxy.tolist() for frame in opened(folder, use=Use.DET)]
    assert detections == [[[10.5, 20, 40.5, 60]], [], []]
    (folder / "gt.txt").unlink()
    assert [frame.boxes.xyxy.tolist() for frame in opened(folder)] == detections
    with pytest.raises(FileError, match=r"neither gt\.txt nor gt/gt\.txt; give --boxes"):
        opened(folder, use=Use.GT)


def test_barely_visible_people_are_left_out_on_request(tmp_path: Path) -> None:
    """Only where the file says how visible they are."""
    folder = sequence(tmp_path)
    assert [len(frame.boxes.xyxy) for frame in opened(folder, min_visibility=0.3)] == [1, 0, 0]
    with pytest.raises(FileError, match="ninth column"):
        opened(folder, use=Use.DET, min_visibility=0.3)
    with pytest.raises(FileError, match="has none"):
        opened(folder, boxes=write(tmp_path / "b.jsonl", ""), min_visibility=0.3)


def test_boxes_of_another_file_replace_a_sequences_own(tmp_path: Path) -> None:
    """The tracker's output, say: ten columns, all rows."""
    boxes = write(tmp_path / "tracks.txt", "2,5,1,2,3,4,1,-1,-1,-1\n")
    frames = opened(sequence(tmp_path / "s"), boxes=boxes)
    assert [frame.boxes.track_ids.tolist() for frame in frames] == [[], [5], []]


def test_a_folder_of_images_is_its_whole_images(tmp_path: Path) -> None:
    """Numbered from 1 in the order of their names; an image that cannot be read has an empty box."""
    Image.new("RGB", (31, 17)).save(tmp_path / "b.jpg")
    Image.new("L", (5, 9)).save(tmp_path / "c.png")
    write(tmp_path / "a.webp", "garbage")
    write(tmp_path / "notes.txt", "not an image")
    frames = opened(tmp_path)
    assert [(frame.number, frame.name) for frame in frames] == [(1, "a.webp"), (2, "b.jpg"), (3, "c.png")]
    assert [frame.boxes.xyxy.tolist() for frame in frames] == [[[0, 0, 0, 0]], [[0, 0, 31, 17]], [[0, 0, 5, 9]]]
    assert frames[1].image == (tmp_path / "b.jpg").read_bytes()


def test_numbered_images_keep_their_numbers(tmp_path: Path) -> None:
    """In the order of the numbers, not of the names; where two have the same, their places count."""
    for name in ("9.jpg", "10.jpg", "200.jpg"):
        write(tmp_path / name, "x")
    assert [frame.number for frame in opened(tmp_path)] == [9, 10, 200]
    write(tmp_path / "09.jpg", "x")
    assert [frame.number for frame in opened(tmp_path)] == [1, 2, 3, 4]


def test_csv_boxes_by_name_or_number(tmp_path: Path) -> None:
    """Corners or left, top, width, height, as the header says; ids where they are given."""
    for name in ("a.jpg", "b.jpg"):
        write(tmp_path / "images" / name, "x")
    by_name = write(tmp_path / "n.csv", "image,x1,y1,x2,y2,track_id,class_id\nb.jpg,1,2,3,4,7,2\nb.jpg,5,6,7,8,,0\n")
    first, second = opened(tmp_path / "images", boxes=by_name)
    assert first.boxes.xyxy.shape == (0, 4)
    assert second.boxes.xyxy.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert second.boxes.track_ids.tolist() == [7, -1]
    assert second.boxes.class_ids is not None
    assert second.boxes.class_ids.tolist() == [2, 0]
    by_number = write(tmp_path / "m.csv", "frame, left, top, width, height\n1, 1, 2, 3, 4\n")
    first, second = opened(tmp_path / "images", boxes=by_number)
    assert first.boxes.xyxy.tolist() == [[1, 2, 4, 6]]
    assert first.boxes.class_ids is None


def test_boxes_that_belong_to_other_images_are_noticed(tmp_path: Path) -> None:
    """Numbers that match nothing would otherwise stream frames without boxes."""
    write(tmp_path / "images" / "a.jpg", "x")
    boxes = write(tmp_path / "b.txt", "1051,-1,1,2,3,4,1\n")
    with pytest.raises(FileError, match=r"no frame has boxes in .*: its frames are 1051, .* source are 1 \(a\.jpg\)"):
        opened(tmp_path / "images", boxes=boxes)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nothing", "nothing does not exist"),
        ("empty", r"contains no images \(\.jpeg, \.jpg, \.png, \.webp\)"),
        ("a.jpg", "for a single image: reidstream-client embed"),
        ("clip.mp4", "needs boxes: give --boxes FILE"),
    ],
)
def test_what_is_no_source_says_what_to_do(tmp_path: Path, name: str, complaint: str) -> None:
    """One line, with the next step in it."""
    (tmp_path / "empty").mkdir()
    write(tmp_path / "a.jpg", "x")
    write(tmp_path / "clip.mp4", "x")
    with pytest.raises(FileError, match=complaint):
        opened(tmp_path / name)


def test_use_is_for_sequences(tmp_path: Path) -> None:
    """A folder of images has neither ground truth nor detections."""
    with pytest.raises(FileError, match="no folder img1; give --boxes"):
        opened(tmp_path, use=Use.GT)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + bytes(4000)}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + bytes(40)}),
    ],
)
def test_sizes_are_read_from_headers(kind: str, options: dict[str, object]) -> None:
    """Of every kind that is sent; cut short at any place, it is a size or nothing, never an error."""
    file = io.BytesIO()
    Image.new("RGB", (301, 205)).save(file, kind, **options)
    data = file.getvalue()
    assert encoded_size(data) == (301, 205)
    assert {encoded_size(data[:length]) for length in range(min(len(data), 5000))} <= {None, (301, 205)}


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\x00\x01garbage", b"RIFF1234WEBPNOPE" + bytes(20)])
def test_no_size_is_read_from_anything_else(data: bytes) -> None:
    """The server will say what is wrong with it."""
    assert encoded_size(data) is None
