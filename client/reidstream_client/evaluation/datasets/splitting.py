"""One set of pictures into queries and a gallery, and so many identities of a data set.

Trap: an identity that is seen once, or by one camera where cameras must differ, cannot be a query: nothing right could
be found. Its pictures stay in the gallery, where they are wrong answers to others.
"""

from __future__ import annotations

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import (
    DISTRACTOR,
    Benchmark,
    Pictures,
    Protocol,
    make_benchmark,
    matches_by_camera,
)


def first_of_each(name: str, pictures: Pictures, protocol: Protocol) -> Benchmark:
    """The first picture of each identity that can be found again is a query, and all others are the gallery."""
    found = matches_by_camera(pictures)
    seen: set[int] = set()
    first = np.zeros(len(pictures), np.bool_)
    for row, (identity, camera) in enumerate(zip(pictures.identities.tolist(), pictures.cameras.tolist(), strict=True)):
        if identity > DISTRACTOR and identity not in seen and _others(found[identity], camera, protocol):
            seen.add(identity)
            first[row] = True
    return _checked(name, pictures.take(first), pictures.take(~first), protocol)


def each_in_turn(name: str, pictures: Pictures, protocol: Protocol) -> Benchmark:
    """Every picture of an identity that can be found again is a query, and the gallery is everything else."""
    found = matches_by_camera(pictures)
    wanted = [
        identity > DISTRACTOR and _others(found[identity], camera, protocol) > 0
        for identity, camera in zip(pictures.identities.tolist(), pictures.cameras.tolist(), strict=True)
    ]
    return _checked(name, pictures.take(np.array(wanted, np.bool_)), pictures, protocol)


def only_identities(benchmark: Benchmark, count: int, seed: int) -> Benchmark:
    """`count` identities of the queries, drawn by `seed`; queries and gallery have these alone. Raises FileError."""
    known = np.unique(benchmark.query.identities)
    if count > len(known):
        raise FileError(f"{benchmark.name} has {len(known)} identities among its queries, which is less than {count}")
    chosen = np.random.default_rng(seed).choice(known, size=count, replace=False)
    return make_benchmark(
        benchmark.name,
        benchmark.query.take(np.isin(benchmark.query.identities, chosen)),
        benchmark.gallery.take(np.isin(benchmark.gallery.identities, chosen)),
        benchmark.protocol,
    )


def _others(cameras: dict[int, int], camera: int, protocol: Protocol) -> int:
    """How many pictures of the same identity such a query may find."""
    total = sum(cameras.values())
    return total - (cameras.get(camera, 0) if protocol is Protocol.CROSS_CAMERA else 1)


def _checked(name: str, query: Pictures, gallery: Pictures, protocol: Protocol) -> Benchmark:
    if not len(query):
        where = "by two cameras" if protocol is Protocol.CROSS_CAMERA else "in two pictures"
        raise FileError(
            f"{name} has no query: no identity is seen {where}"
            + ("; --protocol all-cameras also counts pictures of one camera" if "two cameras" in where else "")
        )
    return make_benchmark(name, query, gallery, protocol)
