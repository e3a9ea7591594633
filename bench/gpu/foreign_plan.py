"""A plan as trtexec builds it, with types chosen by flags and not by the graph: what `reidstream-engines adopt` is for.

Why not trtexec itself: TensorRT's Python package does not contain it. With the flag, TensorRT 8.6 and 10 choose float16
layer by layer; 11 has no such flag and builds what the file says. Trap: tactics that need cuBLAS or cuDNN are left out,
because a machine may have TensorRT without them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from reidstream_engines.errors import PlanError
from reidstream_engines.spec import InputSpec
from reidstream_engines.tensorrt.api import TensorRt
from reidstream_engines.tensorrt.parsing import BuildLog

_TACTICS = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")


def build_foreign(module: TensorRt, path: Path, source: InputSpec, *, max_batch: int) -> bytes:
    """The ONNX file as a plan for batches of 1 to `max_batch`, on the current device. Raises PlanError."""
    trt: Any = cast("Any", module)
    log = BuildLog(module)
    builder = trt.Builder(log.logger)
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(path.read_bytes()):
        raise PlanError(f"{path}: not parsed{log.text()}")
    config = builder.create_builder_config()
    if hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    if hasattr(trt, "TacticSource"):
        config.set_tactic_sources(sum(1 << int(getattr(trt.TacticSource, name)) for name in _TACTICS))
    profile = builder.create_optimization_profile()
    rest = (len(source.mean), source.height, source.width)
    profile.set_shape(source.name, (1, *rest), (max_batch, *rest), (max_batch, *rest))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise PlanError(f"{path}: not built{log.text()}")
    return bytes(plan)
