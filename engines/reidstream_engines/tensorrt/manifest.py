"""A plan's manifest: what it was built from and for. It is kept beside the plan as JSON, and read back strictly.

Why: a plan fits one TensorRT version on one kind of GPU. Deserialising another one fails late, with a message that
does not name the cause, or ends the process. So the manifest is compared before TensorRT reads a byte. Trap: everything
that changes a plan belongs into `PlanKey`; otherwise an old plan would be used where a new one is needed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum

from reidstream_engines.errors import PlanError

from .api import Flavour, TensorType
from .json_fields import JsonFields, plain, shown

FORMAT = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARCHITECTURE = re.compile(r"sm_\d{2,3}")
_IMAGE_RANK = 4
_VECTOR_RANK = 2


class PlanPrecision(Enum):
    """The precision of the float layers. UNKNOWN: the plan was adopted and does not say it."""

    FP32 = "fp32"
    FP16 = "fp16"
    UNKNOWN = "unknown"


class Origin(Enum):
    """Who made the plan."""

    BUILT = "built"
    ADOPTED = "adopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """An input or output of a plan; -1 in `shape` is a dynamic axis."""

    name: str
    dtype: TensorType
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanKey:
    """Everything that a plan depends on.

    `source_sha256`: of the model file and the files that it refers to; of an adopted plan itself. `architecture`: such
    as sm_90. `max_batch`: as it was asked for. `exporter`: the version of the conversion of the graph
    (`fp16.EXPORTER`). `image_shape`: channels, height and width.
    """

    source_sha256: str
    flavour: Flavour
    tensorrt_version: str
    architecture: str
    precision: PlanPrecision
    max_batch: int
    exporter: int
    image_shape: tuple[int, int, int]
    output: str

    def digest(self) -> str:
        """64 hex digits."""
        return hashlib.sha256(json.dumps(_key_to_json(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanManifest:
    """`model`: a name for people. `artifact_sha256`: the original's, which names the space of the vectors.

    `static_batch`: the only batch size that the plan takes; None if it takes any up to `max_batch`. `spec`: an adopted
    plan's preprocessing, as in the metadata of model files (`spec_source.SPEC_KEY`); empty for a built plan, since its
    model has it.
    """

    key: PlanKey
    origin: Origin
    model: str
    artifact_sha256: str
    max_batch: int
    static_batch: int | None
    input: TensorInfo
    output: TensorInfo
    plan_sha256: str
    plan_bytes: int
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A field of a manifest with another value than expected."""

    field: str
    found: object
    expected: object

    def __str__(self) -> str:
        return f"{self.field} is {shown(self.found)}, not {shown(self.expected)}"


def mismatches(found: PlanKey, wanted: PlanKey) -> tuple[Mismatch, ...]:
    """Every field that differs."""
    pairs = ((field.name, getattr(found, field.name), getattr(wanted, field.name)) for field in fields(PlanKey))
    return tuple(Mismatch(field=name, found=a, expected=b) for name, a, b in pairs if a != b)


def manifest_to_json(manifest: PlanManifest) -> str:
    """The manifest as JSON, indented for people; `parse_manifest` reads it back."""
    form = {
        "format": FORMAT,
        "key": _key_to_json(manifest.key),
        "origin": manifest.origin.value,
        "model": manifest.model,
        "artifact_sha256": manifest.artifact_sha256,
        "max_batch": manifest.max_batch,
        "static_batch": manifest.static_batch,
        "input": _tensor_to_json(manifest.input),
        "output": _tensor_to_json(manifest.output),
        "plan_sha256": manifest.plan_sha256,
        "plan_bytes": manifest.plan_bytes,
        "spec": manifest.spec,
    }
    return json.dumps(form, indent=2) + "\n"


def parse_manifest(text: str, *, where: str) -> PlanManifest:
    """Read a manifest. Raises PlanError, which names `where`, the field, the value found and the value expected."""
    try:
        form = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{where} is not a manifest: {error}") from error
    reader = JsonFields(form, where)
    if reader.number("format") != FORMAT:
        reader.wrong("format", FORMAT)
    manifest = PlanManifest(
        key=_parse_key(reader.inner("key")),
        origin=reader.member("origin", Origin),
        model=reader.text("model"),
        artifact_sha256=reader.matching("artifact_sha256", _SHA256),
        max_batch=reader.number("max_batch"),
        static_batch=reader.number_or_none("static_batch"),
        input=_parse_tensor(reader.inner("input"), _IMAGE_RANK),
        output=_parse_tensor(reader.inner("output"), _VECTOR_RANK),
        plan_sha256=reader.matching("plan_sha256", _SHA256),
        plan_bytes=reader.number("plan_bytes"),
        spec=reader.text("spec", empty=_is_built(form)),
    )
    reader.done()
    if manifest.static_batch not in (None, manifest.max_batch):
        reader.wrong("static_batch", f"null or max_batch, {manifest.max_batch}")
    return manifest


def _is_built(form: Mapping[str, object]) -> bool:
    """Whether the plan was built; then `spec` is empty."""
    return form.get("origin") == Origin.BUILT.value


def _parse_key(reader: JsonFields) -> PlanKey:
    shape = reader.numbers("image_shape", least=1)
    if len(shape) != _IMAGE_RANK - 1:
        reader.wrong("image_shape", "channels, height and width")
    key = PlanKey(
        source_sha256=reader.matching("source_sha256", _SHA256),
        flavour=reader.member("flavour", Flavour),
        tensorrt_version=reader.text("tensorrt_version"),
        architecture=reader.matching("architecture", _ARCHITECTURE),
        precision=reader.member("precision", PlanPrecision),
        max_batch=reader.number("max_batch"),
        exporter=reader.number("exporter", least=0),
        image_shape=(shape[0], shape[1], shape[2]),
        output=reader.text("output"),
    )
    reader.done()
    return key


def _parse_tensor(reader: JsonFields, rank: int) -> TensorInfo:
    tensor = TensorInfo(
        name=reader.text("name"), dtype=reader.member("dtype", TensorType), shape=reader.numbers("shape", least=-1)
    )
    if len(tensor.shape) != rank or 0 in tensor.shape:
        reader.wrong("shape", f"{rank} numbers, of which none is 0")
    reader.done()
    return tensor


def _key_to_json(key: PlanKey) -> dict[str, object]:
    return {field.name: plain(getattr(key, field.name)) for field in fields(PlanKey)}


def _tensor_to_json(tensor: TensorInfo) -> dict[str, object]:
    return {"name": tensor.name, "dtype": tensor.dtype.value, "shape": list(tensor.shape)}
