"""Keys and manifests for tests, and hypothesis strategies for all of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import strategies as st

from reidstream_engines.tensorrt.api import Flavour, TensorType
from reidstream_engines.tensorrt.manifest import Origin, PlanKey, PlanManifest, PlanPrecision, TensorInfo

IMAGE = b"a plan"
KEY = PlanKey(
    source_sha256="ab" * 32,
    flavour=Flavour.TENSORRT,
    tensorrt_version="11.4.0",
    architecture="sm_90",
    precision=PlanPrecision.FP16,
    max_batch=64,
    exporter=1,
    image_shape=(3, 256, 128),
    output="embedding",
)
MANIFEST = PlanManifest(
    key=KEY,
    origin=Origin.BUILT,
    model="osnet",
    artifact_sha256="cd" * 32,
    max_batch=64,
    static_batch=None,
    input=TensorInfo(name="input", dtype=TensorType.FP16, shape=(-1, 3, 256, 128)),
    output=TensorInfo(name="embedding", dtype=TensorType.FP32, shape=(-1, 512)),
    plan_sha256=hashlib.sha256(IMAGE).hexdigest(),
    plan_bytes=len(IMAGE),
    spec="",
)


def manifest_of(image: bytes, **key: object) -> PlanManifest:
    """MANIFEST for other bytes and another key."""
    return replace(
        MANIFEST,
        key=replace(KEY, **key),  # type: ignore[arg-type]  # fields by their names
        plan_sha256=hashlib.sha256(image).hexdigest(),
        plan_bytes=len(image),
    )


def _texts() -> st.SearchStrategy[str]:
    return st.text(min_size=1, max_size=20)


def _shas() -> st.SearchStrategy[str]:
    return st.binary(min_size=32, max_size=32).map(bytes.hex)


def _tensors(rank: int) -> st.SearchStrategy[TensorInfo]:
    axes = st.one_of(st.just(-1), st.integers(1, 4096))
    shapes = st.lists(axes, min_size=rank, max_size=rank).map(tuple)
    return st.builds(TensorInfo, name=_texts(), dtype=st.sampled_from(TensorType), shape=shapes)


def _sizes() -> st.SearchStrategy[int]:
    return st.integers(1, 1 << 40)


def keys() -> st.SearchStrategy[PlanKey]:
    return st.builds(
        PlanKey,
        source_sha256=_shas(),
        flavour=st.sampled_from(Flavour),
        tensorrt_version=_texts(),
        architecture=st.sampled_from(("sm_75", "sm_90", "sm_120")),
        precision=st.sampled_from(PlanPrecision),
        max_batch=_sizes(),
        exporter=st.integers(0, 99),
        image_shape=st.tuples(_sizes(), _sizes(), _sizes()),
        output=_texts(),
    )


def manifests() -> st.SearchStrategy[PlanManifest]:
    """Consistent ones: a static batch is the largest one; a built plan has no spec, an adopted one has."""
    made = st.builds(
        PlanManifest,
        key=keys(),
        origin=st.just(Origin.BUILT),
        model=_texts(),
        artifact_sha256=_shas(),
        max_batch=_sizes(),
        static_batch=st.none(),
        input=_tensors(4),
        output=_tensors(2),
        plan_sha256=_shas(),
        plan_bytes=_sizes(),
        spec=st.just(""),
    )
    static = made.map(lambda item: replace(item, static_batch=item.max_batch))
    adopted = st.tuples(made, _texts()).map(lambda pair: replace(pair[0], origin=Origin.ADOPTED, spec=pair[1]))
    return st.one_of(made, static, adopted)
