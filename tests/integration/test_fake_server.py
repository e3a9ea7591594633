"""The client's fake server beside the real one: the same calls have answers of equal shape, outcomes and errors.

Why: a test on a fake proves something only as long as the fake does what the server does. What an embedding is differs,
of course, and so do the words of errors.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    BoxFilter,
    ClientOptions,
    Crops,
    EmbedAtIntervals,
    EmbeddingDtype,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    EmbedPolicy,
    FrameEmbeddings,
    ModelChoice,
    Nv12,
    Ordering,
    OverloadPolicy,
    Priority,
    ReidError,
    ResumingSession,
    RetryPolicy,
    TrackEnded,
    TrackOptions,
)
from reidstream_client.testing import FakeServer
from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from tests.support.clock import Clock
from tests.support.gate import Gate
from tests.support.harness import JPEG, picture, serving, until
from tests.support.patience import HANG_S

DIM = 8
WINDOW = 4
FRAME = picture(64, 48)
BOXES = np.array([[1, 2, 30, 39], [20, 10, 50, 35]], np.float32)
ODD = np.array(
    [
        *([0, 0, 9, 9], [9, 9, 0, 0], [70, 0, 80, 9], [-9, -9, 0, 0], [0, 0, 0.2, 9], [5, 5, 5, 9], [0, 0, 0.5, 9]),
        *([0, 0, 1.5, 2.5], [-5, -5, 3, 3], [np.nan, 0, 1, 1], [0, 0, np.inf, 9], [63.6, 0, 64, 9], [0, 0, 64, 48]),
    ],
    np.float32,
)
TRACKED = [[10, 10, 60, 120], [100, 20, 160, 200], [200, 20, 260, 200]]
TRACK_POLICIES: dict[str, EmbedPolicy] = {
    "every frame": EmbedEveryFrame(),
    "3 frames": EmbedAtIntervals(frames=3),
    "250 s": EmbedAtIntervals(seconds=250),
    "once": EmbedOnce(),
    "on risk": EmbedOnRisk(max_overlap=1, max_age_s=250),
}
BOTH = [ModelChoice(name="person", class_ids=(0,)), ModelChoice(name="vehicle", class_ids=(2, 5))]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two servers."""

    connect: Callable[..., AsyncReidClient]
    drain: Callable[[], Awaitable[object]]
    clock: Clock
    silent: Callable[[], object]
    """Leave frames without an answer from now on."""
    holds: Callable[[int], Awaitable[object]]
    """So many frames are at work, and have none."""
    awake: Callable[[], object]
    """Answer them, and all others."""

    @asynccontextmanager
    async def client(self, options: ClientOptions | None = None) -> AsyncIterator[AsyncReidClient]:
        async with self.connect(**{"retry": RetryPolicy(attempts=1), **(options or {})}) as client:
            yield client


Scenario = Callable[[Side], Awaitable[object]]


def shape(answer: FrameEmbeddings) -> object:
    """Everything of an answer but the numbers that must differ."""
    timing = dataclasses.asdict(answer.timing)
    return {
        "frame_id": answer.frame_id,
        "outcomes": answer.outcomes,
        "valid": answer.valid.tolist(),
        "quality": [(value > 0, answer.quality.dtype.name) for value in answer.quality.tolist()],
        "sources": answer.source_frame_ids.tolist(),
        "ages": answer.source_ages_s.round(-1).tolist(),
        "blocks": [
            (
                *(block.model.name, block.model.dim, block.model.class_ids, len(block.model.version)),
                *(block.embeddings.shape, block.embeddings.dtype.name, block.valid.tolist()),
                np.linalg.norm(block.embeddings, axis=1).round(2).tolist(),
            )
            for block in answer.blocks
        ],
        "timing": {name: value is not None for name, value in timing.items() if name != "batch_sizes"},
        "batches": bool(answer.timing.batch_sizes),  # which frames share one is a matter of time
        "error": None if answer.error is None else (answer.error.code, answer.error.reason, answer.error.retry_after_s),
        "local": answer.local,
    }


def fault(error: ReidError) -> object:
    """What a program sees of an error."""
    return type(error), error.status, error.unanswered, getattr(error, "retry_after_s", None)


async def attempt(call: Awaitable[object]) -> object:
    try:
        return await call
    except ReidError as error:
        return fault(error)


def end_shape(end: TrackEnded) -> object:
    """Everything of a track's end but the numbers that must differ."""
    return {
        "track": (end.track_id, end.cause, end.count, end.weight > 0, end.first_frame_id, end.last_frame_id),
        "model": None if end.model is None else (end.model.name, end.model.dim, end.model.class_ids),
        "total": None if end.total is None else (end.total.shape, end.total.dtype.name),
        "vector": None if end.vector is None else (end.vector.shape, end.vector.dtype.name),
        "length": None if end.vector is None else np.linalg.norm(end.vector).round(3),
        "representatives": (end.representatives.shape, end.representatives.dtype.name),
        "frames": end.representative_frame_ids.shape,
    }


async def rest(session: AsyncSession[Any] | ResumingSession[Any]) -> Sequence[object]:
    """The answers and ends of tracks to the end, and what ended the session."""
    found: list[object] = []
    try:
        async for event in session:
            found.append(end_shape(event) if isinstance(event, TrackEnded) else shape(event))  # noqa: PERF401 - those before an error count
    except ReidError as error:
        found.append(fault(error))
    return found


def embedding(*arguments: Any, client_options: ClientOptions | None = None, **options: Any) -> Scenario:
    """A single call, and the same frame on a stream."""

    async def run(side: Side) -> object:
        async with side.client(client_options) as client:

            async def single() -> object:
                return shape(await client.embed(*arguments, **options))

            async def stream() -> object:
                async with client.stream() as session:
                    await session.send(*arguments, **options)
                    await session.finish()
                    return await rest(session)

            return [await attempt(single()), await attempt(stream())]

    return run


def streaming(**options: Any) -> Scenario:
    """Ten frames, and what was agreed."""

    async def run(side: Side) -> object:
        async with side.client({"dtype": EmbeddingDtype.FLOAT16}) as client, client.stream(**options) as session:
            agreed = dataclasses.asdict(session.opened)
            del agreed["session_id"], agreed["limits"], agreed["models"], agreed["window_bytes"]
            agreed["shared_memory_refusal"] = bool(agreed["shared_memory_refusal"])
            answers: list[object] = []
            for frame_id in range(10):
                if frame_id >= WINDOW:
                    answers.append(shape(await anext(session)))  # so that no policy has to decide
                await session.send(JPEG, BOXES, frame_id=10 * frame_id)
            await session.finish()
            answers += await rest(session)
            if session.opened.ordering is Ordering.AS_COMPLETED:
                answers.sort(key=repr)
            return agreed, answers, dataclasses.asdict(session.statistics())

    return run


async def resuming(side: Side) -> object:
    async with side.client() as client, client.resuming_stream(window_frames=WINDOW) as session:
        for _ in range(3):
            await session.send(JPEG, BOXES)
        await session.finish()
        return await rest(session), session.epoch


async def draining(side: Side) -> object:
    async with side.client() as client, client.stream() as session:
        await session.send(JPEG, BOXES)
        first = shape(await anext(session))
        await side.drain()
        return first, await rest(session), await attempt(session.send(JPEG, BOXES))


def tracking(policy: EmbedPolicy, kind: str = "stream") -> Scenario:
    """Twelve frames, a hundred seconds apart by their own times; tracks end and begin between them."""

    async def run(side: Side) -> object:
        tracks = TrackOptions(embed=policy, timeout_s=3600, representatives=1)
        begun_s = time.monotonic() - 3000
        async with side.client({"models": BOTH}) as client, getattr(client, kind)(tracks=tracks) as session:
            answers: list[object] = []
            for number in range(12):
                await session.send(
                    JPEG,
                    np.array([*TRACKED, TRACKED[0]], np.float32) + number % 3,
                    track_ids=[7, 8, -1, 7],
                    class_ids=[0, 2 if number < 8 else 0, 0, 0],
                    captured_monotonic=begun_s + 100 * number,
                )
                if number == 4:
                    await session.end_tracks([8, 99])
                if number > 2:
                    event = await anext(session)
                    answers.append(end_shape(event) if isinstance(event, TrackEnded) else shape(event))
                if number == 6 and isinstance(session, ResumingSession):
                    session._session._call.cancel()
            await session.finish()
            agreed = dataclasses.replace(session.opened.tracks, embed=policy)
            return agreed, answers, await rest(session)

    return run


def silent_tracks(kind: str) -> Scenario:
    """A frame is given up after it was sent. The server embeds it all the same, and its track has one row more than
    there are answers.
    """

    async def run(side: Side) -> object:
        tracks = TrackOptions(timeout_s=3600)
        async with (
            side.client({"latency_budget_s": HANG_S}) as client,
            getattr(client, kind)(budget_grace_s=1, answer_timeout_s=2 * HANG_S, tracks=tracks) as session,
        ):
            side.silent()
            await session.send(JPEG, BOXES, track_ids=[7, 8])
            await side.holds(1)
            await side.clock.turn_on(HANG_S + 1)
            late = shape(await anext(session))
            side.awake()
            await session.send(JPEG, BOXES, track_ids=[7, -1])
            await session.finish()
            return late, await rest(session)

    return run


async def trackless(side: Side) -> object:
    """Ids are ignored, and what needs tracks is refused."""
    async with side.client() as client, client.stream() as session:
        await session.send(JPEG, BOXES, track_ids=[7, -1])
        ended = await attempt(session.end_tracks([7]))
        await session.finish()
        return session.opened.tracks, ended, await rest(session)


def left(kind: str) -> Scenario:
    """The block is left with frames open, and another session follows."""

    async def run(side: Side) -> object:
        async with side.client() as client:
            side.silent()
            async with getattr(client, kind)() as session:
                for _ in range(3):
                    await session.send(JPEG, BOXES)
            side.awake()
            async with getattr(client, kind)() as other:
                await other.send(JPEG, BOXES)
                await other.finish()
                return session.opened.takes_close, await rest(session), await rest(other)

    return run


def silent(kind: str, policy: OverloadPolicy) -> Scenario:
    """A frame is answered by the client, and the server's answer comes too late for it; the next ones are as ever."""

    async def run(side: Side) -> object:
        async with (
            side.client({"latency_budget_s": HANG_S}) as client,
            getattr(client, kind)(budget_grace_s=1, answer_timeout_s=2 * HANG_S, overload_policy=policy) as session,
        ):
            side.silent()
            await session.send(JPEG, BOXES, frame_id=7)
            await side.holds(1)
            await side.clock.turn_on(HANG_S + 1)
            late = shape(await anext(session))
            side.awake()
            await session.send(JPEG, BOXES)
            await session.finish()
            return late, await rest(session)

    return run


async def published(side: Side) -> object:
    async with side.client() as client:
        models = [dataclasses.replace(model, space_id="", version="") for model in await client.models()]
        info = await client.info("vehicle")
        health = (await client.ping()).health
        lost = await attempt(client.info("lost"))
        return models, kinds(info), info.model.name, info.output.l2_normalize, health, lost


async def closed(side: Side) -> object:
    async with side.client() as client, client.stream() as session:
        await client.close()
        return [
            *(await rest(session), await attempt(client.embed(JPEG, BOXES)), await attempt(client.models())),
            *(await attempt(client.ping()), await attempt(session.send(JPEG, BOXES))),
        ]


async def finish(session: AsyncSession) -> None:
    await session.finish()


async def misused(side: Side) -> object:
    async with side.client({"max_message_bytes": 100_000}) as client, client.stream() as session:
        return [
            await attempt(session.send(JPEG, [1, 2, 3])),
            await attempt(session.send(picture(400, 400), BOXES)),
            await attempt(client.embed(picture(400, 400), BOXES)),
            await attempt(session.send(JPEG, BOXES, frame_id=5)),
            await attempt(session.send(JPEG, BOXES, frame_id=5)),
            await attempt(session.send(JPEG, BOXES, age_s=-1)),
            await attempt(finish(session)),
            await attempt(session.send(JPEG, BOXES)),
            await rest(session),
        ]


def kinds(record: Any) -> object:
    """A record's fields and their types, all the way down."""
    if not dataclasses.is_dataclass(record):
        return type(record)
    return {field.name: kinds(getattr(record, field.name)) for field in dataclasses.fields(record)}


NARROW = BoxFilter(min_width=20, max_height=30, class_ids=(0, 2), min_score=0.5)
SCENARIOS: dict[str, Scenario] = {
    "a file": embedding(JPEG, BOXES, frame_id=7),
    "an array, every kind of box": embedding(FRAME, ODD),
    "grey": embedding(FRAME[:, :, 0].copy(), ODD),
    "NV12": embedding(Nv12(data=bytes(64 * 48 * 3 // 2), width=64, height=48), ODD),
    "no boxes": embedding(FRAME, []),
    "crops": embedding(Crops([FRAME, JPEG, FRAME], inner_boxes=[[0, 0, 9, 9], [0, 0, 9, 9], [99, 0, 100, 9]])),
    "crops and their boxes": embedding(
        Crops([FRAME, FRAME]), BOXES, client_options={"box_filter": BoxFilter(min_width=30)}
    ),
    "two models": embedding(FRAME, BOXES, class_ids=[0, 5], client_options={"models": BOTH}),
    "a class of no model": embedding(FRAME, BOXES, class_ids=[0, 7], client_options={"models": BOTH}),
    "no classes": embedding(FRAME, BOXES, client_options={"models": BOTH}),
    "a filter": embedding(*(FRAME, BOXES), class_ids=[0, 2], scores=[0.4, 0.6], client_options={"box_filter": NARROW}),
    "a filter and a scaled frame": embedding(
        *(FRAME, BOXES), source_size=(640, 480), client_options={"box_filter": BoxFilter(min_width=295)}
    ),
    "half precision": embedding(FRAME, BOXES, client_options={"dtype": EmbeddingDtype.FLOAT16}),
    "within the budget": embedding(FRAME, BOXES, age_s=5, client_options={"latency_budget_s": 3600}),
    "over the budget": embedding(FRAME, BOXES, age_s=61, client_options={"latency_budget_s": 60}),
    "an unknown model": embedding(FRAME, BOXES, client_options={"model": "lost"}),
    "another space": embedding(FRAME, BOXES, client_options={"expected_space_id": "1:" + "0" * 64}),
    "every option": embedding(
        *(FRAME, BOXES), scores=[0, 1], track_ids=[7, 8], capture_unix_ns=9, client_options={"priority": Priority.HIGH}
    ),
    "in order": streaming(window_frames=WINDOW),
    "as completed": streaming(window_frames=WINDOW, ordering=Ordering.AS_COMPLETED, camera_id="door"),
    "drop oldest": streaming(window_frames=WINDOW, overload_policy=OverloadPolicy.DROP_OLDEST),
    "reject": streaming(window_frames=WINDOW, overload_policy=OverloadPolicy.REJECT),
    "resuming": resuming,
    **{f"tracks, {name}": tracking(policy) for name, policy in TRACK_POLICIES.items()},
    **{f"tracks, resuming, {name}": tracking(policy, "resuming_stream") for name, policy in TRACK_POLICIES.items()},
    **{f"tracks, silent, {kind}": silent_tracks(kind) for kind in ("stream", "resuming_stream")},
    "no tracks": trackless,
    "draining": draining,
    "left": left("stream"),
    "left, resuming": left("resuming_stream"),
    **{
        f"silent, {kind}, {policy.name}": silent(kind, policy)
        for kind in ("stream", "resuming_stream")
        for policy in OverloadPolicy
    },
    "published": published,
    "closed": closed,
    "misused": misused,
}


async def on_the_real_server(scenario: Scenario, clock: Clock) -> object:
    gate = Gate()
    gate.opened.set()
    script = FakeScript(seconds_per_batch=1.0, sleep=gate.wait)
    engines = [FakeEngine(fake_spec(name, DIM), script=script) for name in ("person", "vehicle")]
    async with serving(*engines) as server:

        def connect(**options: Any) -> AsyncReidClient:
            return AsyncReidClient(f"127.0.0.1:{server.port}", **options)

        def silent() -> None:
            gate.entered = 0
            gate.opened.clear()

        async def holds(count: int) -> None:
            await until(lambda: gate.entered >= count)

        side = Side(connect=connect, drain=server.drain, clock=clock, silent=silent, holds=holds, awake=gate.opened.set)
        try:
            return await scenario(side)
        finally:
            gate.opened.set()


async def on_the_fake_server(scenario: Scenario, clock: Clock) -> object:
    with FakeServer(dim=DIM, models=["person", "vehicle"]) as server:

        async def drain() -> None:
            server.drain()

        side = Side(
            connect=server.async_client,
            drain=drain,
            clock=clock,
            silent=server.hold,
            holds=server.async_wait_for_frames,
            awake=server.release,
        )
        return await scenario(side)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_fake_server_does_what_the_server_does(name: str, clock: Clock) -> None:
    """Answers, outcomes, errors and their types are equal."""
    scenario = SCENARIOS[name]
    assert await on_the_fake_server(scenario, clock) == await on_the_real_server(scenario, clock)
