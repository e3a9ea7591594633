"""What the commands show people, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from reidstream_client.models import ModelInfo, ModelSummary
from reidstream_client.types import FrameEmbeddings

from .writers.protocol import outcome_words

_SHOWN = 6


def info_text(models: Sequence[ModelSummary], info: ModelInfo) -> str:
    """The server's models, one model's whole spec, and the limits."""
    spec, output, engine = info.input, info.output, info.engine
    lines = ["models"]
    lines += [
        f"  {model.name:<24}{model.dim:>5} numbers  version {model.version}"
        + ("  default" if model.is_default else "")
        + ("" if model.ready else "  NOT READY")
        for model in models
    ]
    normalised = "L2-normalised" if output.l2_normalize else "not normalised"
    rows = {
        "space": info.model.space_id,
        "artifact": f"sha256 {info.artifact_sha256}",
        "profile": info.profile,
        "input": f"{spec.name}: {spec.width} x {spec.height} {spec.color_order}",
        "resize": f"{spec.resize}, {spec.fit}, crop {spec.crop_rule}",
        "normalise": f"(x * {spec.scale:.8g} - {_numbers(spec.mean)}) / {_numbers(spec.std)}",
        "output": f"{output.name}: {output.dim} numbers, {normalised}",
        "engine": f"{engine.engine} on {engine.device}, {engine.precision}, up to {engine.max_batch} crops a batch",
    }
    if spec.jpeg_scale != 1:
        rows["jpeg"] = f"decoded at 1/{spec.jpeg_scale} of its size"
    if engine.fallback_reason:
        rows["fallback"] = engine.fallback_reason
    lines += ["", f"model {info.model.name}", *(f"  {name:<12}{value}" for name, value in rows.items())]
    lines += ["", "limits of the server", *(f"  {name:<24}{value:>16,}" for name, value in asdict(info.limits).items())]
    return "\n".join(lines)


def boxes_text(boxes: Sequence[Sequence[float]], answer: FrameEmbeddings) -> str:
    """An answer's boxes, with the first numbers of their vectors."""
    lines = [f"model {answer.model.name}, space {answer.space_id}"]
    rows = zip(boxes, outcome_words(answer), answer.quality, answer.valid, answer.embeddings, strict=True)
    for box, outcome, quality, valid, vector in rows:
        where = ",".join(f"{value:g}" for value in box)
        head = " ".join(f"{value:+.4f}" for value in vector[:_SHOWN]) + " ..." if valid else ""
        lines.append(f"  {where:<24}{outcome:<16}quality {quality:.2f}  {head}".rstrip())
    return "\n".join(lines)


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
