"""Numbers of the core that must not be mixed up, and events and effects that are handled to the last."""

from __future__ import annotations

from typing import assert_type

from reidstream_server.core.terms import (
    BatchKey,
    FrameKey,
    FrameRequest,
    ModelIndex,
    OverloadPolicy,
    SessionKey,
    Window,
)


def take_model(_: ModelIndex) -> None: ...


def take_session(_: SessionKey) -> None: ...


def keys_are_no_numbers(frame: FrameKey, batch: BatchKey) -> None:
    """Each is made on purpose, and is no other's."""
    take_model(ModelIndex(0))
    assert_type(SessionKey(1), SessionKey)

    take_model(0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    take_session(frame)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    take_session(batch)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def terms_are_named_and_stay(window: Window) -> None:
    """No positions to mix up, no changes afterwards."""
    Window(frames=8, bytes=1 << 20)

    Window(8, 1 << 20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    window.frames = 9  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    _: OverloadPolicy = "wait"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    FrameRequest(  # a crop is a model's index, made on purpose
        frame_id=1,
        message_bytes=1,
        staged_bytes=1,
        answer_bytes=1,
        staging_ns=1,
        age_ns=0,
        crops=(0,),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )
