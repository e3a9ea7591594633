"""Both clips through the real client at the same time, one session for each camera, as fast as possible.

Why a small window: with many unanswered frames, the latency would only show how long the queue is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from reidstream_client import AsyncReidClient, FrameEmbeddings, ModelInfo

from .clips import Clip

WINDOW_FRAMES = 4


class StreamFailed(Exception):
    """A frame was answered with an error. The demonstration ends then, instead of showing less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """All answers, one for each shot of each clip, in order; `elapsed_s` from the first frame to the last answer."""

    answers: tuple[tuple[FrameEmbeddings, ...], tuple[FrameEmbeddings, ...]]
    model: ModelInfo
    elapsed_s: float


def stream_clips(target: str, clips: tuple[Clip, Clip], on_answer: Callable[[], object]) -> Run:
    """Stream both clips to the server at "host:port". Raises ReidError and StreamFailed."""
    return asyncio.run(_stream(target, clips, on_answer))


async def _stream(target: str, clips: tuple[Clip, Clip], on_answer: Callable[[], object]) -> Run:
    async with AsyncReidClient(target) as client:
        model = await client.info()
        start = time.monotonic()
        jobs = [asyncio.create_task(_camera(client, clip, on_answer)) for clip in clips]
        try:
            first, second = await asyncio.gather(*jobs)
        finally:  # one that failed must not leave the other behind
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
        return Run(answers=(first, second), model=model, elapsed_s=time.monotonic() - start)


async def _camera(client: AsyncReidClient, clip: Clip, on_answer: Callable[[], object]) -> tuple[FrameEmbeddings, ...]:
    answers: list[FrameEmbeddings] = []

    def take(answer: FrameEmbeddings) -> None:
        if answer.error is not None:
            raise StreamFailed(f"camera {clip.name}, frame {answer.frame_id}: {answer.error.message}")
        answers.append(answer)
        on_answer()

    async with client.stream(camera_id=f"demo-{clip.name.lower()}", window_frames=WINDOW_FRAMES) as session:
        for shot in clip.shots:
            await session.send(shot.jpeg, shot.boxes)
            for answer in session.take():
                take(answer)
        await session.finish()
        async for answer in session:
            take(answer)
    return tuple(answers)
