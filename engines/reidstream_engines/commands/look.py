"""`inspect` and `selftest`: what is in a model file, and whether it works on this machine.

Trap: `inspect` must also work for a file without a spec, and for one that cannot be served here; that is when people
use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import ModelError, PackageMissing, SpecError, UnsupportedProfile
from reidstream_engines.onnx_facts import read_facts
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.selftest import self_test
from reidstream_engines.spec import ModelSpec
from reidstream_engines.spec_source import SPEC_KEY, ModelSignature, resolve_spec

from .common import Meant, engine_text, print_fields, say_what_is_set_aside


def inspect(model: Meant, options: OnnxOptions) -> None:
    """Print a model's tensors, metadata, spec and space. Raises ModelError, and SpecError for a spec that is wrong."""
    signature = read_signature(model.path)
    _print_file(model.path, signature)
    try:
        spec = resolve_spec(path=model.path, signature=signature, name=model.name, profile=model.profile)
    except SpecError as error:
        there = SPEC_KEY in signature.metadata or model.path.with_suffix(".toml").is_file()
        if model.profile is not None or there:
            raise  # there is a spec, and it is wrong
        print(f"spec         none: {error}")
        return
    print_fields(_spec_fields(spec))
    say_what_is_set_aside(spec)
    try:
        engine = model.load(options)
    except (ModelError, PackageMissing, UnsupportedProfile) as error:
        print(f"here         cannot be served: {error}")
    else:
        print("here         can be served")
        print(f"engine       {engine_text(engine.info)}")
        engine.close()


def selftest(model: Meant, options: OnnxOptions) -> None:
    """Run a model in every batch size, and print the times. Raises EnginesError."""
    engine = model.load(options)
    say_what_is_set_aside(engine.spec)
    print(f"{engine.spec.name}: {engine_text(engine.info)}, {options.threads_per_call} thread(s)")
    report = self_test(engine, CpuStager())
    engine.close()
    print(f"{'batch':>6} {'ms':>9} {'ms/crop':>9} {'crops/s':>9}")
    for timing in report.timings:
        per_crop = timing.seconds / timing.size
        print(f"{timing.size:>6} {timing.seconds * 1e3:>9.2f} {per_crop * 1e3:>9.3f} {1 / per_crop:>9.0f}")
    print(f"passed: a vector changes by at most {report.max_difference:.1e} of its length with its batch")


def _print_file(path: Path, signature: ModelSignature) -> None:
    print_fields({"file": str(path), "bytes": f"{path.stat().st_size:,}"})
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            print_fields({kind: str(tensor)})
    print_fields({"precision": read_facts(path).precision()})
    for key, value in sorted(signature.metadata.items()):
        print_fields({"metadata": f"{key} = {value}"})
    if not signature.metadata:
        print_fields({"metadata": "none"})


def _spec_fields(spec: ModelSpec) -> Mapping[str, str]:
    source = spec.input
    return {
        "name": f"{spec.name}, version {spec.version}",
        "profile": spec.profile,
        "size": f"{source.width} x {source.height} (width x height)",
        "color": source.color_order.value,
        "resize": f"{source.resize.value}, {source.fit.value}",
        "crop": source.crop_rule.value,
        "scale": f"{source.scale:.9g}",
        "mean": ", ".join(f"{value:g}" for value in source.mean),
        "std": ", ".join(f"{value:g}" for value in source.std),
        "vector": f"{spec.output.dim} numbers{', length 1' if spec.output.l2_normalize else ''}",
        "artifact": spec.artifact_sha256,
        "space_id": spec.space_id,
    }
