"""A report that was written, read back to be compared with another run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError
from reidstream_client.evaluation.metrics.retrieval import RANKS
from reidstream_client.evaluation.pictures import Integers

from .document import KIND, VERSION

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredRun:
    """What a comparison needs. `what`: the run in a few words. `columns`: each figure, one number a query."""

    what: str
    digest: str
    identities: Integers
    columns: Mapping[str, Doubles]


def read_report(path: Path) -> StoredRun:
    """A report.json. Raises FileError."""
    try:
        read: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise FileError(f"{path} is no JSON: {error}; was it cut short?") from None
    if not isinstance(read, dict) or read.get(KIND) != VERSION:
        raise FileError(f"{path} is no report.json of `reidstream-client evaluate`, or of a newer version")
    try:
        return as_stored(read)
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path} is a report with something missing or wrong: {error}") from None


def as_stored(read: dict[str, Any]) -> StoredRun:
    """The same, of a document."""
    queries = [query for query in read["per_query"] if query["right"] > 0]
    first = np.array([query["first_rank"] for query in queries], np.int64)
    columns = {f"rank-{k}": np.asarray(first < k, np.float64) for k in RANKS}
    columns["mAP"] = np.array([query["average_precision"] for query in queries], np.float64)
    columns["mINP"] = np.array([query["inverse_penalty"] for query in queries], np.float64)
    reranked = ", re-ranked" if read["reranking"] is not None else ""
    expanded = f", query expansion {read['query_expansion']}" if read["query_expansion"] else ""
    return StoredRun(
        what=f"{read['model']} (space {read['space_id'][:18]}, {read['distance']}{reranked}{expanded})",
        digest=read["dataset"]["digest"],
        identities=np.array([query["identity"] for query in queries], np.int64),
        columns=columns,
    )
