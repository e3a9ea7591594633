"""What the command reads as boxes: MOTChallenge text, named columns, JSON; and what it names instead of reading."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidstream_client import FileError
from reidstream_client.cli.sources import Use
from reidstream_client.cli.sources.boxes import BoxTable, read_boxes

TRACKER = "1,1,31,35,23,63,0.85,1,0\n1,2,51,40,24,66,0.78,1,1\n2,1,32,35,23,63,1,1,0\n"
"""Nine columns with a confidence, as a tracker writes them."""
EIGHT = "1,1,31,35,23,63,0.83,-1\n2,2,52,40,24,66,1,-1\n"
TRUTH = "1,7,100,200,30,40,1,1,0.9\n1,8,10,20,30,40,0,1,1\n2,9,10,20,30,40,1,3,1\n"


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def counts(table: BoxTable) -> dict[int | str, int]:
    return {key: len(boxes.xyxy) for key, boxes in table.frames.items()}


@pytest.mark.parametrize("text", [TRACKER, EIGHT, "1,1,31,35,23,63,1,0,0\n2,1,31,35,23,63,1,0,1\n"])
def test_a_trackers_result_is_no_ground_truth(tmp_path: Path, text: str) -> None:
    """Eight or nine columns, with a confidence where ground truth has a flag, or classes from 0: every row counts."""
    table = read_boxes(written(tmp_path, "result.txt", text))
    assert sum(counts(table).values()) == text.count("\n")
    assert table.notes == ()


@pytest.mark.parametrize(
    ("name", "use", "text", "kept"),
    [
        ("gt.txt", None, TRUTH, 1),
        ("train_half.txt", None, TRUTH, 1),
        ("train_half.txt", Use.DET, TRUTH, 3),
        ("gt.txt", Use.DET, TRUTH, 3),
        ("result.txt", Use.GT, TRACKER, 1),
        ("gt.txt", None, TRACKER, 1),
        ("det.txt", Use.GT, "1,-1,10,20,30,40,0.98\n", 1),
    ],
)
def test_ground_truth_by_its_name_its_flag_or_the_word_of_the_user(
    *, tmp_path: Path, name: str, use: Use | None, text: str, kept: int
) -> None:
    """And the rows that do not count are counted aloud; other numbers of columns never are ground truth."""
    table = read_boxes(written(tmp_path, name, text), use=use)
    assert sum(counts(table).values()) == kept
    rows = text.count("\n")
    if kept == rows:
        assert table.notes == ()
    else:
        assert f"{rows - kept} of {rows} rows are left out" in table.notes[0]
        assert ("--use det" in table.notes[0]) is (use is None)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff1,7,10,20,30,40,0.5\n2,8,11,21,31,41,0.5\n",
        "1 7 10 20 30 40 0.5\n  2   8 11 21 31 41 0.5\r\n",
        "1\t7\t10\t20\t30\t40\t0.5\n2\t8\t11\t21\t31\t41\t0.5",
        "1;7;10;20;30;40;0.5\n2;8;11;21;31;41;0.5\n",
        "# a comment\n\n1, 7, 10, 20, 30, 40, 0.5,\n2, 8, 11, 21, 31, 41, 0.5,\n",
        "frame,id,bb_left,bb_top,bb_width,bb_height,conf\n1,7,10,20,30,40,0.5\n2,8,11,21,31,41,0.5\n",
        "\ufeffFrameId;TrackID;xmin;ymin;xmax;ymax\n1;7;10;20;40;60\n2.0;8;11;21;42;62\n",
        "frame track_id cx cy w h\n1 7 25 40 30 40\n2 8 26.5 41.5 31 41\n",
        ',"frame","x1","y1","x2","y2","width","height","id"\n0,1,10,20,40,60,1920,1080,7\n1,2,11,21,42,62,1920,1080,8\n',
        """[{"frame": 1, "boxes": [[10, 20, 40, 60]], "track_ids": [7]},
        {"frame": 2, "boxes": [[11, 21, 31, 41]], "track_ids": [8], "format": "ltwh"}]""",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_one_meaning_in_many_spellings(tmp_path: Path, text: str, encoding: str) -> None:
    """Byte-order marks, separators, header names of other tools, comments, a JSON list; whatever the file is called."""
    table = read_boxes(written(tmp_path, "boxes.txt", text.encode(encoding)))
    assert [boxes.xyxy.tolist() for boxes in table.frames.values()] == [[[10, 20, 40, 60]], [[11, 21, 42, 62]]]
    assert [boxes.track_ids.tolist() for boxes in table.frames.values()] == [[7], [8]]
    assert list(table.frames) == [1, 2]


def test_images_by_the_names_of_other_tools(tmp_path: Path) -> None:
    """A path is its file's name, on any system; the width and height of the picture are not the box's."""
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    text += "frames/a.jpg,1920,1080,person,1,2,3,4\nC:\\frames\\b.jpg,1920,1080,person,5,6,7,8\n"
    table = read_boxes(written(tmp_path, "labels.csv", text))
    assert {key: boxes.xyxy.tolist() for key, boxes in table.frames.items()} == {
        "a.jpg": [[1, 2, 3, 4]],
        "b.jpg": [[5, 6, 7, 8]],
    }


def test_a_coco_dataset(tmp_path: Path) -> None:
    """By file name; an image without annotations has no boxes, and is known."""
    dataset = {
        "images": [{"id": 4, "file_name": "val/a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 4, "category_id": 1, "bbox": [1, 2, 3, 4], "track_id": 5}],
        "categories": [{"id": 1, "name": "person"}],
    }
    table = read_boxes(written(tmp_path, "coco.json", json.dumps(dataset, indent=1)))
    assert counts(table) == {"a.jpg": 1, "b.jpg": 0}
    found = table.frames["a.jpg"]
    assert found.class_ids is not None
    assert (found.xyxy.tolist(), found.track_ids.tolist(), found.class_ids.tolist()) == ([[1, 2, 4, 6]], [5], [1])


def test_rows_of_a_frame_need_not_stand_together(tmp_path: Path) -> None:
    """A tracker that writes by track, not by frame; each frame keeps the file's order."""
    table = read_boxes(written(tmp_path, "t.txt", "2,1,1,2,3,4\n1,1,5,6,7,8\n2,2,9,10,11,12\n"))
    assert table.frames[2].track_ids.tolist() == [1, 2]
    np.testing.assert_array_equal(table.frames[1].xyxy, [[5, 6, 12, 14]])


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("b.txt", "0 0.5 0.5 0.1 0.2\n", r"YOLO labels, it seems; .*multiply by the picture's width"),
        ("b.txt", "0 0.5 0.5 0.1 0.2 0.93\n1 0.25 0.5 0.1 0.2 0.9\n", "YOLO labels"),
        ("b.txt", "1,-1,0.5,0.5,0.1,0.2,0.9\n", "all lie within 0 to 1, so they are parts of the picture"),
        ("b.csv", "image,x1,y1,x2,y2\na.jpg,0.1,0.2,0.3,1\n", "all lie within 0 to 1"),
        ("b.jsonl", '{"frame": 1, "boxes": [[0, 0, 0.5, 1]]}', "all lie within 0 to 1"),
        ("b.json", '[{"image_id": 3, "bbox": [1, 2, 3, 4]}]', 'results, which name .* with "images" and "annotations"'),
        ("b.json", '{"annotations": [], "images": [{"id": 1}]}', "no COCO dataset that can be read: KeyError"),
        ("b.json", '{"shapes": []}', r"KeyError\('image'\); expected"),
        ("b.csv", "frame,x,y,w,h\n1,1,2,3,4\n", "x and y may be a corner or the centre: call them left and top"),
        ("b.csv", "a.jpg,1,2,3,4\n", "needs columns frame or image"),
        ("b.csv", "frame,x1,y1,x2,y2\na.jpg,1,2,3,4\n", "line 2: frame must be a whole number, not 'a.jpg'"),
        ("b.csv", "frame,x1,y1,x2,y2\n1.5,1,2,3,4\n", "line 2: frame must be a whole number, not '1.5'"),
        ("b.jsonl", '{"frame": true, "boxes": []}', "frame must be a whole number, not True"),
        ("b.txt", "1.5,1,1,2,3,4\n", "line 1: frame must be a whole number, not 1.5"),
        ("b.txt", "nan,1,1,2,3,4\n", "line 1: frame must be a whole number, not nan"),
        ("b.txt", "1,1,1,2,3,4\n\n1,1,1,2,3\n", "line 3 has 5 columns, line 1 has 6"),
        ("b.txt", "1;1;10,5;2;3;4\n", "line 1: '10,5' is not a number; numbers need a decimal point"),
        ("b.xml", "<annotations/>", "is XML .*, which is not read; write it as CSV"),
        ("b.parquet", "PAR1", "is a Parquet table"),
        ("b.txt", b"PK\x03\x04\x00\x00", "it is no text"),
    ],
)
def test_what_could_be_read_wrongly_is_named(tmp_path: Path, name: str, text: str | bytes, complaint: str) -> None:
    """With what it seems to be, and what to convert."""
    with pytest.raises(FileError, match=complaint):
        read_boxes(written(tmp_path, name, text))


PIECES = [
    *("1", "2", "-1", "0.5", "1e400", "nan", "", "x", "a.jpg", "1.5", "frame", "image", "x1", "y1", "x2", "y2"),
    *("left", "top", "width", "height", "id", "class_id", "bbox", "boxes", "annotations", "images", "file_name"),
    *(",", ";", "\t", " ", "\n", "\r\n", '"', "'", "{", "}", "[", "]", ":", "null", "\ufeff", "\u2028", "\0", "#"),
    *("1,1,1,2,3,4,1,1,1\n", '{"frame": 1, "boxes": [[1, 2, 3, 4]]}\n', "frame,x1,y1,x2,y2\n", "9" * 400, "[" * 5000),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=30),
    name=st.sampled_from(["b.txt", "gt.txt", "b.csv", "b.json", "b.jsonl"]),
    use=st.sampled_from([None, *Use]),
)
def test_whatever_is_in_a_file_is_a_table_or_an_error_with_its_name(
    tmp_path: Path, pieces: list[str], name: str, use: Use | None
) -> None:
    """Never another exception, which would be a traceback; and tables hold what sessions take."""
    path = written(tmp_path, name, "".join(pieces))
    try:
        table = read_boxes(path, use=use)
    except FileError as error:
        said = str(error)
        assert name in said
        return
    for boxes in table.frames.values():
        assert boxes.xyxy.shape == (len(boxes.track_ids), 4)
        assert boxes.xyxy.dtype == np.float32


def test_a_folder_of_labels_is_named(tmp_path: Path) -> None:
    """As detectors leave it; any other folder is a folder."""
    with pytest.raises(FileError, match="is a folder; --boxes needs a file"):
        read_boxes(tmp_path)
    written(tmp_path, "a.txt", "0 0.5 0.5 0.1 0.2\n")
    with pytest.raises(FileError, match="is a folder of YOLO labels, it seems"):
        read_boxes(tmp_path)


def test_options_of_ground_truth_need_it(tmp_path: Path) -> None:
    """Where a file has neither flags nor visibility, they would be ignored."""
    path = written(tmp_path, "b.csv", "frame,x1,y1,x2,y2\n1,1,2,3,4\n")
    with pytest.raises(FileError, match="--use gt needs MOTChallenge ground truth"):
        read_boxes(path, use=Use.GT)
    with pytest.raises(FileError, match="--min-visibility needs MOTChallenge ground truth"):
        read_boxes(path, min_visibility=0.5)


def test_a_csv_without_a_header_is_motchallenge_text(tmp_path: Path) -> None:
    """Also with exponents, which have a letter."""
    boxes = read_boxes(written(tmp_path, "d.csv", "1,-1,1e1,2,3,4,0.5\n"))
    assert boxes.frames[1].xyxy.tolist() == [[10, 2, 13, 6]]


def test_json_lines(tmp_path: Path) -> None:
    """A line per frame; blank lines, missing and empty frames are no trouble."""
    text = (
        '{"frame": 1, "boxes": [[1, 2, 3, 4]], "track_ids": [9], "class_ids": [0]}\n\n'
        '{"frame": 2, "boxes": [[1, 2, 3, 4]], "format": "ltwh"}\n'
        '{"image": "c.jpg", "boxes": []}\n'
    )
    boxes = read_boxes(written(tmp_path, "b.jsonl", text))
    assert boxes.frames[1].track_ids.tolist() == [9]
    assert boxes.frames[2].xyxy.tolist() == [[1, 2, 4, 6]]
    assert boxes.frames["c.jpg"].xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("b.txt", "1,2,3\n", r"b\.txt has 3 columns; expected frame,id,left"),
        ("b.txt", "1,-1,a,2,3,4\n", r"b\.txt cannot be read"),
        ("b.csv", "frame,x1,y1\n", "needs columns frame or image, and x1,y1,x2,y2 or left"),
        ("b.csv", "frame,x1,y1,x2,y2\n1,1,2,3,four\n", r"b\.csv, line 2: could not convert"),
        ("b.csv", "frame,x1,y1,x2,y2\n1,1,2\n", r"b\.csv, line 2"),
        ("b.csv", "frame,x1,y1,x2,y2,class_id\n1,1,2,3,4,\n1,1,2,3,4,5\n", "1 class_ids for 2 boxes"),
        ("b.jsonl", "{}\n", r"b\.jsonl, line 1: KeyError\('image'\); expected"),
        ("b.jsonl", '{"frame": 1}\n', "KeyError"),
        ("b.jsonl", "[1]\n", "TypeError"),
        ("b.jsonl", "nonsense\n", "JSONDecodeError"),
        ("b.jsonl", '{"frame": 1, "boxes": [[1, 2]]}\n', r"frame 1: boxes must be .* not shape \(1, 2\)"),
        ("b.jsonl", '{"frame": 1, "boxes": [], "track_ids": [1]}\n', "1 track_ids for 0 boxes"),
        ("b.jsonl", '{"frame": 1, "boxes": []}\n' * 2, "has frame 1 twice"),
        ("b.jsonl", "\udcff", "cannot be read"),
    ],
)
def test_a_boxes_file_that_is_wrong_says_where(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    """The file, the line or frame, and what was expected."""
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileError, match=complaint):
        read_boxes(path)
