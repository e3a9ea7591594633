"""Reads what a plan says about itself, in a separate process.

Why another process: a plan is a program for the GPU that TensorRT does not check. A damaged plan, or one of another
version, can end the process that deserialises it, and Python cannot catch that. So a child process does it and prints
what it found as one line of JSON, which the parent reads as strictly as any file.

Traps: TensorRT prints, too, so only the last line counts. And the parent must make sure that there is a device: without
one the child would also end with a segmentation fault, which would look like a bad plan.

    python -m reidstream_engines.tensorrt.examine PLAN FLAVOUR
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from reidstream_engines.errors import EnginesError, PlanError

from .api import CudaEngine, Flavour, TensorRt, TensorType, device_memory_size, load_tensorrt
from .json_fields import JsonFields
from .manifest import TensorInfo
from .messages import Messages, logger_for, without_collection

PATIENCE_S = 300.0
_SHOWN = 500
_TYPES = {"FLOAT": TensorType.FP32, "HALF": TensorType.FP16, "UINT8": TensorType.UINT8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A plan's inputs and outputs. `least_batch`, `most_batch`: equal if the plan has one batch size.

    `memory_bytes`: device memory of one execution context, without the weights. `layers`: one line for each; only names
    if the plan was built without details.
    """

    tensorrt_version: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    least_batch: int
    most_batch: int
    memory_bytes: int
    layers: tuple[str, ...]

    @property
    def static_batch(self) -> int | None:
        """The only batch size that the plan takes; None if it takes several."""
        first = self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else -1
        return None if first < 0 else first


def examine(path: Path, flavour: Flavour, *, patience_s: float = PATIENCE_S) -> Examined:
    """Deserialise the plan at `path` in a child process. The caller must make sure that there is a device.

    Raises PlanError with the reason: TensorRT refuses the plan, the child died or hung, or its output is not valid.
    """
    command = [sys.executable, "-m", __spec__.name, str(path), flavour.value]
    try:
        done = subprocess.run(  # noqa: S603 - this module
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise PlanError(f"{path}: reading the plan took longer than {patience_s:g} s and was stopped") from None
    said = done.stderr.decode(errors="replace").strip()[-_SHOWN:]
    last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    if done.returncode:
        raise PlanError(
            f"{path}: the process that read the plan ended {_cause(done.returncode)}; its last output: {said or 'none'}"
        )
    return _parse(last, path)


def _cause(code: int) -> str:
    if code > 0:
        return f"with exit code {code}"
    try:
        return f"with {signal.Signals(-code).name}"
    except ValueError:
        return f"with signal {-code}"


def _parse(line: str, path: Path) -> Examined:
    where = f"what was found in {path}"
    try:
        form = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{where} is not JSON ({error}): {line[:80]!r}") from error
    fields = JsonFields(form, where)
    failure = fields.text("error", empty=True)
    if failure:
        raise PlanError(f"{path}: {failure}")
    examined = Examined(
        tensorrt_version=fields.text("tensorrt_version"),
        inputs=tuple(_tensor(item, path) for item in fields.objects("inputs")),
        outputs=tuple(_tensor(item, path) for item in fields.objects("outputs")),
        least_batch=fields.number("least_batch"),
        most_batch=fields.number("most_batch"),
        memory_bytes=fields.number("memory_bytes", least=0),
        layers=tuple(item.text("name") for item in fields.objects("layers")),
    )
    fields.done()
    return examined


def _tensor(fields: JsonFields, path: Path) -> TensorInfo:
    name, dtype = fields.text("name"), fields.text("dtype")
    if dtype not in _TYPES:
        raise PlanError(f"{path}: tensor {name} has type {dtype}; the supported types are {', '.join(_TYPES)}")
    return TensorInfo(name=name, dtype=_TYPES[dtype], shape=fields.numbers("shape", least=-1))


def _child(path: Path, flavour: Flavour) -> dict[str, object]:
    trt = load_tensorrt(flavour)
    messages = Messages()
    logger = logger_for(trt, messages)
    with without_collection():
        runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise PlanError(f"TensorRT {trt.__version__} refuses the plan{messages.text()}")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name).name == "INPUT"]
    batches = [_batches(engine, name) for name in inputs] or [(1, 1)]
    return {
        "error": "",
        "tensorrt_version": trt.__version__,
        "inputs": [_described(engine, name) for name in inputs],
        "outputs": [_described(engine, name) for name in names if name not in inputs],
        "least_batch": max(least for least, _ in batches),
        "most_batch": min(most for _, most in batches),
        "memory_bytes": device_memory_size(engine),
        "layers": [{"name": line} for line in _layers(trt, engine)],
    }


def _described(engine: CudaEngine, name: str) -> dict[str, object]:
    shape = [int(axis) for axis in engine.get_tensor_shape(name)]
    return {"name": name, "dtype": engine.get_tensor_dtype(name).name, "shape": shape}


def _batches(engine: CudaEngine, name: str) -> tuple[int, int]:
    """The smallest and the largest batch of the first profile, which is the one that is used."""
    shape = engine.get_tensor_shape(name)
    if len(shape) == 0 or shape[0] >= 0:
        only = int(shape[0]) if len(shape) else 1
        return only, only
    least, _, most = engine.get_tensor_profile_shape(name, 0)
    return int(least[0]), int(most[0])


def _layers(trt: TensorRt, engine: CudaEngine) -> list[str]:
    """One line for each layer; empty if the inspector gives none."""
    inspector = engine.create_engine_inspector()
    if inspector is None:
        return []
    try:
        found = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))["Layers"]
    except (ValueError, LookupError, TypeError):
        return []
    return [line for line in map(_layer, found) if line]


def _layer(found: object) -> str:
    """A layer is only a name, or an object with more; its keys differ between versions."""
    if not isinstance(found, dict):
        return str(found)
    kind = found.get("LayerType", "")
    outputs = found.get("Outputs") or []
    formats = ", ".join(str(item["Format/Datatype"]) for item in outputs if "Format/Datatype" in item)
    return "  ".join(part for part in (str(found.get("Name", "")), str(kind), formats) if part)


def main(arguments: list[str]) -> int:
    """The child: prints one line of JSON, also for every error that can be caught."""
    path, flavour = arguments
    try:
        found = _child(Path(path), Flavour(flavour))
    except (EnginesError, OSError) as error:
        found = {"error": str(error) or type(error).__name__}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
