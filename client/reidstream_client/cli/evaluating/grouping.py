"""A flat set, written as a folder for each identity: all of its parts, training pictures and junk included."""

from __future__ import annotations

import argparse
from pathlib import Path

from reidstream_client.cli.writers.targets import check_apart
from reidstream_client.errors import FileError
from reidstream_client.evaluation.datasets import group
from reidstream_client.evaluation.datasets.market import GALLERY, QUERY, TRAIN, read_market

from .progress import bar


def group_into(arguments: argparse.Namespace, dataset: Path) -> int:
    """Copy it; returns how many pictures. Raises FileError."""
    out: Path = arguments.group_into
    check_apart({"--group-into": out}, {"DATASET": dataset})
    if not dataset.is_dir():
        raise FileError(f"{dataset} is no folder")
    parts = {"query": dataset / QUERY, "gallery": dataset / GALLERY, "train": dataset / TRAIN}
    sets = {name: read_market(folder, root=dataset) for name, folder in parts.items() if folder.is_dir()}
    if not sets:
        sets = {"pictures": read_market(dataset, root=dataset)}
    with bar("copying", sum(len(pictures) for pictures in sets.values()), "picture", quiet=arguments.quiet) as more:
        return group(sets, out, lambda: more(1))
