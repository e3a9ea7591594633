"""`reidstream-client calibrate`: a threshold at a wanted false-match rate, for one space."""

from __future__ import annotations

import argparse

import numpy as np

from reidstream_client.cli.writers.targets import check_apart, make_folder
from reidstream_client.errors import FileError
from reidstream_client.evaluation.calibration import Groups, Threshold, from_labels, from_streams, write_threshold
from reidstream_client.evaluation.calibration import calibrate as threshold_of

from .opening import open_named
from .vectors import find_vectors


def calibrate(arguments: argparse.Namespace) -> int:
    """Run it; returns the exit status. Raises ReidError."""
    make_folder(arguments.output)
    check_apart({"--output": arguments.output}, {f"SOURCE {path}": path for path in arguments.source})
    groups = _groups(arguments)
    found = threshold_of(groups, arguments.false_match_rate, confidence=arguments.confidence, seed=arguments.seed)
    write_threshold(arguments.output, found)
    print(_text(found))
    print(f"wrote {arguments.output}")
    return 0


def _groups(arguments: argparse.Namespace) -> Groups:
    streams = [path for path in arguments.source if path.suffix.lower() == ".npz"]
    if streams and len(streams) == len(arguments.source):
        return from_streams(streams)
    if streams or len(arguments.source) > 1:
        raise FileError("SOURCE is one data set, or .npz files of `reidstream-client stream` alone")
    benchmark = open_named(arguments, arguments.source[0]).benchmark
    found = find_vectors(arguments, benchmark)
    if not found.space_id:
        raise FileError(
            f"{found.source} does not say its space, and a threshold needs one: embed the pictures with a server"
        )
    new = ~np.isin(benchmark.gallery.names, benchmark.query.names)  # each picture once
    return from_labels(
        np.concatenate([found.query, found.gallery[new]]),
        np.concatenate([benchmark.query.identities, benchmark.gallery.identities[new]]),
        space_id=found.space_id,
        model=found.model,
    )


def _text(found: Threshold) -> str:
    sure = f"{found.confidence:.0%}"
    rate = found.false_non_match_rate
    missed = "no person has two pictures" if rate is None else f"{100 * rate:.2f} % of {found.genuine_pairs} pairs"
    rates = f"{found.false_match_rate_low:.2g} to {found.false_match_rate_high:.2g}"
    rows = {
        "space": found.space_id,
        "threshold": f"cosine {found.threshold:.4f} ({sure}: {found.low:.4f} to {found.high:.4f})",
        "false-match rate": f"{found.false_match_rate:.2g} ({sure}: {rates}), {found.wanted_rate:g} was asked for",
        "missed": f"{missed} of one person",
        "made of": f"{found.origin}: {found.people} people, {found.impostor_pairs} pairs of two people",
    }
    return "\n".join(f"{name:<18}{value}" for name, value in rows.items())
