"""Queries with their best matches: right ones framed green with a tick, wrong ones red with a cross.

Which queries: some that are drawn by the seed, and those with the lowest average precision. Trap: the best pictures of
a run are no sample, and the worst are where a data set's own mistakes show: look at them first.
"""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from reidstream_client.evaluation.metrics.ranking import Judge
from reidstream_client.evaluation.pictures import Pictures
from reidstream_client.evaluation.running import Run

from .thumbnails import thumbnail

QUERIES: Final = 8


def sampled_rows(run: Run) -> list[int]:
    """Queries that are drawn, in their order."""
    count = len(run.benchmark.query)
    chosen = np.random.default_rng(run.method.seed).choice(count, min(QUERIES, count), replace=False)
    return sorted(chosen.tolist())


def worst_rows(run: Run) -> list[int]:
    """Queries with the lowest average precision, worst first; of equal ones the first."""
    precision = np.where(run.queries.counted, run.queries.average_precision, np.inf)
    order = np.argsort(precision, kind="stable")[:QUERIES]
    return [row for row in order.tolist() if precision[row] < 1]


def match_rows(run: Run, rows: list[int]) -> str:
    """HTML of these queries."""
    judge = Judge(run.benchmark)
    query, gallery = run.benchmark.query, run.benchmark.gallery
    lines = []
    for row in rows:
        right = set(judge.of(row).right.tolist())
        cells = [_cell(query, row, "query", "query")]
        for place, found in enumerate(run.ranks.best[row].tolist(), 1):
            if found >= 0:
                kind, sign = ("right", "&#10003;") if found in right else ("wrong", "&#10007;")
                cells.append(_cell(gallery, found, kind, f"{place} {sign}"))
        precision = run.queries.average_precision[row]
        lines.append(
            f'<div class="row">{"".join(cells)}</div>'
            f"<p>{escape(query.names[row])}: average precision {100 * precision:.1f} %, first right answer at rank "
            f"{run.queries.first_rank[row] + 1}</p>"
        )
    return "".join(lines)


def _cell(pictures: Pictures, row: int, kind: str, word: str) -> str:
    name = escape(pictures.names[row], quote=True)
    address = thumbnail(pictures, row)
    shown = f"<span>{name}</span>" if address is None else f'<img src="{address}" alt="{name}" title="{name}">'
    return f'<figure class="{kind}">{shown}<figcaption>{word}</figcaption></figure>'
