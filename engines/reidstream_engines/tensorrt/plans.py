"""The plan for a model on a kind of GPU: the kept one if it fits, else a new one.

Why here: in this order problems are found early. The key is complete before anything is built. The cache is asked again
under its lock, since another process may just have built this plan. And TensorRT gets a model that already has the
precision that was asked for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from reidstream_engines.errors import ModelError, PlanError
from reidstream_engines.external_data import external_files
from reidstream_engines.space import sha256_file
from reidstream_engines.spec import ModelSpec

from .api import Flavour, TensorRt, TensorType, load_tensorrt
from .builder import BuildRequest, build_plan
from .cache import Plan, PlanCache
from .fp16 import EXPORTER, export_fp16
from .manifest import Origin, PlanKey, PlanManifest, PlanPrecision
from .onnx_graph import model_bytes
from .progress import Progress


def plan_for(
    model: Path,
    spec: ModelSpec,
    *,
    architecture: str,
    precision: PlanPrecision,
    max_batch: int,
    cache: PlanCache,
    progress: Progress | None = None,
    flavour: Flavour = Flavour.TENSORRT,
) -> Plan:
    """The plan of an ONNX file for a GPU of `architecture` (such as sm_90); built if the cache has none that fits.

    fp16 takes its image in float16; its vectors are float32. A build takes seconds to minutes; `progress` is called
    meanwhile. Any thread, but one build at a time (`PlanCache.building`): others wait.

    With `Flavour.TENSORRT` the caller must make sure that there is a device, and that it is the current one.

    Raises DeviceUnavailable (no TensorRT, or too old), ModelError (the file, or TensorRT cannot run it), PackageMissing
    (fp16 needs onnx) and PlanError (the build failed, or the cache cannot be written).
    """
    if precision is PlanPrecision.UNKNOWN:
        raise PlanError("the precision of a plan that is built must be fp32 or fp16, not unknown")
    if max_batch < 1:
        raise PlanError(f"max_batch is {max_batch}; it must be at least 1 crop")
    trt = load_tensorrt(flavour)
    key = plan_key(
        trt, model, spec, flavour=flavour, architecture=architecture, precision=precision, max_batch=max_batch
    )
    found = cache.find(key, spec.name)
    if found is not None:
        return found
    with cache.building():
        return cache.find(key, spec.name) or _build(trt, model, spec, key=key, cache=cache, progress=progress)


def plan_key(
    trt: TensorRt,
    model: Path,
    spec: ModelSpec,
    *,
    flavour: Flavour,
    architecture: str,
    precision: PlanPrecision,
    max_batch: int,
) -> PlanKey:
    """Everything that a plan of this file depends on. Reads the file. Raises ModelError."""
    try:
        sha = sha256_file(model, *external_files(model))
    except OSError as error:
        raise ModelError(f"{model}: {error}") from error
    return PlanKey(
        source_sha256=sha,
        flavour=flavour,
        tensorrt_version=trt.__version__,
        architecture=architecture,
        precision=precision,
        max_batch=max_batch,
        exporter=EXPORTER,
        image_shape=(len(spec.input.mean), spec.input.height, spec.input.width),
        output=spec.output.name,
    )


def _build(
    trt: TensorRt, model: Path, spec: ModelSpec, *, key: PlanKey, cache: PlanCache, progress: Progress | None
) -> Plan:
    half = key.precision is PlanPrecision.FP16
    built = build_plan(
        trt,
        key.flavour,
        BuildRequest(
            model=export_fp16(model).data if half else model_bytes(model),
            path=model,
            spec=spec,
            image=TensorType.FP16 if half else TensorType.FP32,
            architecture=key.architecture,
            max_batch=key.max_batch,
            timing=cache.timing(key),
        ),
        progress,
    )
    cache.keep_timing(key, built.timing)
    manifest = PlanManifest(
        key=key,
        origin=Origin.BUILT,
        model=spec.name,
        artifact_sha256=spec.artifact_sha256,
        max_batch=built.static_batch or key.max_batch,
        static_batch=built.static_batch,
        input=built.input,
        output=built.output,
        plan_sha256=hashlib.sha256(built.image).hexdigest(),
        plan_bytes=len(built.image),
        spec="",
    )
    return cache.keep(manifest, built.image)
