"""Which boxes belong to which frame: numbers out of names, and what is said of those that meet nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from reidstream_client import FileError
from reidstream_client.cli.sources import Source, SourceOptions, open_source
from reidstream_client.cli.sources.numbering import number_files


def images(folder: Path, names: Sequence[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def boxes_file(folder: Path, numbers: Sequence[int]) -> Path:
    """One box for each frame, whose left is the frame's number."""
    path = folder / "tracks.txt"
    path.write_text("".join(f"{number},1,{number},2,30,40,0.9,-1,-1,-1\n" for number in numbers))
    return path


def opened(folder: Path, boxes: Path, first_frame: int | None = None) -> Source:
    return open_source(folder, SourceOptions(boxes=boxes, first_frame=first_frame))


def met(source: Source) -> dict[str, int]:
    """Each frame's name, and the number of the frame whose box it was given."""
    return {frame.name: int(frame.boxes.xyxy[0, 0]) for frame in source if len(frame.boxes.xyxy)}


def lines(source: Source) -> list[str]:
    assert source.pairing is not None
    return source.pairing.lines()


@pytest.mark.parametrize(
    "name",
    ["frame{}.jpg", "{}.jpg", "{:06}.png", "cam2_frame_{:06}.jpg", "IMG-{} .jpg", "2024-11-29 cam 7 - {}.webp"],
)
def test_a_frames_number_is_the_last_one_in_its_name(tmp_path: Path, name: str) -> None:
    """Each of twelve frames gets its own box, where sorting as text would give eleven of them another's."""
    folder = images(tmp_path / "images", [name.format(number) for number in range(1, 13)])
    found = met(opened(folder, boxes_file(tmp_path, range(1, 13))))
    assert found == {name.format(number): number for number in range(1, 13)}
    assert list(found.values()) == list(range(1, 13))


def test_a_missing_frame_shifts_no_other(tmp_path: Path) -> None:
    """Its boxes are counted at the end."""
    numbers = [1, 2, 4, 5]
    source = opened(
        images(tmp_path / "i", [f"frame_{n:06}.jpg" for n in numbers]), boxes_file(tmp_path, [1, 2, 3, 4, 6])
    )
    assert met(source) == {"frame_000001.jpg": 1, "frame_000002.jpg": 2, "frame_000004.jpg": 4}
    assert lines(source) == ["boxes without a frame: 2 (of frames 3, 6)", "frames without boxes: 1 of 4 (5)"]


def test_hidden_files_are_no_frames(tmp_path: Path) -> None:
    """What a Mac leaves beside each file on a foreign disk, and what Windows leaves in a folder."""
    folder = images(tmp_path / "i", ["000001.jpg", "._000001.jpg", ".hidden.png", "Thumbs.db", "000002.jpg"])
    assert met(opened(folder, boxes_file(tmp_path, [1, 2]))) == {"000001.jpg": 1, "000002.jpg": 2}


def test_names_without_numbers_are_numbered_by_their_place(tmp_path: Path) -> None:
    """From 1; from 0 where the boxes have a frame 0, which can mean nothing else; from what the user says."""
    folder = images(tmp_path / "i", ["a.jpg", "b.jpg", "c.jpg"])
    assert met(opened(folder, boxes_file(tmp_path, [1, 2, 3]))) == {"a.jpg": 1, "b.jpg": 2, "c.jpg": 3}
    assert met(opened(folder, boxes_file(tmp_path, [0, 1, 2]))) == {"a.jpg": 0, "b.jpg": 1, "c.jpg": 2}
    assert met(opened(folder, boxes_file(tmp_path, [51, 52, 53]), 51)) == {"a.jpg": 51, "b.jpg": 52, "c.jpg": 53}


@pytest.mark.parametrize(
    ("names", "blame"),
    [
        (["000001.jpg", "000002.jpg", "cover.jpg"], "000001.jpg has a number and cover.jpg has none"),
        (["cam1_1.jpg", "cam2_1.jpg", "cam2_2.jpg"], "cam1_1.jpg and cam2_1.jpg have the same number"),
        (["9.jpg", "09.jpg"], "09.jpg and 9.jpg have the same number"),
    ],
)
def test_names_that_do_not_number_the_frames_are_refused_beside_numbered_boxes(
    tmp_path: Path, names: list[str], blame: str
) -> None:
    """Which image is frame 1? Only luck would tell. Boxes that name their images, and whole images, are no trouble."""
    folder = images(tmp_path / "i", names)
    with pytest.raises(FileError, match=f"is frame 1 of .*tracks.txt. {blame}; rename"):
        opened(folder, boxes_file(tmp_path, [1, 2]))
    named = tmp_path / "named.csv"
    named.write_text(f"image,x1,y1,x2,y2\n{names[1]},7,2,30,40\n")
    assert met(opened(folder, named)) == {names[1]: 7}
    assert len(list(open_source(folder, SourceOptions()))) == len(names)


@pytest.mark.parametrize(("first_image", "first_box"), [(0, 1), (1, 0)])
def test_frames_from_0_beside_boxes_from_1_need_a_word(tmp_path: Path, first_image: int, first_box: int) -> None:
    """All but one would meet a box, and all a wrong one. `--first-frame` decides, either way."""
    folder = images(tmp_path / "i", [f"frame{first_image + n}.jpg" for n in range(5)])
    boxes = boxes_file(tmp_path, [first_box + n for n in range(5)])
    with pytest.raises(FileError, match=f"give --first-frame {first_box} if both begin with the same frame"):
        opened(folder, boxes)
    begin_alike = {f"frame{first_image + n}.jpg": first_box + n for n in range(5)}
    assert met(opened(folder, boxes, first_box)) == begin_alike
    assert len(met(opened(folder, boxes, first_image))) == 4


def test_a_frame_0_that_is_merely_without_boxes_needs_no_word(tmp_path: Path) -> None:
    """The ends fit as they are."""
    folder = images(tmp_path / "i", [f"{n}.jpg" for n in range(5)])
    assert len(met(opened(folder, boxes_file(tmp_path, [1, 2, 4])))) == 3


@pytest.mark.parametrize(
    ("boxes", "first_frame", "expected"),
    [
        ([1, 3, 6], None, {"frame 1": 1, "frame 3": 3, "frame 6": 6}),
        ([0, 2], None, {"frame 0": 0, "frame 2": 2}),
        ([101, 103], 101, {"frame 101": 101, "frame 103": 103}),
    ],
)
def test_a_videos_frames_begin_where_the_boxes_do(
    *, clip: Path, tmp_path: Path, boxes: list[int], first_frame: int | None, expected: dict[str, int]
) -> None:
    """At 1, at 0 where the boxes have a frame 0, or where the user says."""
    assert met(opened(clip, boxes_file(tmp_path, boxes), first_frame)) == expected


def test_boxes_beyond_the_end_of_a_video_are_counted(clip: Path, tmp_path: Path) -> None:
    """Two runs of numbers, as people write them; frames without boxes too."""
    source = opened(clip, boxes_file(tmp_path, [5, 6, 7, 8, 9, 12]))
    assert met(source) == {"frame 5": 5, "frame 6": 6}
    assert lines(source) == [
        "boxes without a frame: 4 (of frames 7 to 9, 12)",
        "frames without boxes: 4 of 6 (1 to 4)",
    ]


def test_no_pair_at_all_is_an_error_that_shows_both_numberings(clip: Path, tmp_path: Path) -> None:
    """Of a folder before anything is sent, of a video at its end."""
    folder = images(tmp_path / "i", ["f5.jpg", "f6.jpg"])
    with pytest.raises(FileError, match=r"its frames are 51, 52, .* are 5 \(f5\.jpg\) to 6 \(f6\.jpg\)"):
        opened(folder, boxes_file(tmp_path, [51, 52]))
    source = opened(clip, boxes_file(tmp_path, [51, 52]))
    with pytest.raises(FileError, match="its frames are 51, 52, those of the source are 1 to 6; --first-frame N says"):
        list(source)


def test_a_file_without_any_box_is_an_error_that_says_why(tmp_path: Path) -> None:
    """An empty one, and one whose rows are all left out."""
    folder = images(tmp_path / "i", ["1.jpg"])
    with pytest.raises(FileError, match=r"tracks\.txt has no boxes$"):
        opened(folder, boxes_file(tmp_path, []))
    other = tmp_path / "gt.txt"
    other.write_text("1,1,1,2,3,4,1,7,1\n")
    with pytest.raises(FileError, match=r"has no boxes \(.*1 of 1 rows are left out.*--use det takes all rows\)"):
        opened(folder, other)


def test_a_source_that_was_not_read_to_its_end_does_not_judge(tmp_path: Path) -> None:
    """The frames of the other boxes may yet have come."""
    source = opened(images(tmp_path / "i", ["1.jpg", "2.jpg"]), boxes_file(tmp_path, [1, 2]))
    next(iter(source))
    assert lines(source) == []


@pytest.mark.parametrize(
    ("names", "numbers", "by_place"),
    [
        (["b10.jpg", "b9.jpg"], [9, 10], False),
        (["x.jpg", "B2.jpg", "a10.jpg", "a9.jpg"], [0, 1, 2, 3], True),
        (["1305031102.175304.png", "1305031102.211214.png"], [0, 1], True),
        (["99999999999999999999.jpg"], [0], True),
    ],
)
def test_the_order_is_the_one_in_which_people_count(names: list[str], numbers: list[int], by_place: bool) -> None:  # noqa: FBT001
    """Times with a fraction, and numbers that no output can hold, are no frame numbers."""
    found = number_files([Path(name) for name in names])
    assert (list(found.files), found.by_place) == (numbers, by_place)
    assert [path.name for path in found.files.values()] == {
        "b10.jpg": ["b9.jpg", "b10.jpg"],
        "x.jpg": ["a9.jpg", "a10.jpg", "B2.jpg", "x.jpg"],
    }.get(names[0], names)
