"""The picture and the words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.clips import Clip
from demo.identify import identify
from demo.lettering import text_width, write
from demo.picture import HEIGHT, WIDTH, compose, save
from demo.report import matches, performance
from demo.streaming import Run
from reidstream_client import (
    EngineInfo,
    FrameEmbeddings,
    InputSpec,
    Limits,
    ModelInfo,
    ModelSummary,
    OutputSpec,
    Timing,
)

Answers = tuple[list[FrameEmbeddings], list[FrameEmbeddings]]


def greens_and_reds(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> tuple[int, int]:
    """Pixels of exactly the colours that right and wrong matches are framed in."""
    green = (picture == np.array((112, 200, 96), np.uint8)).all(axis=2)
    red = (picture == np.array((92, 84, 226), np.uint8)).all(axis=2)
    return int(green.sum()), int(red.sum())


def test_the_picture_is_written_with_the_promised_size(
    clips: tuple[Clip, Clip], answers: Answers, tmp_path: Path
) -> None:
    """A PNG of 1600 x 1944 appears in a folder that was not there, and nothing else does."""
    path = tmp_path / "new" / "matches.png"
    save(path, compose(clips, identify(clips, answers)))
    written = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert written is not None
    assert written.shape == (HEIGHT, WIDTH, 3)
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_match_is_framed_in_red(clips: tuple[Clip, Clip], answers: Answers) -> None:
    """The chosen match has the thick frame: green frames lose pixels, red ones gain them, when vectors are swapped."""
    green, red = greens_and_reds(compose(clips, identify(clips, answers)))
    for answer in answers[1]:
        answer.embeddings[...] = np.roll(answer.embeddings, 1, axis=1)
    wrong_green, wrong_red = greens_and_reds(compose(clips, identify(clips, answers)))
    assert wrong_green < green
    assert wrong_red > red


def test_a_picture_can_be_replaced(tmp_path: Path) -> None:
    """Saving twice leaves the second picture."""
    path = tmp_path / "matches.png"
    for level in (10, 200):
        save(path, np.full((4, 4, 3), level, np.uint8))
    written = cv2.imread(str(path))
    assert written is not None
    assert (written == 200).all()


def test_text_goes_where_it_is_told() -> None:
    """Letters stand on the baseline, as high as asked and as wide as foretold."""
    picture = np.zeros((60, 300, 3), np.uint8)
    end = write(picture, "HELLO", (20, 40), 16, (255, 255, 255))
    ys, xs = np.nonzero(picture.any(axis=2))
    assert end == 20 + text_width("HELLO", 16)
    assert ys.max() == pytest.approx(40, abs=2)
    assert ys.min() == pytest.approx(24, abs=3)
    assert xs.min() >= 18
    assert xs.max() <= end + 2


def test_text_beyond_the_edge_is_cut_off() -> None:
    """Writing half outside, or wholly outside, changes what is inside only, and raises nothing."""
    picture = np.zeros((30, 30, 3), np.uint8)
    write(picture, "wide words", (-8, 20), 14, (255, 255, 255))
    assert picture.any()
    before = picture.copy()
    write(picture, "far away", (500, 500), 14, (255, 255, 255))
    np.testing.assert_array_equal(picture, before)


def test_the_report_has_every_stage_in_milliseconds(clips: tuple[Clip, Clip], answers: Answers) -> None:
    """Percentiles of each stage, throughput by the elapsed time; a stage that nobody timed has no line."""
    run = Run(answers=(tuple(answers[0]), tuple(answers[1])), model=_model(), elapsed_s=2.0)
    lines = performance(run, clips).splitlines()
    stages = {line.split()[0]: line.split()[1:4] for line in lines if line.startswith("  ")}
    assert stages == {
        "decode": ["2.0", "2.0", "2.0"],
        "queue": ["1.0", "1.0", "1.0"],
        "infer": ["7.0", "7.0", "7.0"],
        "reply": ["1.0", "1.0", "1.0"],
        "server": ["11.0", "11.0", "11.0"],
    }
    assert any("throughput  8 frames/s" in line for line in lines)


def test_a_round_trip_adds_the_cameras_own_lines(clips: tuple[Clip, Clip], answers: Answers) -> None:
    """What the client measured stands beside the server's times."""
    timing = Timing(sent_s=0.010, round_trip_s=0.014)
    first, second = ([replace(answer, timing=timing) for answer in camera] for camera in answers)
    report = performance(Run(answers=(tuple(first), tuple(second)), model=_model(), elapsed_s=1.0), clips)
    lines = {line.split()[0]: line.split()[1] for line in report.splitlines() if line.startswith("  ")}
    assert lines == {"server": "10.0", "network": "4.0", "total": "14.0"}


def test_the_report_names_wrong_pairs(clips: tuple[Clip, Clip], answers: Answers) -> None:
    """Right pairs are listed plainly, wrong ones are said to be wrong, and chance stands beside the score."""
    assert "(wrong)" not in matches(identify(clips, answers), clips).split("pairs")[0]
    for answer in answers[1]:
        answer.embeddings[...] = np.roll(answer.embeddings, 1, axis=1)
    words = matches(identify(clips, answers), clips)
    assert "(wrong)" in words
    assert "rank-1      0% of" in words
    assert "guessing: 1" in words


def _model() -> ModelInfo:
    return ModelInfo(
        model=ModelSummary(name="perfect", version="0", space_id="1:0", dim=16, is_default=True, ready=True),
        profile="none",
        input=InputSpec(
            name="input",
            width=1,
            height=1,
            color_order="rgb",
            resize="opencv_bilinear",
            fit="stretch",
            crop_rule="exact",
            scale=1.0,
            mean=(0.0,),
            std=(1.0,),
        ),
        output=OutputSpec(name="output", dim=16, l2_normalize=True),
        engine=EngineInfo(engine="fake", device="cpu", precision="fp32", fallback_reason="", max_batch=1),
        artifact_sha256="",
        limits=Limits(
            max_message_bytes=1,
            max_image_pixels=1,
            max_boxes_per_frame=1,
            min_box_px=1,
            max_window_frames=1,
            max_window_bytes=1,
            max_queue_boxes=1,
            max_queue_bytes=1,
            max_staged_bytes=1,
            max_answer_bytes=1,
            max_sessions=1,
            max_shared_memory_bytes=0,
        ),
    )
