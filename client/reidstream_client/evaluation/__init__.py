"""How good a model is on labelled pictures, with an interval for each figure; and a threshold for its space.

    from pathlib import Path

    from reidstream_client.evaluation import Distance, Method, Reading, open_dataset, read_vectors, rows_for, run

    benchmark = open_dataset(Path("Market-1501"), Reading()).benchmark
    vectors = read_vectors(Path("vectors.npz"))
    out = run(
        benchmark,
        rows_for(benchmark.query, vectors),
        rows_for(benchmark.gallery, vectors),
        Method(distance=Distance.COSINE),
    )
    out.figures["mAP"].value, out.figures["mAP"].low, out.figures["mAP"].high

    pictures      labelled pictures, queries and gallery, and what a query may find
    datasets/     Market-1501, a folder for each identity, MOTChallenge, TAO's lists; checks
    vectors       vectors out of files
    embedding/    vectors by a server, and those that were made before
    running       a run, from vectors to figures
    spec          re-ranking as a TAO experiment says it
    metrics/      rank-k, mAP, mINP, re-ranking, intervals, the paired test, tracking
    reports/      JSON, Markdown, HTML; two runs compared
    calibration/  a threshold at a wanted false-match rate

Arrows: reports -> running -> metrics -> pictures; datasets -> pictures; embedding, calibration -> vectors. It needs
NumPy; the extra `evaluate` adds Pillow for pictures in pages, PyYAML for TAO's files, and what trackeval needs.
"""

from .datasets import Dataset, Findings, Layout, check, only_identities, open_dataset
from .datasets.opening import Reading, Split
from .metrics.distances import Distance
from .metrics.intervals import Figure
from .metrics.paired import Difference, compare
from .metrics.reranking import Reranking
from .metrics.tracking import TrackingFigures, tracking_figures
from .pictures import DISTRACTOR, JUNK, Benchmark, Pictures, Protocol, make_benchmark
from .running import Method, Run, run
from .spec import read_spec
from .vectors import Vectors, of_one_space, read_vectors, rows_for

__all__ = [
    "DISTRACTOR",
    "JUNK",
    "Benchmark",
    "Dataset",
    "Difference",
    "Distance",
    "Figure",
    "Findings",
    "Layout",
    "Method",
    "Pictures",
    "Protocol",
    "Reading",
    "Reranking",
    "Run",
    "Split",
    "TrackingFigures",
    "Vectors",
    "check",
    "compare",
    "make_benchmark",
    "of_one_space",
    "only_identities",
    "open_dataset",
    "read_spec",
    "read_vectors",
    "rows_for",
    "run",
    "tracking_figures",
]
