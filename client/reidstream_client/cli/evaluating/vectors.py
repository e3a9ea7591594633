"""The vectors of a data set's pictures: from files, from a server, or from a server that is started for them."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reidstream_client.cli.reaching import make_client
from reidstream_client.errors import FileError
from reidstream_client.evaluation import Benchmark, of_one_space, read_vectors, rows_for
from reidstream_client.evaluation.datasets.checking import Findings, check, refuse
from reidstream_client.evaluation.embedding import embed, own_server

from .progress import bar


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Vectors of queries and gallery. `source`: where they come from, for people."""

    query: npt.NDArray[np.float32]
    gallery: npt.NDArray[np.float32]
    model: str
    space_id: str
    source: str


def find_vectors(arguments: argparse.Namespace, benchmark: Benchmark) -> Found:
    """Raises FileError for what is wrong with files, before any server is asked; then what the client raises."""
    if arguments.profile is not None and arguments.model_file is None:
        raise FileError("--profile belongs to --model-file; a server that runs knows its own")
    if arguments.vectors:
        if arguments.model_file is not None or arguments.cache is not None:
            raise FileError("--vectors has all vectors: leave --model-file and --cache out")
        vectors = of_one_space([read_vectors(path) for path in arguments.vectors])
        return Found(
            query=rows_for(benchmark.query, vectors),
            gallery=rows_for(benchmark.gallery, vectors),
            model=vectors.model,
            space_id=vectors.space_id,
            source=vectors.source,
        )
    findings = look(benchmark, quiet=arguments.quiet)
    refuse(findings, benchmark.name)
    if findings.duplicates:
        count = len(findings.duplicates)
        print(f"{count} pictures are there more than once, byte for byte: see --check", file=sys.stderr)
    return _embedded(arguments, benchmark, findings)


def look(benchmark: Benchmark, *, quiet: bool) -> Findings:
    """Every file of a data set, read once."""
    files = sum(len(set(pictures.files.tolist())) for pictures in (benchmark.query, benchmark.gallery))
    with bar("reading", files, "file", quiet=quiet) as more:
        return check(benchmark, lambda: more(1))


def _embedded(arguments: argparse.Namespace, benchmark: Benchmark, findings: Findings) -> Found:
    started = (
        nullcontext(arguments.server)
        if arguments.model_file is None
        else own_server(arguments.model_file, arguments.profile)
    )
    sets = (benchmark.query, benchmark.gallery)
    with started as address:
        where = argparse.Namespace(**{**vars(arguments), "server": address})
        upright = arguments.exif_orientation
        with (
            make_client(where, model=arguments.model, upright=upright) as client,
            bar("embedding", sum(len(pictures) for pictures in sets), "picture", quiet=arguments.quiet) as more,
        ):
            found = embed(
                sets,
                client,
                model=arguments.model or "",
                digests=findings.digests,
                upright=upright,
                cache=arguments.cache,
                on_pictures=more,
            )
    named = (
        f"a server at {address}" if arguments.model_file is None else f"{arguments.model_file.name}, served for this"
    )
    return Found(
        query=found.values[0],
        gallery=found.values[1],
        model=found.model,
        space_id=found.space_id,
        source=f"{named}; {found.made} embedded now",
    )
