"""TensorRT itself on a GPU: the embedded model in both precisions, and a plan that somebody else built.

Why the embedded model: it is always there, and the CPU engine gives its vectors. Trap: everything here begins with
`open_gpu`, as in a server, so that the server's own path is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from reidstream_engines import default_model
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.errors import DeviceUnavailable
from reidstream_engines.protocol import BoxCrop
from reidstream_engines.selftest import noise, noise_boxes
from reidstream_engines.tensorrt.adopt import adopt_plan
from reidstream_engines.tensorrt.api import Flavour, load_tensorrt
from reidstream_engines.tensorrt.cache import PlanCache
from reidstream_engines.tensorrt.manifest import PlanPrecision
from reidstream_engines.tensorrt.opened_gpu import Gpu, GpuOptions, open_gpu

from .checks import MAX_BATCH, cpu_vectors, default_spec, lowest_cosine
from .foreign_plan import build_foreign
from .launch import Machine
from .report import Check, Outcome, judged

_LEAST = {PlanPrecision.FP32: 0.9995, PlanPrecision.FP16: 0.999}
_LEAST_FOREIGN = 0.99
"""Lower, because TensorRT chooses float16 layer by layer itself, even for the norm."""


def tensorrt(machine: Machine) -> Iterator[Check]:
    """Both precisions, with plans that are built here."""
    for precision, least in _LEAST.items():
        name = f"TensorRT, {precision.value}"
        with TemporaryDirectory() as folder:
            options = GpuOptions(precision=precision, max_batch=MAX_BATCH, cache=Path(folder))
            try:
                with open_gpu(machine.device.index, options) as gpu:
                    cosine, eager = _served(gpu, default_model.PATH)
            except DeviceUnavailable as error:
                yield Check(name=name, outcome=Outcome.SKIPPED, value=str(error))
                return
        yield judged(f"{name}: cosine to the CPU", f"{cosine:.6f}", f">= {least}", passed=cosine >= least)
        yield judged(f"{name}: batches without a graph", eager, "none", passed=eager == "none")


def adopted(machine: Machine) -> Iterator[Check]:
    """A foreign plan, examined in a process of its own, adopted and served."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with open_gpu(machine.device.index, GpuOptions(max_batch=MAX_BATCH, cache=folder)) as gpu:
                trt = load_tensorrt(Flavour.TENSORRT)
                foreign = folder / "foreign.engine"
                plan = build_foreign(trt, default_model.PATH, default_spec().input, max_batch=MAX_BATCH)
                foreign.write_bytes(plan)
                kept = adopt_plan(
                    foreign,
                    profile=None,
                    model=default_model.PATH,
                    architecture=machine.device.architecture,
                    cache=PlanCache(root=folder / "plans"),
                )
                cosine, _ = _served(gpu, kept.plan.folder)
        except DeviceUnavailable as error:
            yield Check(name="adopted plan", outcome=Outcome.SKIPPED, value=str(error))
            return
    value = f"{cosine:.6f}, by TensorRT {trt.__version__}"
    yield judged("adopted plan: cosine to the CPU", value, f">= {_LEAST_FOREIGN}", passed=cosine >= _LEAST_FOREIGN)


def _served(gpu: Gpu, model: Path) -> tuple[float, str]:
    """The lowest cosine to the CPU's vectors, and the batch sizes without a graph."""
    boxes = noise_boxes(MAX_BATCH)
    with ExitStack() as stack:
        stager = stack.enter_context(closing(gpu.stager(JpegDecoder(None))))
        opened = gpu.load(model, name=None, profile=None)
        stack.callback(opened.engine.close)
        with stager.stage(noise(), boxes) as there:
            found = opened.engine.submit([BoxCrop(frame=there, box=box) for box in boxes]).result()
    return lowest_cosine(found, cpu_vectors()), ", ".join(map(str, opened.not_captured)) or "none"
