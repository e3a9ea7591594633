"""A run in JSON's own types: what every form of a report is made of.

Trap: JSON has no NaN. What is not there is null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from reidstream_client import __version__
from reidstream_client.evaluation.metrics.separation import Separation
from reidstream_client.evaluation.pictures import DISTRACTOR, Pictures, Protocol
from reidstream_client.evaluation.running import Run, digest_of

KIND: Final = "reidstream-evaluation"
VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a run's pictures and vectors came from. `identities`, `identity_seed`: how many were drawn; None: all."""

    layout: str
    split: str
    vectors: str
    identities: int | None = None
    identity_seed: int | None = None


def document(run: Run, origin: Origin) -> dict[str, Any]:
    """Everything about a run, with each query."""
    benchmark, method, queries = run.benchmark, run.method, run.queries
    reranking = method.reranking
    return {
        KIND: VERSION,
        "made_by": f"reidstream-client {__version__}",
        "model": run.model or "not stated",
        "space_id": run.space_id or "not stated",
        "vectors": origin.vectors,
        "dataset": {
            "name": benchmark.name,
            "layout": origin.layout,
            "split": origin.split,
            "identities_drawn": origin.identities,
            "identity_seed": origin.identity_seed,
            "digest": digest_of(benchmark),
            "queries": _counts(benchmark.query),
            "gallery": _counts(benchmark.gallery),
            "junk_left_out": benchmark.junk,
        },
        "protocol": benchmark.protocol.value,
        "distance": method.distance.value,
        "reranking": None
        if reranking is None
        else {"k1": reranking.k1, "k2": reranking.k2, "lambda": reranking.weight},
        "query_expansion": method.query_expansion,
        "intervals": {
            "confidence": method.confidence,
            "over": "identities of the queries",
            "draws": method.draws,
            "seed": method.seed,
        },
        "figures": {
            name: {"value": figure.value, "low": figure.low, "high": figure.high}
            for name, figure in run.figures.items()
        },
        "cmc": run.curve.tolist(),
        "tied_queries": int(run.ranks.tied.sum()),
        "separation": _separation(run.separation),
        "per_query": [
            {
                "name": name,
                "identity": int(benchmark.query.identities[row]),
                "average_precision": _number(float(queries.average_precision[row])),
                "inverse_penalty": _number(float(queries.inverse_penalty[row])),
                "first_rank": int(queries.first_rank[row]),
                "right": int(queries.right[row]),
            }
            for row, name in enumerate(benchmark.query.names)
        ],
    }


def facts(written: dict[str, Any]) -> list[tuple[str, str]]:
    """What every report must say, as pairs for people."""
    dataset = written["dataset"]
    reranking = written["reranking"]
    identities = dataset["identities_drawn"]
    drawn = written["intervals"]
    seed = f"seed {drawn['seed']}"
    rows = [
        ("model", written["model"]),
        ("space", written["space_id"]),
        ("vectors", written["vectors"]),
        ("data set", f"{dataset['name']} (layout {dataset['layout']}, split {dataset['split']})"),
        ("queries", _counts_text(dataset["queries"])),
        ("gallery", _counts_text(dataset["gallery"])),
        ("protocol", _PROTOCOLS[Protocol(written["protocol"])]),
        ("distance", written["distance"]),
        (
            "re-ranking",
            "none"
            if reranking is None
            else f"k-reciprocal, k1 {reranking['k1']}, k2 {reranking['k2']}, lambda {reranking['lambda']:g}",
        ),
        ("query expansion", f"with {written['query_expansion']}" if written["query_expansion"] else "none"),
        ("intervals", f"{drawn['confidence']:.0%}, bootstrap over identities ({drawn['draws']} draws, {seed})"),
    ]
    if identities is not None:
        rows.insert(4, ("identities", f"{identities}, drawn with seed {dataset['identity_seed']}"))
    if dataset["junk_left_out"]:
        rows.append(("junk, left out", str(dataset["junk_left_out"])))
    if written["tied_queries"]:
        tied = f"{written['tied_queries']}: a wrong answer scores as a right one, and the order of the files decides"
        rows.append(("tied queries", tied))
    return rows


def caption(written: dict[str, Any]) -> str:
    """The same in one line, for a chart."""
    words = [f"{written['model']} on {written['dataset']['name']}", written["protocol"], written["distance"]]
    return ", ".join([*words, *(["re-ranked"] if written["reranking"] is not None else [])])


_PROTOCOLS: Final = {
    Protocol.CROSS_CAMERA: "cross-camera: pictures of the query's person by the same camera are left out",
    Protocol.ALL_CAMERAS: "all-cameras: everything but the query itself",
}


def _counts(pictures: Pictures) -> dict[str, int]:
    identities = set(pictures.identities[pictures.identities > DISTRACTOR].tolist())
    return {
        "pictures": len(pictures),
        "identities": len(identities),
        "distractors": int((pictures.identities == DISTRACTOR).sum()),
        "cameras": len(set(pictures.cameras.tolist())),
    }


def _counts_text(counts: dict[str, int]) -> str:
    text = f"{counts['pictures']} pictures of {counts['identities']} identities, {counts['cameras']} cameras"
    return text + (f", {counts['distractors']} distractors" if counts["distractors"] else "")


def _separation(found: Separation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "score": found.distance.value,
        "edges": found.edges.tolist(),
        "same": found.same.tolist(),
        "different": found.different.tolist(),
        "equal_error_rate": found.equal_error_rate,
        "threshold": found.threshold,
        "queries": found.queries,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
