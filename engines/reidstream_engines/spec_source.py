"""Where a model's spec comes from: a named profile, a TOML file beside the model, or the model file's own metadata.

Why there is no default: weights without their preprocessing are half a model. The first of these three that exists
counts; if none does, the model is refused, with a list of the profiles. Sizes and tensor names come from the network
itself. If the network leaves them open (an axis, several outputs), they come from the TOML file or the metadata, also
when the profile was named elsewhere. What a named profile replaces is said (`ModelSpec.set_aside`).

    # osnet.toml beside osnet.onnx; any field of the spec may be here, with a profile or without
    profile = "torchreid"
    output = "embedding"

Traps: a file made from another one (fp16, dynamic batch) has the original's sha256 in its metadata, and that sha256
names the space. A file whose weights are in other files is hashed together with them: the sha256 is what
`cat osnet.onnx osnet.onnx.data | sha256sum` prints.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import ModelError, SpecError, UnknownPreprocessing
from .external_data import external_files
from .profiles import describe_profiles
from .space import sha256_file, space_id
from .spec import ColorOrder, InputSpec, ModelSpec, OutputSpec
from .spec_fields import SpecFields, fields_from_mapping, fields_from_profile, fields_to_mapping, set_aside

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPEC_KEY = "reidstream.spec"
SHA_KEY = "reidstream.artifact_sha256"
PRECISION_KEY = "reidstream.precision"

_FLOAT = "tensor(float)"
_IMAGE_RANK = 4
_VECTOR_RANK = 2
_WHITE = 255
_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSignature:
    """A tensor of the network. None in `shape`: a dynamic axis. `dtype`: onnxruntime's, such as "tensor(float)"."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        axes = ", ".join("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name} {self.dtype} [{axes}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """The inputs and outputs of a network, and the metadata of its file."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFields:
    """A spec's fields. `source`: a profile's name, "toml" or "metadata". `set_aside`: see `ModelSpec`."""

    fields: SpecFields
    source: str
    set_aside: str = ""


def resolve_spec(
    *, path: Path, signature: ModelSignature, name: str | None, profile: str | None, jpeg_scale: int = 1
) -> ModelSpec:
    """The spec of the model file at `path`, whose network has `signature`. Reads the file for its sha256.

    `name` None: the file's name without its suffix. `profile` None: what is beside the file or in it. `jpeg_scale`: the
    stager's that will serve the model.
    Raises SpecError (no spec, or one that does not fit the network) or ModelError (the file cannot be read).
    """
    found = find_fields(path, signature, profile)
    try:
        input_spec = replace(_input_spec(signature, found.fields), jpeg_scale=jpeg_scale)
        output_spec = _output_spec(signature, found.fields)
    except SpecError as error:
        raise SpecError(f"{path} (spec from {found.source}): {error}") from error
    sha = _artifact_sha(path, signature)
    return ModelSpec(
        name=name or path.stem,
        profile=found.source,
        artifact_sha256=sha,
        space_id=space_id(
            artifact_sha256=sha,
            input_spec=input_spec,
            output_spec=output_spec,
            chosen_output=output_spec.name if len(signature.outputs) > 1 else None,
        ),
        input=input_spec,
        output=output_spec,
        set_aside=found.set_aside,
    )


def find_fields(path: Path, signature: ModelSignature, profile: str | None) -> FoundFields:
    """The fields of the model file at `path`, from the first source that has any. Raises SpecError.

    An empty TOML file says nothing: it is what a shell makes before the program runs that shall fill it.
    """
    beside = path.with_suffix(".toml")
    where, source = str(beside), "toml"
    mapping = _read_toml(beside) if beside.is_file() else {}
    if not mapping and SPEC_KEY in signature.metadata:
        where, source = f"{path}, metadata {SPEC_KEY}", "metadata"
        mapping = _read_json(signature.metadata[SPEC_KEY], where)
    if mapping:
        fields = fields_from_mapping(mapping, where=where, profile=profile)
        replaced = set_aside(mapping, profile, where=where)
        return FoundFields(fields=fields, source=profile or source, set_aside=replaced)
    if profile is not None:
        return FoundFields(fields=fields_from_profile(profile), source=profile)
    raise UnknownPreprocessing(
        f"the preprocessing of {path.name} is not known. Name a profile (--profile NAME), or write its fields into "
        f"{beside.name} beside it (docs/models.md shows how). The profiles are:\n{describe_profiles()}"
    )


def encode_spec_metadata(spec: ModelSpec) -> dict[str, str]:
    """The metadata that give a model file its own preprocessing; for programs that write model files.

    A file made from another one also needs `SHA_KEY` with the original's sha256.
    """
    return {SPEC_KEY: json.dumps(fields_to_mapping(spec), sort_keys=True)}


def _input_spec(signature: ModelSignature, fields: SpecFields) -> InputSpec:
    image = _image_tensor(signature)
    _check_channels(image, fields)
    _check_range(fields)
    height, width = _image_size(image, fields)
    return InputSpec(
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


def _output_spec(signature: ModelSignature, fields: SpecFields) -> OutputSpec:
    vector = _vector_tensor(signature, fields.output)
    dim = vector.shape[1]
    if dim is None:
        raise SpecError(f"the dimension of the network's output is not fixed: {vector}; export it with a fixed one")
    return OutputSpec(name=vector.name, dim=dim, l2_normalize=fields.l2_normalize)


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested a thousand deep
        raise SpecError(f"{path}: {error}") from error


def _read_json(text: str, where: str) -> dict[str, object]:
    try:
        mapping = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where}: not JSON: {error}") from error
    if not isinstance(mapping, dict):
        raise SpecError(f"{where}: it is {text[:80]!r}; it must be a JSON object")
    return mapping


def _image_tensor(signature: ModelSignature) -> TensorSignature:
    inputs = signature.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != _IMAGE_RANK or inputs[0].dtype != _FLOAT:
        other = len(inputs) == 1 and inputs[0].dtype != _FLOAT
        hint = "; export it with float32 at both ends (float16: keep_io_types=True)" if other else ""
        raise SpecError(f"one float input [batch, channels, height, width] is needed; found {_list(inputs)}{hint}")
    return inputs[0]


def _vector_tensor(signature: ModelSignature, wanted: str | None) -> TensorSignature:
    found = _list(signature.outputs)
    if wanted is None and len(signature.outputs) > 1:
        raise SpecError(
            f'the network has several outputs; name the embedding with output = "NAME" in the TOML file; found {found}'
        )
    for tensor in signature.outputs:
        if wanted in (None, tensor.name) and len(tensor.shape) == _VECTOR_RANK and tensor.dtype == _FLOAT:
            return tensor
    if wanted is not None:
        raise SpecError(f"this network has no float output {wanted!r} [batch, dim]; found {found}")
    raise SpecError(f"a float output [batch, dim] is needed; found {found}")


def _image_size(image: TensorSignature, fields: SpecFields) -> tuple[int, int]:
    """Height and width: from the network, or from the spec if the network leaves them open."""
    return (
        _axis("height", image.shape[2], fields.height, image),
        _axis("width", image.shape[3], fields.width, image),
    )


def _axis(axis: str, fixed: int | None, given: int | None, image: TensorSignature) -> int:
    if fixed is not None and given is not None and fixed != given:
        raise SpecError(f"the network's {axis} is {fixed} ({image}), the spec says {given}")
    size = given if fixed is None else fixed
    if size is None:
        raise SpecError(f"the network's {axis} is not fixed ({image}); write {axis} = PIXELS in the TOML file")
    return size


def _check_channels(image: TensorSignature, fields: SpecFields) -> None:
    needed = 1 if fields.color_order is ColorOrder.GRAY else 3
    if image.shape[1] not in (None, needed):
        raise SpecError(
            f"the network's input has {image.shape[1]} channels ({image}, read as [batch, channels, height, width]); "
            f"color_order {fields.color_order.value} needs {needed}. If its axes are in another order, export it in "
            "this one (docs/models.md)"
        )
    if not len(fields.mean) == len(fields.std) == needed:
        raise SpecError(
            f"color_order {fields.color_order.value} needs {needed} means and stds; "
            f"the spec has {len(fields.mean)} and {len(fields.std)}"
        )


def _check_range(fields: SpecFields) -> None:
    """An engine computes x * (scale / std) - mean / std in float32; no value may become infinite."""
    for mean, std in zip(fields.mean, fields.std, strict=True):
        largest = _WHITE * fields.scale / std + abs(mean / std)
        if not largest <= _LARGEST_FLOAT32:
            raise SpecError(
                f"scale {fields.scale!r}, mean {mean!r} and std {std!r} make a white pixel {largest:g}, "
                f"more than a float32 holds ({_LARGEST_FLOAT32:g})"
            )


def _artifact_sha(path: Path, signature: ModelSignature) -> str:
    """The original's sha256: from the metadata, or else of the file and of the files that it refers to."""
    carried = signature.metadata.get(SHA_KEY)
    if carried is None:
        try:
            return sha256_file(path, *external_files(path))
        except OSError as error:
            raise ModelError(f"{path}: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{64}", carried):
        raise SpecError(f"{path}, metadata {SHA_KEY}: {carried!r} is not a sha256; it must be 64 lower-case hex digits")
    return carried


def _list(tensors: Sequence[TensorSignature]) -> str:
    return "; ".join(map(str, tensors)) or "none"
