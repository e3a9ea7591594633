"""`reidstream-client evaluate`: a data set, its vectors, figures with their intervals, and a report."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from reidstream_client.cli.status import Status
from reidstream_client.errors import FileError
from reidstream_client.evaluation import Dataset, Distance, Method, Reranking, Run, read_spec, run
from reidstream_client.evaluation.reports import (
    Comparison,
    StoredRun,
    check_folder,
    compare_reports,
    document,
    read_report,
    write_report,
)
from reidstream_client.evaluation.reports.document import Origin, facts
from reidstream_client.evaluation.reports.markdown import figures, interval_text, separation_text
from reidstream_client.evaluation.reports.stored import as_stored
from reidstream_client.redaction import without_secrets

from .grouping import group_into
from .opening import open_named
from .progress import bar
from .vectors import Found, find_vectors, look


def evaluate(arguments: argparse.Namespace) -> int:
    """Run it; returns the exit status. Raises ReidError."""
    if arguments.group_into is not None:
        if arguments.dataset is None:
            raise FileError("which data set? Give DATASET")
        print(f"copied {group_into(arguments, arguments.dataset)} pictures to {arguments.group_into}")
        return 0
    method = _method(arguments)
    earlier = None if arguments.compare is None else read_report(arguments.compare)
    dataset = open_named(arguments, arguments.dataset)
    if arguments.check:
        return _check(arguments, dataset)
    if arguments.report is not None:
        check_folder(arguments.report)
    found = find_vectors(arguments, dataset.benchmark)
    out = _run(arguments, dataset, found, method)
    written = document(
        out,
        Origin(
            layout=dataset.layout.value,
            split=dataset.split.value,
            vectors=found.source,
            identities=arguments.identities,
            identity_seed=None if arguments.identities is None else arguments.seed,
        ),
    )
    comparison = _compared(arguments, earlier, written)
    _say(arguments, written, comparison)
    if arguments.report is not None:
        for path in write_report(arguments.report, out, written, comparison):
            print(without_secrets(f"wrote {path}"), file=sys.stderr if arguments.json else sys.stdout)
    return 0


def _method(arguments: argparse.Namespace) -> Method:
    own = (arguments.k1, arguments.k2, arguments.weight)
    if not arguments.rerank and any(value is not None for value in own):
        raise FileError("--k1, --k2 and --lambda belong to --rerank: give it, too")
    if arguments.spec is not None and arguments.rerank:
        raise FileError("--spec says whether and how to re-rank: leave --rerank out")
    reranking = None
    if arguments.spec is not None:
        reranking = read_spec(arguments.spec)
    elif arguments.rerank:
        usual = Reranking()
        k1, k2, weight = own
        reranking = Reranking(
            k1=usual.k1 if k1 is None else k1,
            k2=usual.k2 if k2 is None else k2,
            weight=usual.weight if weight is None else weight,
        )
    return Method(
        distance=Distance(arguments.distance),
        reranking=reranking,
        query_expansion=arguments.query_expansion,
        confidence=arguments.confidence,
        seed=arguments.seed,
    )


def _check(arguments: argparse.Namespace, dataset: Dataset) -> int:
    """What is there and what is wrong."""
    benchmark = dataset.benchmark
    print(
        f"{benchmark.name}: layout {dataset.layout.value}, split {dataset.split.value}, "
        f"protocol {benchmark.protocol.value}"
    )
    findings = look(benchmark, quiet=arguments.quiet)
    for line in findings.lines():
        print(without_secrets(line))
    return Status.WRONG if findings.damaged or findings.unmatched else 0


def _run(arguments: argparse.Namespace, dataset: Dataset, found: Found, method: Method) -> Run:
    benchmark = dataset.benchmark
    rows = len(benchmark.query)
    if method.reranking is not None:
        rows += len(benchmark.query) + len(benchmark.gallery)
    with bar("comparing", rows, "row", quiet=arguments.quiet) as more:
        return run(
            benchmark,
            found.query,
            found.gallery,
            method,
            model=found.model,
            space_id=found.space_id,
            on_rows=more,
        )


def _compared(arguments: argparse.Namespace, earlier: StoredRun | None, written: dict[str, Any]) -> Comparison | None:
    if earlier is None:
        return None
    return compare_reports(earlier, as_stored(written), confidence=arguments.confidence, seed=arguments.seed)


def _say(arguments: argparse.Namespace, written: dict[str, Any], comparison: Comparison | None) -> None:
    if arguments.json:
        print(json.dumps(written if comparison is None else {**written, "comparison": comparison.as_json()}))
        return
    lines = [f"{name:<16}{value}" for name, value in facts(written)]
    lines.append(f"{'figure':<9}{'%':>7}   {written['intervals']['confidence']:.0%} interval")
    lines += [f"{name:<9}{100 * figure['value']:>7.2f}   {interval_text(figure)}" for name, figure in figures(written)]
    if written["separation"] is not None:
        lines.append(separation_text(written["separation"]))
    if comparison is not None:
        lines += comparison.lines()
    print(without_secrets("\n".join(lines)))
