"""Makes an INT8 model file from a float32 one: static post-training quantisation, calibrated with real crops.

Why these choices. Weights have one scale per output channel. Activations have one scale per tensor, which covers
99.99 % of the calibration's values: a single outlier would cost all other values their resolution. Only convolutions
are quantised, but not the first, which sees the pixels, and none after a global pooling (channel gates, the embedding's
head): those are cheap, and their rounding shows in the vector. The result is QDQ, which onnxruntime and OpenVINO both
run in int8.

Traps: the vectors of an INT8 file are in a space of their own. So the file is identified by its own sha256; the
original's is kept under another key than the one by which a file keeps its original's space. How close the vectors stay
depends mostly on the network. So every fifth crop is held out of the calibration, and both networks are compared on
these crops.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .cpu.onnx_loading import load_onnx
from .cpu.options import OnnxOptions
from .cpu.preprocess import Floats, Preprocessor, Scratch
from .cpu.stager import CpuStager
from .errors import EnginesError, ImageError, ModelError, PackageMissing
from .headers import parse_encoded
from .image import PixelBox
from .onnx_facts import read_facts
from .onnx_file import read_signature
from .protocol import Embeddings, TensorCrop
from .spec import ModelSpec
from .spec_fields import fields_to_mapping
from .spec_source import PRECISION_KEY, SHA_KEY, SPEC_KEY, resolve_spec

QUANTIZED_FROM_KEY = "reidstream.quantized_from_sha256"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_CROPS = 320
"""Of more crops, this many are taken, evenly spread: the ranges settle long before."""

_HELD_OUT = 5
_CHUNK = 8  # crops whose activations are held at a time; the calibration takes a multiple of it
_STEP = 10  # 2 crops held out, and a chunk
_PERCENTILE = 99.99
_POOLINGS = ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean")
_BACK = ("Mul", "Add")  # where a gate's value returns to the features that it gates


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What was made. `cosines`: between the vectors of both networks, on the crops held out of the calibration."""

    spec: ModelSpec
    calibrated_with: int
    layers: int
    cosines: tuple[float, ...]


def need_packages() -> None:
    """Raises PackageMissing if a package of the extra `quantize` is not installed."""
    try:
        import onnx  # noqa: F401, PLC0415 - optional
        import tqdm  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        raise PackageMissing(
            f"quantising needs the package {error.name}, which is not installed; install it: "
            "pip install 'reidstream-engines[quantize]'"
        ) from None


def find_crops(folder: Path) -> tuple[Path, ...]:
    """The pictures below `folder` to calibrate with, at most MAX_CROPS; hidden files are none.

    Raises ModelError if there are too few.
    """
    found = (path for path in folder.rglob("*") if not path.name.startswith("."))
    paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(paths) < _STEP:
        raise ModelError(
            f"{folder} has {len(paths)} pictures ({', '.join(SUFFIXES)}); at least {_STEP} crops are needed. Hundreds "
            "of crops, of different people and cameras, are better"
        )
    count = min(len(paths) // _STEP * _STEP, MAX_CROPS)
    return tuple(paths[i * len(paths) // count] for i in range(count))


def quantize(
    source: Path, target: Path, *, profile: str | None, crops: Sequence[Path], tick: Callable[[], object]
) -> Quantized:
    """Write `target`, an INT8 file with its spec in it. `crops`: from `find_crops`. `tick`: called once for each crop.

    Raises PackageMissing; ModelError, also for a network without layers to quantise or one that is quantised already;
    ImageError for a crop, with its name; and whatever `load_onnx` raises.
    """
    need_packages()
    _prepare(target, source)
    signature = read_signature(source)
    if read_facts(source).quantized:
        raise ModelError(f"{source} is quantised already; use the float32 file")
    spec = resolve_spec(path=source, signature=signature, name=None, profile=profile)
    inputs = _Inputs(spec, crops, tick)
    held_out = list(inputs.held_out())
    with TemporaryDirectory() as folder:
        layers = _quantize(source, Path(folder), target, spec, inputs)
    made = load_onnx(target, name=None, profile=None, options=OnnxOptions(max_batch=1))
    original = load_onnx(source, name=None, profile=profile, options=OnnxOptions(max_batch=1))
    cosines = [_cosine(*(engine.submit([crop]).result() for engine in (made, original))) for crop in held_out]
    return Quantized(spec=made.spec, calibrated_with=len(inputs), layers=layers, cosines=tuple(cosines))


class _Inputs:
    """Crops as the network takes them, with the preprocessing that will serve it; onnxruntime calibrates with it."""

    def __init__(self, spec: ModelSpec, crops: Sequence[Path], tick: Callable[[], object]) -> None:
        self._spec = spec.input
        self._crops = [path for index, path in enumerate(crops) if (index + 1) % _HELD_OUT]
        self._held_out = crops[_HELD_OUT - 1 :: _HELD_OUT]
        self._tick = tick
        self._preprocessor = Preprocessor(spec.input)
        self._scratch = Scratch(spec.input)
        self._stager = CpuStager()
        self._reading: Iterator[Path] = iter(())

    def held_out(self) -> Iterator[TensorCrop]:
        """The crops that are left out of the calibration."""
        return (TensorCrop(tensor=self._read(path)[0]) for path in self._held_out)

    def set_range(self, start_index: int, end_index: int) -> None:
        """The next crops to read; onnxruntime's name and parameters."""
        self._reading = iter(self._crops[start_index:end_index])

    def get_next(self) -> dict[str, Floats] | None:
        """The next batch, of one crop; None at the end; onnxruntime's name."""
        path = next(self._reading, None)
        return None if path is None else {self._spec.name: self._read(path)}

    def __len__(self) -> int:
        return len(self._crops)

    def _read(self, path: Path) -> Floats:
        spec = self._spec
        batch: Floats = np.empty((1, len(spec.mean), spec.height, spec.width), np.float32)
        try:
            image = parse_encoded(path.read_bytes())
            box = PixelBox(x1=0, y1=0, x2=image.width, y2=image.height)
            with self._stager.stage(image, (box,)) as frame:
                self._preprocessor.write(frame, box, batch[0], self._scratch)
        except OSError as error:
            raise ModelError(f"{path}: {error}") from error
        except ImageError as error:
            raise type(error)(f"{path}: {error}") from error
        self._tick()
        return batch


def _quantize(source: Path, folder: Path, target: Path, spec: ModelSpec, inputs: _Inputs) -> int:
    """Writes `target`; returns how many layers were quantised."""
    import onnx  # noqa: PLC0415 - optional
    from onnxruntime.quantization import (  # noqa: PLC0415 - needs onnx
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415 - needs onnx

    folded, written = folder / "folded.onnx", folder / "written.onnx"
    try:
        with _quiet():
            quant_pre_process(source, folded, skip_symbolic_shape=True)
            model = onnx.load(folded)
            for index, node in enumerate(model.graph.node):
                node.name = node.name or f"node_{index}"
            onnx.save(model, folded)
            chosen = _chosen(model.graph)
            quantize_static(
                folded,
                written,
                inputs,
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=chosen,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={"CalibPercentile": _PERCENTILE, "CalibStridedMinMax": _CHUNK},
            )
        model = onnx.load(written)
        onnx.helper.set_model_props(model, _metadata(model, spec))
        unfinished = _unfinished(target)
        onnx.save(model, unfinished)
        unfinished.replace(target)  # Ctrl-C leaves no half file under this name
    except EnginesError:
        raise
    except Exception as error:  # the quantiser's exceptions share no base
        raise ModelError(f"{source} cannot be quantised: {error}") from error
    return len(chosen)


def _prepare(target: Path, source: Path) -> None:
    """Make the target's folder and try to write there, before minutes of calibration. Raises ModelError."""
    if target.is_dir():
        raise ModelError(
            f"{target} cannot be written: it is a folder; name a file in it, such as {target / 'int8.onnx'}"
        )
    if target.resolve() == source.resolve():
        raise ModelError(f"{target} is the float32 file itself; give --output another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _unfinished(target).open("wb").close()
        _unfinished(target).unlink()
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}") from error


def _unfinished(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the quantiser: it prints what it does, and warns about things that are done here on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _chosen(graph: Any) -> list[str]:  # noqa: ANN401 - onnx is optional
    """The names of the convolutions to quantise: not the first, and none after a global pooling."""
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    pooled = {name for node in graph.node if node.op_type in _POOLINGS for name in node.output}
    for node in graph.node:  # in topological order
        if node.op_type not in _BACK and any(name in pooled for name in node.input):
            pooled.update(node.output)
    chosen = [node.name for node in convolutions[1:] if not any(name in pooled for name in node.input)]
    if not chosen:
        raise ModelError("the network has no convolution to quantise; the first one is never quantised")
    return chosen


def _metadata(model: Any, spec: ModelSpec) -> dict[str, str]:  # noqa: ANN401 - onnx is optional
    kept = {item.key: item.value for item in model.metadata_props if item.key != SHA_KEY}
    shape = {"output": spec.output.name, "width": spec.input.width, "height": spec.input.height}
    return {
        **kept,
        SPEC_KEY: json.dumps({**fields_to_mapping(spec), **shape}, sort_keys=True),
        PRECISION_KEY: "int8",
        QUANTIZED_FROM_KEY: spec.artifact_sha256,
    }


def _cosine(first: Embeddings, second: Embeddings) -> float:
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / lengths if lengths else 0.0
