"""What the backends of a CPU cost in cosine and give in speed: the figures of docs/backends.md.

    python -m bench.backends DATA MODEL.onnx [MODEL.onnx ...]

DATA holds `frames/MOT17-*/{img1,gt.txt}`, `crops/market_style` and, for each model by its stem,
`golden/{mot17mini,edgeboxes,market_style}_STEM.npz`. The profile is torchreid's. INT8 is calibrated with labelled boxes
of MOT17-02, -04 and -09. The golden crops that are compared come from elsewhere: mot17mini of the other three
sequences, and market_style. The edge cases are compared on their own.

Retrieval is the first crop of each person of MOT17 against all later crops of all sequences. `mixed` uses queries of
the backend with the gallery of onnxruntime in fp32, where both are in the same space.

Two medians are printed: of the milliseconds, and of the speed relative to the first backend in the same round. The
second is less disturbed by other work on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from bench.accuracy.data import first_against_later, mot17
from bench.accuracy.retrieval import retrieval

from .engines import BACKENDS, made_int8, open_backends, times
from .golden import BATCH, Crops, Reader, embed

CALIBRATION = ("MOT17-02", "MOT17-04", "MOT17-09")


def measure(data: Path, model: Path) -> Iterator[str]:
    """The lines of one model's table, in Markdown."""
    crops, people = mot17(data / "frames")
    with TemporaryDirectory() as folder:
        calibration = [crop for crop, person in zip(crops, people, strict=True) if person.startswith(CALIBRATION)]
        engines = open_backends(model, made_int8(model, calibration, Path(folder)))
    first = engines[BACKENDS[0].name]
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
    split = first_against_later(people)
    queries, gallery, same = split.queries, split.gallery, split.same
    tensors = np.stack(everyone)
    reference = embed(first, tensors)
    taken = times(engines, golden.tensors[:BATCH])

    yield f"`{model.stem}`: {len(golden.vectors)} golden crops, {len(edges.vectors)} edge cases, {len(queries)} queries"
    yield ""
    heads = ["backend", "cosine mean", "p5", "min", "edge min", "rank-1", "mAP", "mixed rank-1", "mixed mAP"]
    heads += ["ms/crop", "speed"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for backend in BACKENDS:
        engine = engines[backend.name]
        cosines = (embed(engine, golden.tensors) * golden.vectors).sum(axis=1)
        edge = (embed(engine, edges.tensors) * edges.vectors).sum(axis=1)
        rows = embed(engine, tensors)
        own = retrieval(backend.name, rows[queries] @ rows[gallery].T, same, np.ones_like(same))
        mixed = "- | -"
        if engine.spec.space_id == first.spec.space_id:
            across = retrieval(backend.name, rows[queries] @ reference[gallery].T, same, np.ones_like(same))
            mixed = f"{across.rank1:.4f} | {across.mean_ap:.4f}"
        own_times, first_times = np.array(taken[backend.name]), np.array(taken[BACKENDS[0].name])
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
