"""A short pair of clips, drawn once, and answers as a server with a perfect model would give them."""

from __future__ import annotations

import numpy as np
import pytest

from demo.clips import Clip, draw_clips
from reidstream_client import AgreedModel, FrameEmbeddings, ModelEmbeddings, Outcome, Timing

FRAMES = 8
DIM = 16
MODEL = AgreedModel(name="perfect", version="0", dim=DIM, space_id="1:" + 64 * "0")

Answers = tuple[list[FrameEmbeddings], list[FrameEmbeddings]]


@pytest.fixture(scope="session")
def clips() -> tuple[Clip, Clip]:
    return draw_clips(0, FRAMES, lambda: None)


@pytest.fixture
def answers(clips: tuple[Clip, Clip]) -> Answers:
    """One answer per shot, fresh: the vector of person p is the p-th unit vector."""
    first, second = clips
    return [_answer(shot.people) for shot in first.shots], [_answer(shot.people) for shot in second.shots]


def _answer(people: tuple[int, ...]) -> FrameEmbeddings:
    embeddings = np.eye(DIM, dtype=np.float32)[list(people)]
    valid = np.ones(len(people), np.bool_)
    return FrameEmbeddings(
        frame_id=0,
        outcomes=(Outcome.EMBEDDED,) * len(people),
        valid=valid,
        quality=np.ones(len(people), np.float32),
        source_frame_ids=np.zeros(len(people), np.uint64),
        source_ages_s=np.zeros(len(people)),
        blocks=(ModelEmbeddings(model=MODEL, embeddings=embeddings, valid=valid),),
        timing=Timing(decoded_s=0.002, first_batch_started_s=0.003, last_batch_ended_s=0.010, sent_s=0.011),
    )
