"""`python -m tests.attacks.measuring.victim ADDRESS KIND RATE`: an honest client, measured until its stdin ends.

camera    1080p JPEGs with 8 boxes, `RATE` a second, on one stream with the policy WAIT
visitors  `RATE` clients a second that each make a connection, open a session, send a frame, and leave

Both are processes of their own: clients in one process may share a connection. On stdout comes the line `ready`, and
after the end a JSON list of attempts.

Trap: a frame counts from the moment when it was due if the one before it was still held back, else from the moment of
sending: a server that stands still may not hide the frames that nobody could send, and a victim that woke up late is
no fault of the server.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from reidstream_client import AsyncReidClient, OverloadPolicy, ReidError
from reidstream_client.session.async_session import AsyncSession
from reidstream_synthetic import make_scene

from .records import Attempt

_BOXES = 8
_WIDTH, _HEIGHT = 1920, 1080
_PATIENCE_S = 15.0
"""How long frames may still be answered when the victim is told to stop."""
_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG, and (8, 4) boxes."""

    jpeg: bytes
    boxes: npt.NDArray[np.float32]


@dataclass(slots=True)
class Victim:
    """One honest client; `attempts` is what became of it."""

    address: str
    every_s: float
    pictures: list[Picture]
    attempts: list[Attempt] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def camera(self) -> None:
        """Send until cancelled; opens another stream when one has ended."""
        async with AsyncReidClient(self.address, camera_id="victim") as client:
            while True:
                try:
                    async with client.stream(overload_policy=OverloadPolicy.WAIT) as session:
                        self.ready.set()
                        await self._stream(session)
                except ReidError as error:
                    self._give_up(str(error))
                await asyncio.sleep(_AGAIN_S)

    async def visitors(self) -> None:
        """Send visitors until cancelled; they do not wait for each other."""
        self.ready.set()
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._visit())
                await asyncio.sleep(self.every_s)

    async def _visit(self) -> None:
        attempt = Attempt(sent=time.monotonic())
        self.attempts.append(attempt)
        picture = self.pictures[0]
        try:
            async with AsyncReidClient(self.address, camera_id="visitor") as client, client.stream() as session:
                await session.send(picture.jpeg, picture.boxes)
                answer = await anext(session)
        except ReidError as error:
            attempt.problem = f"{type(error).__name__}: {error}"[:160]
            return
        if answer.error is None:
            attempt.answered = time.monotonic()
        else:
            attempt.problem = answer.error.message[:160]

    async def _stream(self, session: AsyncSession) -> None:
        open_frames: dict[int, Attempt] = {}

        async def take() -> None:
            async for answer in session:
                attempt = open_frames.pop(answer.frame_id)
                if answer.error is None:
                    attempt.answered = time.monotonic()
                else:
                    attempt.problem = answer.error.message[:160]

        taking = asyncio.create_task(take())
        try:
            due, number = time.monotonic(), 0
            while not taking.done():
                due += self.every_s
                late = due - time.monotonic()
                if late > 0:
                    await asyncio.sleep(late)
                number += 1
                attempt = Attempt(sent=time.monotonic() if late > 0 else due)
                self.attempts.append(attempt)
                open_frames[number] = attempt
                picture = self.pictures[number % len(self.pictures)]
                await session.send(picture.jpeg, picture.boxes, frame_id=number)
            await taking
        finally:
            taking.cancel()

    def _give_up(self, problem: str) -> None:
        for attempt in self.attempts:
            if attempt.answered is None and not attempt.problem:
                attempt.problem = problem[:160]


def draw() -> list[Picture]:
    """Four drawn pictures of a full square, 1080p."""
    (camera,) = make_scene(11, people=_BOXES, cameras=1, frames=40, returning=False).cameras
    pictures = []
    for drawn in list(camera)[::10]:
        pixels = cv2.resize(drawn.pixels, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
        boxes = [box * (_WIDTH / camera.width) for box in drawn.boxes.tolist() and drawn.boxes]
        boxes += [np.array([200.0 * n, 400, 200 * n + 90, 640]) for n in range(_BOXES - len(boxes))]
        jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        pictures.append(Picture(jpeg, np.array(boxes[:_BOXES], np.float32)))
    return pictures


async def run(address: str, kind: str, rate: float) -> list[Attempt]:
    """Be that victim until stdin ends."""
    victim = Victim(address, 1 / rate, draw())
    working = asyncio.create_task(victim.camera() if kind == "camera" else victim.visitors())
    await asyncio.wait({working, asyncio.create_task(victim.ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    asked = time.monotonic()
    while any(one.answered is None and not one.problem and one.sent < asked for one in victim.attempts):
        if time.monotonic() > asked + _PATIENCE_S:
            break
        await asyncio.sleep(0.05)
    working.cancel()
    return [one for one in victim.attempts if one.sent < asked]


def main() -> int:
    """The process; returns its exit code."""
    address, kind, rate = sys.argv[1:]
    attempts = asyncio.run(run(address, kind, float(rate)))
    json.dump([dataclasses.asdict(one) for one in attempts], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
