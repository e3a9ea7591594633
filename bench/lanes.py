"""What the lanes of a CPU cost in cosine and give in speed: the figures of docs/lanes.md.

    python -m bench.lanes DATA MODEL.onnx [MODEL.onnx ...]

A lane is a runtime with a precision. DATA holds `frames/MOT17-*/{img1,gt.txt}`, `crops/market_style` and, for each
model by its stem, `golden/{mot17mini,edgeboxes,market_style}_STEM.npz`; the profile is torchreid's. INT8 is calibrated
with labelled boxes of MOT17-02, -04 and -09; nothing of these is among the golden crops that are compared: mot17mini of
the other three sequences, and market_style. The edge cases are compared on their own.

Retrieval is the first crop of each person of MOT17 against all later ones of all sequences. `mixed` asks it with the
lane's queries and the gallery of onnxruntime in fp32, which only lanes of the same space may be asked.

Why tensors: the preprocessing is every lane's, so it is left out of the times. Trap: a core that somebody else uses
slows one lane and not the next, so lanes take turns batch by batch. Medians count: of the milliseconds, and of the
ratio to what the first lane took in the same round, which stands a busy machine better.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from bench.default_model_accuracy import Bgr, mot17, retrieval
from reidstream_engines.boxes import resolve
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import InferenceRuntime, OnnxOptions, Precision
from reidstream_engines.cpu.preprocess import Preprocessor, Scratch
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_engines.protocol import TensorCrop
from reidstream_engines.quantize import find_crops, quantize
from reidstream_engines.spec import CropRule, InputSpec

Floats: TypeAlias = npt.NDArray[np.float32]

PROFILE = "torchreid"
CALIBRATION = ("MOT17-02", "MOT17-04", "MOT17-09")
BATCH = 8
ROUNDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A way to run a model. `int8`: the quantised file in place of the model's own."""

    name: str
    runtime: InferenceRuntime
    precision: Precision = Precision.FP32
    int8: bool = False


LANES = (
    Lane(name="onnxruntime fp32", runtime=InferenceRuntime.ONNXRUNTIME),
    Lane(name="openvino fp32", runtime=InferenceRuntime.OPENVINO),
    Lane(name="openvino bf16", runtime=InferenceRuntime.OPENVINO, precision=Precision.BF16),
    Lane(name="onnxruntime int8", runtime=InferenceRuntime.ONNXRUNTIME, int8=True),
    Lane(name="openvino int8", runtime=InferenceRuntime.OPENVINO, int8=True),
    Lane(name="openvino int8+bf16", runtime=InferenceRuntime.OPENVINO, precision=Precision.BF16, int8=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Network inputs (n, C, H, W) with the golden vectors (n, dim)."""

    tensors: Floats
    vectors: Floats


class Reader:
    """Boxes of pictures as one model takes them."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._preprocessor = Preprocessor(spec)
        self._scratch = Scratch(spec)
        self._stager = CpuStager()

    def read(self, path: Path, boxes: Sequence[Sequence[float]] | None) -> list[Floats]:
        """A tensor per box (xyxy); of the whole picture for None. Raises OSError and what the stager raises."""
        image = parse_encoded(path.read_bytes())
        cut: list[PixelBox] = []
        for x1, y1, x2, y2 in boxes or [(0, 0, image.width, image.height)]:
            box = resolve((x1, y1, x2, y2), width=image.width, height=image.height, rule=CropRule.EXACT, min_px=1)
            if not isinstance(box, PixelBox):
                raise TypeError(f"{path}: box {(x1, y1, x2, y2)} is {box}")
            cut.append(box)
        tensors = []
        with self._stager.stage(image, cut) as frame:
            for box in cut:
                slot: Floats = np.empty((3, self._spec.height, self._spec.width), np.float32)
                self._preprocessor.write(frame, box, slot, self._scratch)
                tensors.append(slot)
        return tensors

    def golden(self, data: Path, name: str, model: str, keep: Callable[[str], bool] = lambda _: True) -> Crops:
        """The boxes of a golden file whose frame is to be kept; of crops, all."""
        with np.load(data / "golden" / f"{name}_{model}.npz") as file:
            vectors: Floats = file["embedding"]
            if "frame" not in file:
                folder = data / "crops" / name
                return Crops(tensors=self._stack((folder / crop, None) for crop in file["name"]), vectors=vectors)
            frames, boxes = file["frame"], file["box_xyxy"]
        kept = np.array([keep(frame) for frame in frames])
        pairs = zip(frames[kept], boxes[kept], strict=True)
        tensors = self._stack((data / "frames" / frame, [box.tolist()]) for frame, box in pairs)
        return Crops(tensors=tensors, vectors=vectors[kept])

    def _stack(self, items: Iterator[tuple[Path, list[Sequence[float]] | None]]) -> Floats:
        return np.stack([tensor for path, boxes in items for tensor in self.read(path, boxes)])


def embed(engine: OnnxEngine, tensors: Floats) -> Floats:
    """(n, dim) rows of n tensors."""
    batches = [tensors[at : at + BATCH] for at in range(0, len(tensors), BATCH)]
    return np.concatenate([engine.submit([TensorCrop(tensor=item) for item in batch]).result() for batch in batches])


def made_int8(model: Path, crops: Sequence[Bgr], folder: Path) -> Path:
    """The model in INT8, calibrated with these crops."""
    pictures = folder / "crops"
    pictures.mkdir()
    for index, crop in enumerate(crops):
        cv2.imwrite(str(pictures / f"{index:04d}.png"), crop)
    target = folder / "int8.onnx"
    quantize(model, target, profile=PROFILE, crops=find_crops(pictures), tick=lambda: None)
    return target


def open_lanes(model: Path, int8: Path) -> dict[str, OnnxEngine]:
    """Every lane on one thread, by its name."""
    engines = {}
    for lane in LANES:
        options = OnnxOptions(runtime=lane.runtime, precision=lane.precision, max_batch=BATCH, slots=1)
        path, profile = (int8, None) if lane.int8 else (model, PROFILE)
        engines[lane.name] = load_onnx(path, name=None, profile=profile, options=options)
    return engines


def times(engines: dict[str, OnnxEngine], batch: Floats) -> dict[str, list[float]]:
    """Milliseconds per crop of every round, by lane; a round is one batch of each."""
    crops = [TensorCrop(tensor=tensor) for tensor in batch]
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(ROUNDS + 2):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.submit(crops).result()
            if turn >= 2:  # noqa: PLR2004 - the first two warm up
                taken[name].append((time.perf_counter() - start) * 1e3 / len(crops))
    return taken


def measure(data: Path, model: Path) -> Iterator[str]:
    """The lines of one model's table, in Markdown."""
    crops, people = mot17(data / "frames")
    with TemporaryDirectory() as folder:
        calibration = [crop for crop, person in zip(crops, people, strict=True) if person.startswith(CALIBRATION)]
        engines = open_lanes(model, made_int8(model, calibration, Path(folder)))
    first = engines[LANES[0].name]
    reader = Reader(first.spec.input)
    parts = [
        reader.golden(data, "mot17mini", model.stem, lambda frame: not frame.startswith(CALIBRATION)),
        reader.golden(data, "market_style", model.stem),
    ]
    golden = Crops(
        tensors=np.concatenate([part.tensors for part in parts]),
        vectors=np.concatenate([part.vectors for part in parts]),
    )
    edges = reader.golden(data, "edgeboxes", model.stem)
    with TemporaryDirectory() as folder:
        everyone = []
        for crop in crops:
            path = Path(folder) / "crop.png"
            cv2.imwrite(str(path), crop)
            everyone += reader.read(path, None)
    names = np.array(people)
    _, firsts, counts = np.unique(names, return_index=True, return_counts=True)
    queries = np.sort(firsts[counts > 1])
    gallery = np.setdiff1d(np.arange(len(names)), queries)
    same = names[queries, None] == names[None, gallery]
    tensors = np.stack(everyone)
    reference = embed(first, tensors)
    taken = times(engines, golden.tensors[:BATCH])

    yield f"`{model.stem}`: {len(golden.vectors)} golden crops, {len(edges.vectors)} edge cases, {len(queries)} queries"
    yield ""
    heads = ["lane", "cosine mean", "p5", "min", "edge min", "rank-1", "mAP", "mixed rank-1", "mixed mAP"]
    heads += ["ms/crop", "speed"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for lane in LANES:
        engine = engines[lane.name]
        cosines = (embed(engine, golden.tensors) * golden.vectors).sum(axis=1)
        edge = (embed(engine, edges.tensors) * edges.vectors).sum(axis=1)
        rows = embed(engine, tensors)
        own = retrieval(lane.name, rows[queries] @ rows[gallery].T, same, np.ones_like(same))
        mixed = "- | -"
        if engine.spec.space_id == first.spec.space_id:
            across = retrieval(lane.name, rows[queries] @ reference[gallery].T, same, np.ones_like(same))
            mixed = f"{across.rank1:.4f} | {across.mean_ap:.4f}"
        own_times, first_times = np.array(taken[lane.name]), np.array(taken[LANES[0].name])
        yield (
            f"| {engine.info.engine} {engine.info.precision} | {cosines.mean():.5f} | {np.percentile(cosines, 5):.5f} "
            f"| {cosines.min():.5f} | {edge.min():.5f} | {own.rank1:.4f} | {own.mean_ap:.4f} | {mixed} "
            f"| {np.median(own_times):.2f} | {np.median(first_times / own_times):.2f} |"
        )
    yield ""


def main() -> None:
    """Print the tables."""
    if len(sys.argv) < 3:  # noqa: PLR2004 - the program and its arguments
        sys.exit(__doc__)
    for model in sys.argv[2:]:
        for line in measure(Path(sys.argv[1]), Path(model)):
            print(line, flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
