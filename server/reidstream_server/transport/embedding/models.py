"""Models and limits on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from reidstream_engines.protocol import Health
from reidstream_engines.spec import ColorOrder, CropRule, Fit, Resize
from reidstream_proto.v1 import model_pb2
from reidstream_server.intake.limits import PublishedLimits
from reidstream_server.memory.budget import MemoryBudget
from reidstream_server.runtime.models import ModelTable, ServedModel

_COLORS: Mapping[ColorOrder, model_pb2.ColorOrder.ValueType] = {
    ColorOrder.RGB: model_pb2.COLOR_ORDER_RGB,
    ColorOrder.BGR: model_pb2.COLOR_ORDER_BGR,
    ColorOrder.GRAY: model_pb2.COLOR_ORDER_GRAY,
}
_RESIZES: Mapping[Resize, model_pb2.Resize.ValueType] = {
    Resize.OPENCV_BILINEAR: model_pb2.RESIZE_OPENCV_BILINEAR,
    Resize.OPENCV_BICUBIC: model_pb2.RESIZE_OPENCV_BICUBIC,
    Resize.PIL_BILINEAR: model_pb2.RESIZE_PIL_BILINEAR,
    Resize.PIL_BICUBIC: model_pb2.RESIZE_PIL_BICUBIC,
}
_FITS: Mapping[Fit, model_pb2.Fit.ValueType] = {
    Fit.STRETCH: model_pb2.FIT_STRETCH,
    Fit.LETTERBOX_CENTER: model_pb2.FIT_LETTERBOX_CENTER,
    Fit.LETTERBOX_CORNER: model_pb2.FIT_LETTERBOX_CORNER,
}
_CROP_RULES: Mapping[CropRule, model_pb2.CropRule.ValueType] = {
    CropRule.EXACT: model_pb2.CROP_RULE_EXACT,
    CropRule.EVEN_ALIGNED: model_pb2.CROP_RULE_EVEN_ALIGNED,
}


def summary(model: ServedModel, models: ModelTable) -> model_pb2.Model:
    """A model in a list."""
    return model_pb2.Model(
        name=model.name,
        version=model.spec.version,
        space_id=model.spec.space_id,
        dim=model.spec.output.dim,
        is_default=models.is_default(model),
        ready=model.engine.health() is Health.SERVING,
    )


def details(model: ServedModel, models: ModelTable) -> model_pb2.ModelDetails:
    """Everything about a model."""
    spec, info = model.spec, model.engine.info
    return model_pb2.ModelDetails(
        model=summary(model, models),
        profile=spec.profile,
        artifact_sha256=spec.artifact_sha256,
        input=model_pb2.InputSpec(
            name=spec.input.name,
            width=spec.input.width,
            height=spec.input.height,
            color_order=_COLORS[spec.input.color_order],
            resize=_RESIZES[spec.input.resize],
            fit=_FITS[spec.input.fit],
            crop_rule=_CROP_RULES[spec.input.crop_rule],
            scale=spec.input.scale,
            mean=spec.input.mean,
            std=spec.input.std,
            jpeg_scale=None if spec.input.jpeg_scale == 1 else spec.input.jpeg_scale,
        ),
        output=model_pb2.OutputSpec(name=spec.output.name, dim=spec.output.dim, l2_normalize=spec.output.l2_normalize),
        engine=model_pb2.EngineInfo(
            engine=info.engine,
            device=info.device,
            precision=info.precision,
            fallback_reason=info.fallback_reason,
            max_batch=model.engine.limits.max_batch,
        ),
    )


def memory_message(budget: MemoryBudget) -> model_pb2.MemoryBudget:
    """The budget of the process, part by part."""
    return model_pb2.MemoryBudget(
        parts=[
            model_pb2.MemoryBudget.Part(
                name=line.part.value,
                max_bytes=line.bytes,
                max_client_bytes=line.client_bytes,
                setting=line.setting,
            )
            for line in budget.lines
        ],
        max_bytes=budget.total_bytes,
        max_client_bytes=budget.client_bytes,
    )


def limits_message(published: PublishedLimits) -> model_pb2.Limits:
    """Every limit, by the same names."""
    return model_pb2.Limits(**asdict(published))
