"""What a fake server publishes of its models and limits: plausible, and the same in every run."""

from __future__ import annotations

from collections.abc import Sequence

from reidstream_proto.v1 import model_pb2, session_pb2

from .answers import MIN_BOX_PX
from .models import FakeModel

_MIB = 1 << 20


def model_summary(model: FakeModel, *, default: bool) -> model_pb2.Model:
    """A line of ListModels."""
    return model_pb2.Model(
        name=model.name,
        version=model.version,
        space_id=model.space_id,
        dim=model.dim,
        is_default=default,
        ready=True,
    )


def model_details(model: FakeModel, *, default: bool) -> model_pb2.ModelDetails:
    """A model of GetModel."""
    return model_pb2.ModelDetails(
        model=model_summary(model, default=default),
        profile="fake",
        input=model_pb2.InputSpec(
            name="input",
            width=128,
            height=256,
            color_order=model_pb2.COLOR_ORDER_RGB,
            resize=model_pb2.RESIZE_OPENCV_BILINEAR,
            fit=model_pb2.FIT_STRETCH,
            crop_rule=model_pb2.CROP_RULE_EXACT,
            scale=1.0,
            mean=[0.0] * 3,
            std=[1.0] * 3,
        ),
        output=model_pb2.OutputSpec(name="embedding", dim=model.dim, l2_normalize=True),
        engine=model_pb2.EngineInfo(engine="fake", device="none", precision="fp32", max_batch=8),
        artifact_sha256=model.space_id.rpartition(":")[2],
    )


def limits(window: session_pb2.Window) -> model_pb2.Limits:
    """The bounds of a server, of which a fake one holds a client to its window only."""
    return model_pb2.Limits(
        max_message_bytes=64 * _MIB,
        max_image_pixels=100_000_000,
        max_boxes_per_frame=1024,
        min_box_px=MIN_BOX_PX,
        max_window_frames=window.frames,
        max_window_bytes=window.bytes,
        max_queue_boxes=4096,
        max_queue_bytes=1024 * _MIB,
        max_staged_bytes=1024 * _MIB,
        max_answer_bytes=64 * _MIB,
        max_sessions=256,
        max_shared_memory_bytes=0,
        max_parked_bytes=512 * _MIB,
        max_held_answer_bytes=256 * _MIB,
        max_sessions_per_client=128,
        max_calls=256,
        max_receiving_bytes=512 * _MIB,
        max_tracks_per_session=512,
        max_track_bytes=256 * _MIB,
    )


def session_opened(
    asked: session_pb2.SessionOpen, models: Sequence[FakeModel], window: session_pb2.Window
) -> session_pb2.SessionOpened:
    """What is agreed: all that was asked for, within the server's window. `models` stand beside the choices."""
    opened = session_pb2.SessionOpened(
        session_id=asked.session_id,
        epoch=asked.epoch,
        models=[
            session_pb2.AgreedModel(
                name=model.name,
                version=model.version,
                dim=model.dim,
                space_id=model.space_id,
                class_ids=choice.class_ids,
            )
            for choice, model in zip(asked.options.models, models, strict=True)
        ],
        window=session_pb2.Window(
            frames=min(asked.window.frames or window.frames, window.frames),
            bytes=min(asked.window.bytes or window.bytes, window.bytes),
        ),
        limits=limits(window),
        priority=asked.options.priority,
        ordering=asked.ordering,
        overload_policy=asked.overload_policy,
        dtype=asked.options.dtype,
        takes_close=True,
        apply_exif_orientation=asked.options.apply_exif_orientation,
        latency_budget_ms=asked.options.latency_budget_ms if asked.options.HasField("latency_budget_ms") else None,
    )
    if asked.HasField("shared_memory"):
        opened.shared_memory.refusal = "a fake server reads no shared memory"
    return opened
