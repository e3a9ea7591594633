"""A drawn picture through the server: as JPEG over a stream, raw by a single call.

Why both: they are the two ways in, and the two ways to decode. One frame follows the other's answer, so the times are
those of a frame that waits for no other. The raw one is last: on a slow line it would be in the way of the others.
What does not fit is found by the client's own rules and is not sent. Trap: the stream asks what the server thinks of it
while it is open, since a session that is over is forgotten.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from reidstream_client.admin import OpenSession
from reidstream_client.aio import AsyncReidClient
from reidstream_client.cli.doctor.seen import Answer, Frames
from reidstream_client.connection.within import within
from reidstream_client.errors import CallTimeout, FrameTooLarge, ReidError, SessionEnded
from reidstream_client.frames.framing import check_message_size, prepare
from reidstream_client.models import Limits
from reidstream_client.options import DEFAULT_MAX_MESSAGE_BYTES, FrameInput
from reidstream_client.session.opening import SessionInfo
from reidstream_client.types import FrameEmbeddings

from .calls import answer_of, ask_sessions
from .picture import boxes_in, jpeg, pixels

FRAMES: Final = 8
CAMERA: Final = "reidstream-doctor"


async def try_frames(client: AsyncReidClient, limits: Limits, size: tuple[int, int], timeout_s: float) -> Frames:
    """The stream and the call have `timeout_s` each."""
    boxes = boxes_in(*size)
    raw, file = (FrameInput(image=image, boxes=boxes) for image in (pixels(*size), jpeg(*size)))
    too_large = _too_large(raw, limits)
    streamed = _Stream(client, timeout_s)
    await streamed.run(file)
    sent = file if too_large else raw
    embed = await answer_of(client.embed(sent.image, boxes), timeout_s)
    return Frames(
        raw_bytes=_message_bytes(raw),
        too_large=too_large,
        embed=embed,
        embed_bytes=_message_bytes(sent),
        opened=streamed.opened,
        answers=tuple(streamed.answers),
        broken=streamed.broken,
        own=streamed.own,
    )


def _message_bytes(given: FrameInput) -> int:
    return prepare(given, frame_id=0, captured_s=time.monotonic()).max_bytes


def _too_large(given: FrameInput, limits: Limits) -> str:
    """Why the frame would not be read, in the client's own words; "" if it would."""
    frame = prepare(given, frame_id=0, captured_s=time.monotonic())
    try:
        check_message_size(frame, min(limits.max_message_bytes or frame.max_bytes, DEFAULT_MAX_MESSAGE_BYTES))
    except FrameTooLarge as error:
        return str(error)
    return ""


class _Stream:
    """One session, and whatever came of it before it broke."""

    def __init__(self, client: AsyncReidClient, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self.opened: Answer[SessionInfo] | None = None
        self.answers: list[FrameEmbeddings] = []
        self.broken: ReidError | None = None
        self.own: OpenSession | None = None

    async def run(self, given: FrameInput) -> None:
        try:
            await within(2 * self._timeout_s, self._run(given))
        except asyncio.TimeoutError:
            self._ended(CallTimeout(f"the frames were not answered within {self._timeout_s:g} s"))
        except ReidError as error:
            self._ended(error.with_traceback(None))
        except StopAsyncIteration:
            self._ended(SessionEnded("the server has ended the session"))

    async def _run(self, given: FrameInput) -> None:
        async with self._client.stream(camera_id=CAMERA, answer_timeout_s=self._timeout_s) as session:
            self.opened = session.opened
            for _ in range(FRAMES):
                await session.send(given.image, given.boxes)
                self.answers.append(await anext(session))
            sessions, _ = await ask_sessions(self._client, self._timeout_s)
            if not isinstance(sessions, ReidError):
                ours = (one for one in reversed(sessions.sessions) if one.camera_id == CAMERA)
                self.own = next(ours, None)

    def _ended(self, error: ReidError) -> None:
        if self.opened is None:
            self.opened = error
        else:
            self.broken = error
