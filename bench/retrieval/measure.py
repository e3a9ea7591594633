"""One step of an evaluation in a process of its own: its seconds, those of all cores, and its peak of memory.

Trap: memory that a step has given back stays in the peak of its process, so each step has a process. What the process
holds before the step (Python, NumPy, the vectors) is in its peak as well.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from reidstream_client.evaluation import Distance, Reranking
from reidstream_client.evaluation.metrics.distances import prepare
from reidstream_client.evaluation.metrics.intervals import intervals
from reidstream_client.evaluation.metrics.ranking import plain_blocks, rank
from reidstream_client.evaluation.metrics.reranking import reranked_blocks
from reidstream_client.evaluation.metrics.retrieval import cmc, figures_of

from .crowds import SIZES, draw

STEPS: Final = ("metrics", "intervals", "reranking")


def measured(size: str, step: str) -> Mapping[str, float]:
    """Seconds and mebibytes of a step; and the figure that came out, so that nothing can be left out unseen."""
    benchmark, queries, gallery = draw(SIZES[size])
    work: Callable[[], float]

    def metrics() -> float:
        query, rows = prepare(queries, Distance.COSINE), prepare(gallery, Distance.COSINE)
        figures = figures_of(rank(benchmark, plain_blocks(query, rows)))
        cmc(figures)
        return float(figures.average_precision.mean())

    def reranking() -> float:
        query, rows = prepare(queries, Distance.COSINE), prepare(gallery, Distance.COSINE)
        figures = figures_of(rank(benchmark, reranked_blocks(query, rows, Reranking())))
        return float(figures.average_precision.mean())

    if step == "intervals":
        figures = figures_of(
            rank(benchmark, plain_blocks(prepare(queries, Distance.COSINE), prepare(gallery, Distance.COSINE)))
        )
        work = lambda: intervals(benchmark.query.identities, figures.columns())["mAP"].value  # noqa: E731
    else:
        work = metrics if step == "metrics" else reranking
    start, start_cpu = time.perf_counter(), time.process_time()
    value = work()
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    return {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mAP": value,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(*sys.argv[1:3])) + "\n")
