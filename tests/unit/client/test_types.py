"""How answers, frames and what was agreed look where they are printed: short, and worth reading."""

from __future__ import annotations

from dataclasses import replace

import grpc
import numpy as np

from reidstream_client import (
    AsyncReidClient,
    Crops,
    ErrorReason,
    FrameEmbeddings,
    FrameFailure,
    FrameInput,
    ModelEmbeddings,
    Nv12,
    Outcome,
    PixelFormat,
    RawFrame,
    ReidClient,
    Timing,
)
from reidstream_client.models import AgreedModel
from tests.unit.client.samples import BOXES
from tests.unit.client.scripted_server import SPACE, ScriptedServer

MANY = 5000
MODEL = AgreedModel(name="osnet", version="0123456789ab", dim=512, space_id=SPACE)
SHORT = 400
"""Characters."""


def answer(**changes: object) -> FrameEmbeddings:
    valid = np.arange(MANY) % 2 == 0
    block = ModelEmbeddings(model=MODEL, embeddings=np.ones((MANY, 512), np.float32), valid=valid)
    made = FrameEmbeddings(
        frame_id=7,
        outcomes=(Outcome.EMBEDDED, Outcome.TOO_SMALL) * (MANY // 2),
        valid=valid,
        quality=np.ones(MANY, np.float32),
        source_frame_ids=np.full(MANY, 7, np.uint64),
        source_ages_s=np.zeros(MANY),
        blocks=(block,),
        timing=Timing(round_trip_s=0.0123456),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_answer_says_which_frame_and_what_became_of_its_boxes() -> None:
    """Not its numbers, of which there are two million here."""
    assert repr(answer()) == (
        "FrameEmbeddings(frame_id=7, boxes=5000, outcomes='2500 EMBEDDED, 2500 TOO_SMALL', "
        "embeddings='osnet (5000, 512)', round_trip_s=0.01235)"
    )
    assert repr(answer().blocks[0]) == "ModelEmbeddings(model='osnet', boxes=5000, valid=2500, dim=512)"


def test_an_answer_without_vectors_says_why() -> None:
    """With the beginning of a message that may be long."""
    failure = FrameFailure(
        code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason=ErrorReason.DROPPED, message="a newer frame " + "x" * 9999
    )
    shown = repr(answer(error=failure, local=True, timing=Timing()))
    assert "error='DROPPED: a newer frame xxx" in shown
    assert shown.endswith("...', local=True)")
    assert len(shown) <= SHORT


def test_an_answer_of_many_models_stays_short() -> None:
    """Names are the operator's, of any number and length."""
    block = answer().blocks[0]
    blocks = (replace(block, model=replace(MODEL, name="m" * 300)),) * 8
    assert len(repr(answer(blocks=blocks))) <= SHORT
    assert len(repr(blocks[0])) <= SHORT


def test_frames_do_not_print_their_pixels() -> None:
    """Nor their boxes."""
    data = bytes(4 * 4 * 3)
    boxes = np.zeros((999, 4), np.float32)
    raw = RawFrame(data=data, width=4, height=4, format=PixelFormat.BGR)
    frames = [
        FrameInput(image=data, boxes=boxes, frame_id=3),
        raw,
        Nv12(data=data[:24], width=4, height=4),
        Crops([np.zeros((200, 200, 3), np.uint8)] * 99, inner_boxes=boxes),
    ]
    assert "frame_id=3" in repr(frames[0])
    assert "width=4, height=4" in repr(raw)
    for frame in frames:
        assert len(repr(frame)) <= SHORT
        assert "\\x00" not in repr(frame)


async def test_what_a_server_says_is_short_as_well(server: ScriptedServer) -> None:
    """What was agreed, and a model; their limits are there, and are printed alone."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOXES)
        shown = [repr(await anext(session)), repr(session.opened), repr(client), repr(session.statistics())]
        assert len(repr(await client.info())) <= 2 * SHORT
    assert max(len(text) for text in shown) <= 1.5 * SHORT
    assert f"AsyncReidClient('{server.target}')" in shown


def test_clients_and_sessions_say_whose_they_are(served: ScriptedServer) -> None:
    """A server; a session and its models."""
    with ReidClient(served.target) as client, client.stream() as session:
        assert repr(client) == f"ReidClient('{served.target}')"
        assert repr(session) == f"<Session {session.opened.session_id.hex()[:8]}, epoch 0, models scripted>"
