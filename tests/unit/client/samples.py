"""What the tests of this folder send, and how they collect what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np

from reidstream_client import AsyncSession, FrameEmbeddings, ReidError, RetryPolicy
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
