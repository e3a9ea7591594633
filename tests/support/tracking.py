"""Sessions with tracks on a real socket, and what was asked of the engine and the stager meanwhile.

Each frame has a picture of its own, and the fake engine's row is a hash of it. So a row that was computed again, or
that is another frame's, differs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_engines.image import Image
from reidstream_engines.protocol import Crop
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer, operators_port, running_server
from reidstream_server.loading import Engines
from tests.support.harness import RawStream, encode, picture, settings, stream_to
from tests.support.patience import HANG_S

WIDTH, HEIGHT = 64, 48
DIM = 32

EMBEDDED, CACHED = frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_CACHED
SOURCE_LOST, FAILED = frame_pb2.OUTCOME_SOURCE_LOST, frame_pb2.OUTCOME_FAILED

ONCE = session_pb2.TrackOptions(timeout_ms=3_600_000, once=session_pb2.EmbedOnce())
"""Only the first box of a track is embedded, and no track times out."""


@dataclass(slots=True)
class Work:
    """What the engine and the stager were asked for."""

    crops: int = 0
    pictures: int = 0
    poisoned: set[float] = field(default_factory=set)

    def poison(self, crop: Crop) -> bool:
        """Counts the crop; true if its box begins at a poisoned column."""
        self.crops += 1
        return getattr(getattr(crop, "box", None), "x1", None) in self.poisoned

    def refuse(self, image: Image) -> bool:
        """Counts the picture."""
        del image
        self.pictures += 1
        return False


@asynccontextmanager
async def watched(
    work: Work, engines: Sequence[FakeEngine] | None = None, **changes: object
) -> AsyncIterator[RunningServer]:
    """A running server with a fake engine that counts; `changes` of its settings."""
    chosen = engines or (FakeEngine(script=FakeScript(poison=work.poison)),)
    config = settings(**changes)
    with operators_port(config) as operators:
        loaded = Engines(engines=tuple(chosen), stager=FakeStager(refuse=work.refuse))
        async with running_server(config, loaded, operators) as server:
            work.crops = work.pictures = 0  # of the warm-up
            yield server


def tracked(x1: float, track_id: int | None, *, width: float = 10, class_id: int | None = None) -> image_pb2.Box:
    """A box that is wide enough to be cut, of a track."""
    box = image_pb2.Box(rect=image_pb2.Rect(x1=x1, y1=2, x2=x1 + width, y2=40))
    if track_id is not None:
        box.track_id = track_id
    if class_id is not None:
        box.class_id = class_id
    return box


def pixels(seed: int) -> bytes:
    """Of a picture of its own, BGR."""
    return np.random.default_rng(seed).integers(0, 256, HEIGHT * WIDTH * 3, dtype=np.uint8).tobytes()


def raw(seed: int) -> image_pb2.RawImage:
    """The same as a raw image."""
    return image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=WIDTH, height=HEIGHT, data=pixels(seed))


def jpeg(seed: int) -> bytes:
    """A compressed picture of its own."""
    return encode(picture(WIDTH, HEIGHT, seed=seed))


def frame_of(frame_id: int, *boxes: image_pb2.Box, age_ns: int = 0) -> service_pb2.EmbedStreamRequest:
    """A frame with raw pixels of its own."""
    message = frame_pb2.Frame(frame_id=frame_id, raw=raw(frame_id), boxes=boxes, age_ns=age_ns)
    return service_pb2.EmbedStreamRequest(frame=message)


def end_tracks(*track_ids: int) -> service_pb2.EmbedStreamRequest:
    """EndTracks."""
    return service_pb2.EmbedStreamRequest(end_tracks=session_pb2.EndTracks(track_ids=track_ids))


def row(result: frame_pb2.FrameResult, index: int) -> bytes:
    """The row of a box, as it is on the wire."""
    box = result.boxes[index]
    assert box.HasField("row"), frame_pb2.Outcome.Name(box.outcome)
    block = result.blocks[box.block]
    size = len(block.data) // block.count
    return block.data[box.row * size : (box.row + 1) * size]


def outcomes(result: frame_pb2.FrameResult) -> list[int]:
    """Of each box."""
    assert not result.HasField("error"), result.error
    return [box.outcome for box in result.boxes]


@dataclass(slots=True)
class Tracker:
    """A stream whose answers are read one at a time. `session_id`: resumes a session."""

    stream: RawStream
    options: session_pb2.TrackOptions
    fields: dict[str, object]

    async def open(self) -> session_pb2.SessionOpened:
        """Open it."""
        return await self.stream.open(track_options=self.options, **self.fields)

    async def send(self, *messages: service_pb2.EmbedStreamRequest) -> None:
        """Frames, and ends of tracks."""
        for message in messages:
            await self.stream.call.write(message)

    async def ask(self, message: service_pb2.EmbedStreamRequest) -> frame_pb2.FrameResult:
        """A frame, and its answer."""
        await self.send(message)
        return await self.stream.result()

    async def ended(self) -> session_pb2.TrackEnded:
        """The next message, which must be the end of a track."""
        async with asyncio.timeout(HANG_S):
            answer = await self.stream.read()
        assert answer is not None
        assert answer.HasField("track_ended"), answer
        return answer.track_ended

    async def rest(self) -> list[service_pb2.EmbedStreamResponse]:
        """All that comes until the stream is over."""
        found = []
        while (answer := await self.stream.read()) is not None:
            found.append(answer)
        return found


@asynccontextmanager
async def tracker(
    server: RunningServer, options: session_pb2.TrackOptions | None = None, **fields: object
) -> AsyncIterator[Tracker]:
    """A session with tracks, open; fields of EmbedOptions and of SessionOpen by name."""
    async with stream_to(server) as stream:
        session = Tracker(stream, ONCE if options is None else options, {"session_id": os.urandom(16)} | fields)
        await session.open()
        yield session
