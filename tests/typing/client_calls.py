"""Calls of the client that must type-check, and calls that must not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import grpc
import numpy as np
import numpy.typing as npt

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    Crops,
    EmbeddingDtype,
    EmbedOnRisk,
    FrameEmbeddings,
    FrameFailure,
    ModelEmbeddings,
    ModelInfo,
    ModelSummary,
    OverloadPolicy,
    Ping,
    Priority,
    RawFrame,
    ReidClient,
    ResumingSession,
    Session,
    SessionEvent,
    SessionInfo,
    Timing,
    TrackEnded,
    TrackOptions,
    TrackVector,
)


def one_frame(client: ReidClient, file: bytes, pixels: npt.NDArray[np.uint8], floats: npt.NDArray[np.float32]) -> None:
    """Files, arrays, buffers and ready crops; boxes are whatever numpy takes."""
    boxes = np.zeros((2, 4), np.float32)
    assert_type(client.embed(file, boxes), FrameEmbeddings)
    assert_type(client.embed(pixels, [[1, 2, 3, 4]], class_ids=[0], scores=(0.5,)), FrameEmbeddings)
    assert_type(client.embed(RawFrame(data=file, width=2, height=1), boxes, timeout_s=1), FrameEmbeddings)
    assert_type(client.embed(RawFrame(data=pixels, width=2, height=1), boxes), FrameEmbeddings)
    assert_type(client.embed(Crops([file, pixels])), FrameEmbeddings)

    client.embed("person.jpg", boxes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.embed(floats, boxes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.embed(file, boxes, 7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.embed(file, boxes, timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def options() -> None:
    """Everything but the target is named, and closed sets are enums."""
    ReidClient("gate:50051", priority=Priority.HIGH, dtype=EmbeddingDtype.FLOAT16, latency_budget_s=None)
    AsyncReidClient("gate:50051", camera_id="gate", timeout_s=1)

    ReidClient()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ReidClient("gate:50051", priority=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ReidClient("gate:50051", dtype="float16")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncReidClient("gate:50051", tls=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncReidClient("gate:50051", camera="gate")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def a_stream(client: ReidClient, file: bytes) -> None:
    """A session iterates over answers, and is only had from a client."""
    with client.stream(overload_policy=OverloadPolicy.REJECT, window_frames=8) as session:
        assert_type(session, Session)
        assert_type(session.opened, SessionInfo)
        assert_type(session.send(file, [[1, 2, 3, 4]], age_s=0.1), int)
        assert_type(session.take(), list[FrameEmbeddings])
        assert_type([answer.frame_id for answer in session], list[int])
    with client.resuming_stream(give_up_after_s=1) as session:
        assert_type(session, Session)
    assert_type(client.embed_many([(file, [[1, 2, 3, 4]])]), Iterator[FrameEmbeddings])

    client.stream(overload_policy="reject")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    client.stream(give_up_after_s=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def a_stream_with_tracks(client: ReidClient, file: bytes) -> None:
    """Only where tracks were asked for, a session also gives their ends; both kinds must be told apart."""
    tracks = TrackOptions(embed=EmbedOnRisk(max_shift=0.5), timeout_s=2, vector=TrackVector.MEAN)
    with client.stream(tracks=tracks, window_frames=8) as session:
        assert_type(session, Session[SessionEvent])
        assert_type(session.send(file, [[1, 2, 3, 4]], track_ids=[7]), int)
        session.end_tracks([7])
        assert_type(session.take(), list[FrameEmbeddings | TrackEnded])
        for event in session:
            if isinstance(event, TrackEnded):
                assert_type(event.vector, npt.NDArray[np.float32] | None)
                assert_type(event.space_id, str | None)
            else:
                assert_type(event, FrameEmbeddings)
                assert_type(event.cached, npt.NDArray[np.bool_])
        _ = next(session).valid  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    with client.resuming_stream(tracks=tracks, give_up_after_s=1) as resuming:
        assert_type(resuming, Session[SessionEvent])
    assert_type(client.embed_many([(file, [[1, 2, 3, 4]])], tracks=tracks), Iterator[SessionEvent])

    client.stream(tracks=EmbedOnRisk())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    client.stream(tracks=tracks, give_up_after_s=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def tracks_with_asyncio(client: AsyncReidClient) -> None:
    """The same, awaited."""
    async with client.stream(tracks=TrackOptions()) as session:
        assert_type(session, AsyncSession[SessionEvent])
        assert_type([event async for event in session], list[SessionEvent])
    async with client.resuming_stream(tracks=TrackOptions()) as resuming:
        assert_type(resuming, ResumingSession[SessionEvent])
        await resuming.end_tracks(range(3))


async def with_asyncio(client: AsyncReidClient, file: bytes) -> None:
    """The same, awaited; nothing is an answer before it is."""
    assert_type(await client.embed(file, [[1, 2, 3, 4]]), FrameEmbeddings)
    assert_type(await client.models(), tuple[ModelSummary, ...])
    assert_type(await client.info(), ModelInfo)
    assert_type(await client.ping(), Ping)
    async with client.stream() as session:
        assert_type(session, AsyncSession)
        assert_type(await session.send(file), int)
        assert_type([answer async for answer in session], list[FrameEmbeddings])
    async with client.resuming_stream() as resuming:
        assert_type(resuming, ResumingSession)

    _ = client.embed(file).embeddings  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    with client.stream():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


def an_answer(answer: FrameEmbeddings) -> None:
    """Arrays with their dtypes; an answer is not changed, and its error is looked at before it is used."""
    assert_type(answer.embeddings, npt.NDArray[np.float32])
    assert_type(answer.valid, npt.NDArray[np.bool_])
    assert_type(answer.for_model("person"), ModelEmbeddings)
    assert_type(answer.timing, Timing)
    assert_type(answer.timing.queue_s, float | None)
    assert_type(answer.error, FrameFailure | None)
    if answer.error is not None:
        assert_type(answer.error.code, grpc.StatusCode)

    _ = answer.error.message  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    answer.frame_id = 7  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    _ = answer.timing.queue_s + 1  # type: ignore[operator]  # pyright: ignore[reportOptionalOperand]
