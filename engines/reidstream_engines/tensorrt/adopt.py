"""Takes a plan that another program built, such as trtexec, into the cache, with a manifest like our own.

Why a copy: the plan is examined once, in a process that may die of it. From then on exactly the bytes that were
examined are served. Traps: a plan does not say from which model it was built. Unless the model is named, the vectors
are in a space of their own, named by the plan's sha256; the same network built twice then has two spaces. And a plan of
another TensorRT or GPU must be adopted on such a machine, where it can be examined.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from reidstream_engines.errors import PlanError
from reidstream_engines.model_kinds import not_a_plan
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.spec import ModelSpec
from reidstream_engines.spec_fields import fields_to_mapping
from reidstream_engines.spec_source import (
    SHA_KEY,
    SPEC_KEY,
    ModelSignature,
    TensorSignature,
    resolve_spec,
)

from .api import Flavour, TensorRt, TensorType, load_tensorrt
from .cache import MANIFEST, PLAN, Plan, PlanCache, read_manifest, read_plan
from .examine import Examined, examine
from .manifest import Mismatch, Origin, PlanKey, PlanManifest, PlanPrecision, TensorInfo

_SERVED_TYPE = "tensor(float)"
"""The type that specs know. The engine deals with the plan's real types."""

_IMAGE_RANK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedPlan:
    """A plan, and the preprocessing of its pictures."""

    plan: Plan
    spec: ModelSpec


def adopt_plan(
    path: Path,
    *,
    profile: str | None,
    architecture: str,
    cache: PlanCache,
    model: Path | None = None,
    name: str | None = None,
    flavour: Flavour = Flavour.TENSORRT,
) -> AdoptedPlan:
    """Examine the plan at `path` and keep a copy of it. `architecture`: of this machine's device.

    `profile` None: from the TOML file beside the plan, or from `model`. `model`: the ONNX file from which the plan was
    built; the vectors are then in its space. `name` None: the plan's file name without its suffix.

    Raises DeviceUnavailable (no TensorRT), PlanError (TensorRT refuses the plan, the child died of it, or it cannot be
    served: several inputs or outputs, uint8 in or out, a smallest batch above 1), SpecError (no spec, or one that does
    not fit) and ModelError (`model`).
    """
    load_tensorrt(flavour)  # so that a missing TensorRT is reported here, not by the child
    refuse_other_kinds(path)
    try:
        image = path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path}: {error}") from error
    found = examine(path, flavour)
    source, vector = _served(found, path)
    spec = _spec(path, source, vector, image=image, profile=profile, model=model, name=name)
    sha = hashlib.sha256(image).hexdigest()
    manifest = PlanManifest(
        key=PlanKey(
            source_sha256=sha,
            flavour=flavour,
            tensorrt_version=found.tensorrt_version,
            architecture=architecture,
            precision=PlanPrecision.UNKNOWN,
            max_batch=found.most_batch,
            exporter=0,
            image_shape=(len(spec.input.mean), spec.input.height, spec.input.width),
            output=vector.name,
        ),
        origin=Origin.ADOPTED,
        model=spec.name,
        artifact_sha256=spec.artifact_sha256,
        max_batch=found.most_batch,
        static_batch=found.static_batch,
        input=source,
        output=vector,
        plan_sha256=sha,
        plan_bytes=len(image),
        spec=_spec_text(spec),
    )
    again = _spec_of(manifest, path)
    if again.space_id != spec.space_id:
        raise PlanError(f"{path}: the manifest cannot hold its spec exactly; adopt it without naming its model")
    return AdoptedPlan(plan=cache.keep(manifest, image), spec=spec)


def refuse_other_kinds(path: Path) -> None:
    """Raises PlanError for a file that is certainly no plan, such as a pointer to one; it says what the file is."""
    try:
        said = not_a_plan(path)
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from error
    if said:
        raise PlanError(f"{path} {said}")


def open_adopted(folder: Path, *, architecture: str, flavour: Flavour = Flavour.TENSORRT) -> AdoptedPlan:
    """An adopted plan, from the folder in which `adopt_plan` keeps it, for this machine's device.

    Raises DeviceUnavailable (no TensorRT), and PlanError before TensorRT reads a byte: the plan was not adopted, is
    damaged, has a uint8 input, or is for another TensorRT or architecture. The message has the field, the value found
    and the value expected.
    """
    manifest = read_manifest(folder)
    if manifest.origin is not Origin.ADOPTED:
        raise PlanError(
            f"{folder / MANIFEST}: origin is 'built', not 'adopted'; serve its ONNX file, and the plan is found"
        )
    wrong = _not_here(load_tensorrt(flavour), manifest.key, flavour, architecture)
    if wrong:
        raise PlanError(
            f"{folder / MANIFEST}: {'; '.join(map(str, wrong))}; adopt a plan that was built on this machine"
        )
    _refuse_bytes(manifest.input, folder / PLAN)
    return AdoptedPlan(plan=read_plan(folder, wanted=None), spec=_spec_of(manifest, folder / PLAN))


def _not_here(trt: TensorRt, key: PlanKey, flavour: Flavour, architecture: str) -> list[Mismatch]:
    here = {"flavour": flavour, "tensorrt_version": trt.__version__, "architecture": architecture}
    return [
        Mismatch(field=name, found=getattr(key, name), expected=value)
        for name, value in here.items()
        if getattr(key, name) != value
    ]


def _refuse_bytes(source: TensorInfo, path: Path) -> None:
    if source.dtype is TensorType.UINT8:
        raise PlanError(
            f"{path}: input {source.name} is {source.dtype.value}; it must be float32 or float16, since crops are "
            "normalised before they reach the network. Export the model with a float input and without the "
            "normalisation that its profile does, and build the plan from that"
        )


def _served(found: Examined, path: Path) -> tuple[TensorInfo, TensorInfo]:
    if len(found.inputs) != 1 or len(found.outputs) != 1:
        names = ", ".join(tensor.name for tensor in (*found.inputs, *found.outputs))
        raise PlanError(
            f"{path} has {len(found.inputs)} inputs and {len(found.outputs)} outputs ({names or 'none'}); "
            "it must have one input, the image, and one output, the vector"
        )
    source, vector = found.inputs[0], found.outputs[0]
    if len(source.shape) != _IMAGE_RANK or min(source.shape[1:]) < 1:
        raise PlanError(
            f"{path}: input {source.name} is {list(source.shape)}; it must be [batch, channels, height, width]"
        )
    _refuse_bytes(source, path)
    if found.static_batch is None and found.least_batch != 1:
        raise PlanError(
            f"{path} takes batches of {found.least_batch} to {found.most_batch} crops; build it with a smallest batch "
            "of 1 (--minShapes)"
        )
    if vector.dtype is TensorType.UINT8:
        raise PlanError(f"{path}: output {vector.name} is {vector.dtype.value}; it must be float32 or float16")
    return source, vector


def _spec(
    path: Path,
    source: TensorInfo,
    vector: TensorInfo,
    *,
    image: bytes,
    profile: str | None,
    model: Path | None,
    name: str | None,
) -> ModelSpec:
    own = _signature(source, vector, {SHA_KEY: hashlib.sha256(image).hexdigest()})
    if model is None:
        return resolve_spec(path=path, signature=own, name=name, profile=profile)
    signature = read_signature(model)
    spec = resolve_spec(path=model, signature=signature, name=name or path.stem, profile=profile)
    wanted = (spec.input.name, (len(spec.input.mean), spec.input.height, spec.input.width), spec.output.name)
    if wanted != (source.name, source.shape[1:], vector.name) or vector.shape[1:] != (spec.output.dim,):
        raise PlanError(
            f"{path} maps {source.name} {list(source.shape)} to {vector.name} {list(vector.shape)}, but {model} maps "
            f"{wanted[0]} [batch, {', '.join(map(str, wanted[1]))}] to {wanted[2]} [batch, {spec.output.dim}]: "
            "the plan was not built from this model"
        )
    return spec


def _spec_of(manifest: PlanManifest, path: Path) -> ModelSpec:
    metadata = {SPEC_KEY: manifest.spec, SHA_KEY: manifest.artifact_sha256}
    signature = _signature(manifest.input, manifest.output, metadata)
    return resolve_spec(path=path, signature=signature, name=manifest.model, profile=None)


def _signature(source: TensorInfo, vector: TensorInfo, metadata: dict[str, str]) -> ModelSignature:
    return ModelSignature(inputs=(_tensor(source),), outputs=(_tensor(vector),), metadata=metadata)


def _tensor(found: TensorInfo) -> TensorSignature:
    shape = tuple(None if axis < 0 else axis for axis in found.shape)
    return TensorSignature(name=found.name, shape=shape, dtype=_SERVED_TYPE)


def _spec_text(spec: ModelSpec) -> str:
    return json.dumps({**fields_to_mapping(spec), "output": spec.output.name}, sort_keys=True)
