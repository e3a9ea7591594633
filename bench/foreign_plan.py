"""A plan built in the way of trtexec: types by flags, not in the graph. What `reidstream-engines adopt` is there for.

Why not trtexec itself: the package from an index brings none. TensorRT 8.6 and 10 choose float16 layer by layer where
the flag allows it; 11 has no such flag, and builds what is in the file. Trap: tactics that need cuBLAS or cuDNN are
left out, because a machine may have TensorRT and neither of them.
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
