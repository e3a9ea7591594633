"""The data set that a command line names."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from reidstream_client.errors import FileError
from reidstream_client.evaluation import Dataset, Layout, Protocol, Reading, Split, only_identities, open_dataset


def open_named(arguments: argparse.Namespace, path: Path | None) -> Dataset:
    """Raises FileError."""
    if path is None and arguments.query is None:
        raise FileError("which data set? Give DATASET, or --query and --gallery")
    reading = Reading(
        layout=None if arguments.layout is None else Layout(arguments.layout),
        protocol=None if arguments.protocol is None else Protocol(arguments.protocol),
        split=None if arguments.split is None else Split(arguments.split),
        min_visibility=arguments.min_visibility,
        shared_identities=arguments.shared_identities,
        query=arguments.query,
        gallery=arguments.gallery,
    )
    dataset = open_dataset(path or arguments.query.parent, reading)
    if arguments.identities is None:
        return dataset
    return replace(dataset, benchmark=only_identities(dataset.benchmark, arguments.identities, arguments.seed))
