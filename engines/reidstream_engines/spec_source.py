"""Where a model's spec comes from: a named profile, a TOML beside the file, or the file's own metadata.

Why never a default: weights without a preprocessing are half a model. In this order the first that says something
wins; without any, serving refuses and lists the profiles. Sizes and tensor names come from the network itself. Trap: a
file derived from another one (fp16, dynamic batch) carries the original's sha256 in its metadata, and that is the one
that names the space.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ModelError, SpecError
from .profiles import describe_profiles
from .space import sha256_file, space_id
from .spec import InputSpec, ModelSpec, OutputSpec
from .spec_fields import SpecFields, fields_from_mapping, fields_from_profile, fields_to_mapping

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPEC_KEY = "reidstream.spec"
SHA_KEY = "reidstream.artifact_sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSignature:
    """A tensor of the network; None in `shape` is a dynamic axis. `dtype` as onnxruntime writes it: "tensor(float)"."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        axes = ", ".join("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name} {self.dtype} [{axes}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """What a network takes and answers, and the metadata of its file."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    metadata: Mapping[str, str]


def read_signature(session: Any) -> ModelSignature:  # noqa: ANN401 - onnxruntime's session has no types
    """The signature of an onnxruntime session."""
    return ModelSignature(
        inputs=_tensors(session.get_inputs()),
        outputs=_tensors(session.get_outputs()),
        metadata=dict(session.get_modelmeta().custom_metadata_map),
    )


def resolve_spec(*, path: Path, signature: ModelSignature, name: str | None, profile: str | None) -> ModelSpec:
    """The spec of the model file at `path`. Raises SpecError (no spec, or one that does not fit) or ModelError."""
    fields, source = _fields(path, signature, profile)
    image = _image_tensor(signature)
    vector = _vector_tensor(signature, fields.output)
    channels, height, width = _image_size(image, fields)
    if not len(fields.mean) == len(fields.std) == channels:
        raise SpecError(
            f"the network's input has {channels} channels ({image}), "
            f"the spec has {len(fields.mean)} means and {len(fields.std)} stds"
        )
    input_spec = InputSpec(
        name=image.name,
        width=width,
        height=height,
        color_order=fields.color_order,
        resize=fields.resize,
        fit=fields.fit,
        crop_rule=fields.crop_rule,
        scale=fields.scale,
        mean=fields.mean,
        std=fields.std,
    )
    dim = vector.shape[1]
    if dim is None:
        raise SpecError(f"the network's output {vector} has no fixed dimension")
    output_spec = OutputSpec(name=vector.name, dim=dim, l2_normalize=fields.l2_normalize)
    sha = _artifact_sha(path, signature)
    return ModelSpec(
        name=name or path.stem,
        profile=source,
        artifact_sha256=sha,
        space_id=space_id(artifact_sha256=sha, input_spec=input_spec, output_spec=output_spec),
        input=input_spec,
        output=output_spec,
    )


def encode_spec_metadata(spec: ModelSpec) -> dict[str, str]:
    """The metadata that makes a file carry its own spec; for whoever writes model files."""
    return {SPEC_KEY: json.dumps(fields_to_mapping(spec), sort_keys=True)}


def _fields(path: Path, signature: ModelSignature, profile: str | None) -> tuple[SpecFields, str]:
    """The spec's fields, and where they are from: a profile's name, "toml" or "metadata"."""
    if profile is not None:
        return fields_from_profile(profile), profile
    beside = path.with_suffix(".toml")
    if beside.is_file():
        return fields_from_mapping(_read_toml(beside), where=str(beside)), "toml"
    if SPEC_KEY in signature.metadata:
        where = f"{path}, metadata {SPEC_KEY}"
        try:
            mapping = json.loads(signature.metadata[SPEC_KEY])
        except ValueError as error:
            raise SpecError(f"{where}: not JSON: {error}") from error
        if not isinstance(mapping, dict):
            raise SpecError(f"{where}: a JSON object is needed")
        return fields_from_mapping(mapping, where=where), "metadata"
    raise SpecError(
        f"nothing says how {path.name} wants its pictures. Name a profile (--profile NAME), or put its fields into "
        f"{beside.name} beside it. The profiles are:\n{describe_profiles()}"
    )


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"{path}: {error}") from error


def _image_tensor(signature: ModelSignature) -> TensorSignature:
    inputs = signature.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].dtype != "tensor(float)":  # noqa: PLR2004 - NCHW
        raise SpecError(f"one float input [batch, channels, height, width] is needed; found {_list(inputs)}")
    return inputs[0]


def _vector_tensor(signature: ModelSignature, wanted: str | None) -> TensorSignature:
    outputs = [tensor for tensor in signature.outputs if wanted in (None, tensor.name)]
    vectors = [tensor for tensor in outputs if len(tensor.shape) == 2 and tensor.dtype == "tensor(float)"]  # noqa: PLR2004
    if len(vectors) == 1:
        return vectors[0]
    found = _list(signature.outputs)
    if wanted is not None:
        raise SpecError(f"output {wanted!r} is no float output [batch, dim] of this network; found {found}")
    if vectors:
        raise SpecError(f'several outputs could be the embedding ({found}); name one in the TOML: output = "NAME"')
    raise SpecError(f"a float output [batch, dim] is needed; found {found}")


def _image_size(image: TensorSignature, fields: SpecFields) -> tuple[int, int, int]:
    """Channels, height, width: from the network, or from the spec where the network leaves them open."""
    _, channels, height, width = image.shape
    sizes = {"height": (height, fields.height), "width": (width, fields.width)}
    for axis, (fixed, given) in sizes.items():
        if fixed is None and given is None:
            raise SpecError(f"the network leaves its {axis} open ({image}); say it in the TOML: {axis} = PIXELS")
        if fixed is not None and given is not None and fixed != given:
            raise SpecError(f"the network's {axis} is {fixed} ({image}), the spec says {given}")
    return channels or len(fields.mean), height or fields.height or 0, width or fields.width or 0


def _artifact_sha(path: Path, signature: ModelSignature) -> str:
    """The original's sha256: from the metadata of a derived file, else of the file itself."""
    carried = signature.metadata.get(SHA_KEY)
    if carried is None:
        try:
            return sha256_file(path)
        except OSError as error:
            raise ModelError(f"{path}: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{64}", carried):
        raise SpecError(f"{path}, metadata {SHA_KEY}: {carried!r} is no sha256 in hexadecimal")
    return carried


def _tensors(arguments: Any) -> tuple[TensorSignature, ...]:  # noqa: ANN401 - onnxruntime has no types
    return tuple(
        TensorSignature(
            name=argument.name,
            shape=tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in argument.shape),
            dtype=argument.type,
        )
        for argument in arguments
    )


def _list(tensors: Sequence[TensorSignature]) -> str:
    return "; ".join(map(str, tensors)) or "none"
