"""What is checked on a GPU: each check gives a value and what it must be, or why it was skipped.

Why these: CI builds the same kernel for a CPU and runs the engine on a fake driver. Only a device shows the rest:
argument packing, launch shapes, real asynchrony, leaks in the driver, and speed. Trap: equality can fail a check, speed
cannot.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from reidstream_engines import default_model
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.preprocess import Preprocessor, Scratch
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.compile import ENTRY
from reidstream_engines.cuda.decoders import CpuFrameDecoder
from reidstream_engines.cuda.driver import Graph, Module
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.cuda.status import check
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat, RawImage
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.protocol import BoxCrop, EngineInfo
from reidstream_engines.selftest import noise, noise_boxes
from reidstream_engines.spec import InputSpec, ModelSpec, Resize
from reidstream_engines.spec_source import resolve_spec
from reidstream_engines.tensorrt.engine import TensorRtEngine

from .host_network import HostNetwork
from .launch import Launcher, Machine
from .report import Check, Outcome, judged

MAX_BATCH = 32
_MIN_COSINE = {OutputType.FP32: 0.9995, OutputType.FP16: 0.999}
_BICUBIC_SHARE = 1e-3
_OF_PIL = (Resize.PIL_BILINEAR, Resize.PIL_BICUBIC)
_BATCH_TOLERANCE = 1e-5
_RAW_SIDE = (640, 480)
_SANITIZER_S = 200
_NO_SANITIZER = "Device not supported"


def raw(kind: PixelFormat) -> RawImage:
    """Noise in blocks, in this format."""
    width, height = _RAW_SIDE
    rows = height * 3 // 2 if kind is PixelFormat.NV12 else height
    stride = width * 3 if kind in {PixelFormat.BGR, PixelFormat.RGB} else width
    blocks = np.random.default_rng(5).integers(0, 256, (rows // 4, stride // 4), np.uint8)
    return replace(
        noise(),
        data=blocks.repeat(4, axis=0).repeat(4, axis=1).tobytes(),
        format=kind,
        stride=stride,
        chroma_stride=width if kind is PixelFormat.NV12 else 0,
        chroma_offset=width * height if kind is PixelFormat.NV12 else 0,
        color_matrix=ColorMatrix.BT709,
        color_range=ColorRange.LIMITED,
    )


def default_spec() -> ModelSpec:
    """The spec of the embedded model."""
    signature = read_signature(default_model.PATH)
    return resolve_spec(path=default_model.PATH, signature=signature, name=None, profile=None)


def _expected(spec: InputSpec, image: RawImage, count: int) -> npt.NDArray[np.float32]:
    batch = np.empty((count, len(spec.mean), spec.height, spec.width), np.float32)
    preprocessor, scratch = Preprocessor(spec), Scratch(spec)
    boxes = noise_boxes(count)
    with CpuStager().stage(image, boxes) as frame:
        for box, slot in zip(boxes, batch, strict=True):
            preprocessor.write(frame, box, slot, scratch)
    return batch


def kernel_is_the_cpus(machine: Machine) -> Iterator[Check]:
    """Kernel against the CPU path in every format and resize, in levels of 0 to 255.

    OpenCV's bicubic may be one level off in 0.1 % of the values.
    """
    for resize in Resize:
        if resize in _OF_PIL and find_spec("PIL") is None:
            yield Check(name=f"kernel, {resize.value}", outcome=Outcome.SKIPPED, value="no Pillow to compare it with")
            continue
        spec = replace(default_spec().input, resize=resize)
        factor = spec.scale / np.array(spec.std).reshape(-1, 1, 1)
        for kind in PixelFormat:
            image = raw(kind)
            with closing(Launcher(machine, spec, OutputType.FP32, [(image, noise_boxes(8))])) as launcher:
                launcher.launch()
                found = launcher.result().astype(np.float64)
            apart = np.abs(np.rint((found - _expected(spec, image, 8)) / factor))
            share = float((apart != 0).mean())
            exact = resize is not Resize.OPENCV_BICUBIC
            yield judged(
                f"kernel, {resize.value}, {kind.value}",
                f"{share:.2e} of the values differ, by {apart.max():.0f} at most",
                "none differs" if exact else "0.1 %, by 1",
                passed=bool(share == 0 if exact else share <= _BICUBIC_SHARE and apart.max() <= 1),
            )


def graph_replay(machine: Machine) -> Iterator[Check]:
    """A captured launch gives the same bits as a plain one."""
    with closing(
        Launcher(machine, default_spec().input, OutputType.FP16, [(raw(PixelFormat.BGR), noise_boxes(8))])
    ) as launcher:
        launcher.launch()
        plain = launcher.result()
        graph = Graph(launcher.stream, launcher.launch)
        launcher.stream.zero(launcher.out.address, launcher.out_bytes)
        graph.launch(launcher.stream)
        same = launcher.result().tobytes() == plain.tobytes()
        graph.close()
    yield judged("graph replay", "equal" if same else "not equal", "equal", passed=same)


@contextmanager
def engine_on(machine: Machine, output: OutputType) -> Iterator[tuple[TensorRtEngine, CudaStager]]:
    """The embedded model with our whole GPU path; only the network itself runs on the CPU."""
    spec = default_spec()
    context = machine.context
    networks = [
        HostNetwork(default_model.PATH, spec, context, max_batch=MAX_BATCH, input_type=output) for _ in range(2)
    ]
    module = Module(context, machine.crop_kernel(spec.input.resize, output), ENTRY)
    info = EngineInfo(engine="host network", device=f"cuda:{machine.device.index}", precision="fp32")
    stager = CudaStager(context, CpuFrameDecoder(JpegDecoder(None)), max_bytes=1 << 28)
    with closing(stager), closing(TensorRtEngine(context, module, networks, spec, info)) as engine:
        yield engine, stager


def vectors(machine: Machine) -> Iterator[Check]:
    """Vectors against the CPU engine, a batch against its crops alone, and the number of uploads."""
    boxes, expected = noise_boxes(MAX_BATCH), cpu_vectors()
    for output, least in _MIN_COSINE.items():
        with engine_on(machine, output) as (engine, stager), stager.stage(noise(), boxes) as there:
            crops = [BoxCrop(frame=there, box=box) for box in boxes]
            found = engine.submit(crops).result()
            alone = np.concatenate([engine.submit([crop]).result() for crop in crops])
            uploads = stager.uploads
        cosine = lowest_cosine(found, expected)
        apart = float(np.abs(found - alone).max())
        yield judged(f"cosine to the CPU, {output.value}", f"{cosine:.6f}", f">= {least}", passed=cosine >= least)
        yield judged(
            f"batch of {MAX_BATCH} = alone, {output.value}", f"{apart:.1e}", "<= 1e-5", passed=apart <= _BATCH_TOLERANCE
        )
        yield judged(f"uploads of one frame, {output.value}", uploads, "1", passed=uploads == 1)


def cpu_vectors() -> npt.NDArray[np.float32]:
    """Vectors of noise, one for each box, from the embedded model on the CPU."""
    engine = load_onnx(default_model.PATH, name=None, profile=None, options=OnnxOptions(max_batch=MAX_BATCH))
    boxes = noise_boxes(MAX_BATCH)
    with CpuStager().stage(noise(), boxes) as frame:
        return engine.submit([BoxCrop(frame=frame, box=box) for box in boxes]).result()


def lowest_cosine(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """The lowest cosine between rows of norm 1."""
    return float(np.einsum("ij,ij->i", found.astype(np.float64), expected.astype(np.float64)).min())


def memory(machine: Machine) -> Iterator[Check]:
    """Free memory as the driver reports it, after about the first thousand crops and after the last."""
    api = machine.context.api
    boxes = noise_boxes(MAX_BATCH)
    free = []
    with engine_on(machine, OutputType.FP16) as (engine, stager):
        for batch in range(machine.crops // MAX_BATCH):
            with stager.stage(noise(), boxes) as frame:
                engine.submit([BoxCrop(frame=frame, box=box) for box in boxes]).result()
            if batch % 16 == 0:
                free.append(int(check(api, "cuMemGetInfo", api.cuMemGetInfo())))
    lost = free[min(2, len(free) - 1)] - free[-1]
    yield judged(f"device memory over {machine.crops} crops", f"{lost} bytes more", "0", passed=lost <= 0)


def sanitizer(machine: Machine) -> Iterator[Check]:
    """The same kernel under compute-sanitizer, in a process of its own."""
    del machine
    name = "compute-sanitizer"
    program = shutil.which(name)
    if program is None:
        yield Check(name=name, outcome=Outcome.SKIPPED, value=f"{name} is not on the PATH (it is in the CUDA toolkit)")
        return
    command = [program, "--error-exitcode", "9", sys.executable, "-m", "bench", "gpu", "--kernel-only"]
    try:
        done = subprocess.run(  # noqa: S603 - our own
            command, capture_output=True, text=True, check=False, timeout=_SANITIZER_S
        )
    except subprocess.TimeoutExpired:
        yield Check(name=name, outcome=Outcome.SKIPPED, value=f"not finished after {_SANITIZER_S} s")
        return
    said = done.stdout.strip().splitlines() or [""]
    if any(_NO_SANITIZER in line for line in said):
        yield Check(name=name, outcome=Outcome.SKIPPED, value=f"it says: {_NO_SANITIZER}")
        return
    yield judged(name, f"exit code {done.returncode}: {said[-1]}", "exit code 0", passed=done.returncode == 0)


CHECKS: Mapping[str, Callable[[Machine], Iterator[Check]]] = {
    "kernel": kernel_is_the_cpus,
    "graph replay": graph_replay,
    "vectors": vectors,
    "device memory": memory,
}
"""Checks that can fail."""
