"""Golden vectors with our whole path on a GPU: files as cameras send them, boxes, and the network's rows.

DATA holds `models/STEM.onnx` and what `bench.backends` needs. Trap: the vectors come from OpenCV on x86; the frames are
JPEGs, so the decoder is under test as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from reidstream_engines.boxes import resolve
from reidstream_engines.cuda.decoders import CpuFrameDecoder, DeviceDecoder
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.turbojpeg import find_turbojpeg
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_engines.protocol import BoxCrop, Engine
from reidstream_engines.spec import CropRule

from .launch import Machine
from .report import Check, Outcome, judged, measured
from .stand_in import networks_of_any

_SETS = ("mot17mini", "edgeboxes", "market_style")
_LEAST = {OutputType.FP32: 0.9995, OutputType.FP16: 0.999}

Cut = tuple[Path, Sequence[tuple[int, tuple[float, float, float, float] | None]]]
"""A picture, and for each of its boxes: the row in the golden file, and the corners (None: the whole picture)."""


def golden(machine: Machine) -> Iterator[Check]:
    """Every model in the data, in both precisions; skipped without data."""
    models = _models(machine)
    if not models:
        yield Check(name="golden vectors", outcome=Outcome.SKIPPED, value="no data was given (--data FOLDER)")
    for path in models:
        for output, least in _LEAST.items():
            for kind, library, cosines in _of_model(machine, path, output, None):
                value = f"{cosines.min():.6f} over {len(cosines)} crops, by {library}"
                passed = bool(cosines.min() >= least)
                yield judged(f"golden, {path.stem}, {output.value}, {kind}", value, f">= {least}", passed=passed)


def golden_with(machine: Machine, how: str, open_decoder: Callable[[], DeviceDecoder]) -> Iterator[Check]:
    """The same in float32 with another decoder. Nothing is judged: it shows what that decoder costs."""
    for path in _models(machine):
        for kind, _, cosines in _of_model(machine, path, OutputType.FP32, open_decoder):
            value = f"cosine at least {cosines.min():.6f}, {cosines.mean():.6f} on average"
            yield measured(f"golden, {path.stem}, {how}, {kind}", value)


def _models(machine: Machine) -> list[Path]:
    return [] if machine.data is None else sorted((machine.data / "models").glob("*.onnx"))


def _of_model(
    machine: Machine, path: Path, output: OutputType, open_decoder: Callable[[], DeviceDecoder] | None
) -> Iterator[tuple[str, str, npt.NDArray[np.float64]]]:
    """For each set: its name, what computed the network, and the cosine of every crop."""
    data = path.parents[1]
    with TemporaryDirectory() as folder:
        made = networks_of_any(machine, path, output, max_batch=machine.golden_batch, slots=2, cache=Path(folder))
        host = CpuFrameDecoder(JpegDecoder(find_turbojpeg()))
        on_device = None if open_decoder is None else open_decoder()
        with (
            closing(CudaStager(machine.context, host, max_bytes=1 << 28, on_device=on_device)) as stager,
            closing(made.engine(machine)) as engine,
        ):
            for kind in _SETS:
                with np.load(data / "golden" / f"{kind}_{path.stem}.npz") as file:
                    expected: npt.NDArray[np.float32] = file["embedding"]
                    cuts = _cuts(data, kind, file)
                found = np.empty_like(expected)
                for cut in cuts:
                    _embed(stager, engine, cut, found, machine.golden_batch)
                yield kind, made.library, np.einsum("ij,ij->i", found.astype(np.float64), expected.astype(np.float64))


def _cuts(data: Path, kind: str, file: Mapping[str, npt.NDArray[np.generic]]) -> list[Cut]:
    if "frame" not in file:
        return [(data / "crops" / kind / str(name), [(row, None)]) for row, name in enumerate(file["name"])]
    rows: dict[str, list[tuple[int, tuple[float, float, float, float] | None]]] = defaultdict(list)
    for row, (frame, box) in enumerate(zip(file["frame"], file["box_xyxy"], strict=True)):
        x1, y1, x2, y2 = (float(corner) for corner in np.asarray(box))
        rows[str(frame)].append((row, (x1, y1, x2, y2)))
    return [(data / "frames" / frame, cut) for frame, cut in rows.items()]


def _embed(stager: CudaStager, engine: Engine, cut: Cut, found: npt.NDArray[np.float32], most: int) -> None:
    path, rows = cut
    image = parse_encoded(path.read_bytes())
    whole = (0.0, 0.0, float(image.width), float(image.height))
    boxes: list[PixelBox] = []
    for _, rect in rows:
        box = resolve(rect or whole, width=image.width, height=image.height, rule=CropRule.EXACT, min_px=1)
        if not isinstance(box, PixelBox):
            raise TypeError(f"{path}: box {rect} is {box}")
        boxes.append(box)
    with stager.stage(image, boxes) as frame:
        for at in range(0, len(rows), most):
            crops = [BoxCrop(frame=frame, box=box) for box in boxes[at : at + most]]
            found[[row for row, _ in rows[at : at + most]]] = engine.submit(crops).result()
