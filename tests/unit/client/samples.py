"""What the tests of this folder send, and how they collect what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np
import numpy.typing as npt
from typing_extensions import Unpack

from reidstream_client import AsyncSession, FrameEmbeddings, FrameInput, FrameOptions, ReidError, RetryPolicy
from reidstream_client.frames import framing
from reidstream_client.frames.images import Image
from tests.unit.client.scripted_server import ServerStream

IMAGE = np.zeros((20, 30, 3), np.uint8)
BOX = [[1, 2, 3, 4]]
BOXES = [[1, 2, 3, 4], [5, 6, 7, 8]]
ONCE = RetryPolicy(attempts=1)

Script = Callable[[ServerStream], Awaitable[None]]


async def collect(session: AsyncSession) -> tuple[list[FrameEmbeddings], ReidError | None]:
    """Iterate to the end; what came, and what ended it."""
    answers: list[FrameEmbeddings] = []
    try:
        async for answer in session:
            answers.append(answer)  # noqa: PERF401 - those before an error count
    except ReidError as error:
        return answers, error
    return answers, None


def frame_ids(answers: list[FrameEmbeddings]) -> list[int]:
    return [answer.frame_id for answer in answers]


def prepare(
    image: Image, boxes: npt.ArrayLike | None, *, captured_s: float, **options: Unpack[FrameOptions]
) -> framing.PreparedFrame:
    """A frame, ready to go."""
    given = FrameInput(image=image, boxes=boxes, **options)
    return framing.prepare(given, frame_id=given.frame_id or 0, captured_s=captured_s)
