"""Models and limits as the server publishes them.

The preprocessing's closed sets are the contract's words in lower case ("opencv_bilinear"). A client shows and compares
them but does not act on them. So a word that is newer than this client is no error: it reads "unknown_7".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reidstream_proto.v1 import model_pb2, service_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedModel:
    """A model of a session or a call. `dim`: numbers per vector. `class_ids`: the classes that go to it; () for all
    others.
    """

    name: str
    version: str
    dim: int
    space_id: str
    class_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """One line of the server's list. `version`: the first 12 hex digits of the artifact's sha256."""

    name: str
    version: str
    space_id: str
    dim: int
    is_default: bool
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How a crop becomes the network's input: y = (x * scale - mean[c]) / std[c], sizes in pixels.

    `jpeg_scale` N: the server decodes JPEG pictures at 1/N of their size, and pictures of other kinds at full size.
    """

    name: str
    width: int
    height: int
    color_order: str
    resize: str
    fit: str
    crop_rule: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    jpeg_scale: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """The network's output."""

    name: str
    dim: int
    l2_normalize: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What runs the model on the server. `fallback_reason`: not empty if another engine was preferred."""

    engine: str
    device: str
    precision: str
    fallback_reason: str
    max_batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound of the server; bytes, pixels and counts as the names say. A bound with a default is 0 where the
    server does not tell it.
    """

    max_message_bytes: int
    max_image_pixels: int
    max_boxes_per_frame: int
    min_box_px: int
    max_window_frames: int
    max_window_bytes: int
    max_queue_boxes: int
    max_queue_bytes: int
    max_staged_bytes: int
    max_answer_bytes: int
    max_sessions: int
    max_shared_memory_bytes: int
    max_parked_bytes: int = 0
    max_held_answer_bytes: int = 0
    max_sessions_per_client: int = 0
    max_calls: int = 0
    max_receiving_bytes: int = 0
    max_tracks_per_session: int = 0
    max_track_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Everything about one model, and the limits of its server."""

    model: ModelSummary
    profile: str
    input: InputSpec
    output: OutputSpec
    engine: EngineInfo
    artifact_sha256: str
    limits: Limits = field(repr=False)


def parse_summary(message: model_pb2.Model) -> ModelSummary:
    """A model of ListModels or GetModel."""
    return ModelSummary(
        name=message.name,
        version=message.version,
        space_id=message.space_id,
        dim=message.dim,
        is_default=message.is_default,
        ready=message.ready,
    )


def parse_limits(message: model_pb2.Limits) -> Limits:
    """The server's bounds."""
    return Limits(
        max_message_bytes=message.max_message_bytes,
        max_image_pixels=message.max_image_pixels,
        max_boxes_per_frame=message.max_boxes_per_frame,
        min_box_px=message.min_box_px,
        max_window_frames=message.max_window_frames,
        max_window_bytes=message.max_window_bytes,
        max_queue_boxes=message.max_queue_boxes,
        max_queue_bytes=message.max_queue_bytes,
        max_parked_bytes=message.max_parked_bytes,
        max_held_answer_bytes=message.max_held_answer_bytes,
        max_receiving_bytes=message.max_receiving_bytes,
        max_staged_bytes=message.max_staged_bytes,
        max_answer_bytes=message.max_answer_bytes,
        max_sessions=message.max_sessions,
        max_shared_memory_bytes=message.max_shared_memory_bytes,
        max_sessions_per_client=message.max_sessions_per_client,
        max_calls=message.max_calls,
        max_tracks_per_session=message.max_tracks_per_session,
        max_track_bytes=message.max_track_bytes,
    )


def parse_info(message: service_pb2.GetModelResponse) -> ModelInfo:
    """The answer of GetModel."""
    details = message.model
    spec = details.input
    return ModelInfo(
        model=parse_summary(details.model),
        profile=details.profile,
        input=InputSpec(
            name=spec.name,
            width=spec.width,
            height=spec.height,
            color_order=word_of(model_pb2.ColorOrder, "COLOR_ORDER_", spec.color_order),
            resize=word_of(model_pb2.Resize, "RESIZE_", spec.resize),
            fit=word_of(model_pb2.Fit, "FIT_", spec.fit),
            crop_rule=word_of(model_pb2.CropRule, "CROP_RULE_", spec.crop_rule),
            scale=spec.scale,
            mean=tuple(spec.mean),
            std=tuple(spec.std),
            jpeg_scale=spec.jpeg_scale or 1,
        ),
        output=OutputSpec(name=details.output.name, dim=details.output.dim, l2_normalize=details.output.l2_normalize),
        engine=EngineInfo(
            engine=details.engine.engine,
            device=details.engine.device,
            precision=details.engine.precision,
            fallback_reason=details.engine.fallback_reason,
            max_batch=details.engine.max_batch,
        ),
        artifact_sha256=details.artifact_sha256,
        limits=parse_limits(message.limits),
    )


class _WireEnum(Protocol):
    """A generated enum."""

    def keys(self) -> Sequence[str]: ...
    def values(self) -> Sequence[int]: ...


def word_of(enum: _WireEnum, prefix: str, value: int) -> str:
    """A value of a closed set as the contract's word in lower case."""
    names = dict(zip(enum.values(), enum.keys(), strict=True))
    name = names.get(value)
    return f"unknown_{value}" if name is None else name.removeprefix(prefix).lower()
