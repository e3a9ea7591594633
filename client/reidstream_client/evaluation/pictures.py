"""Labelled pictures, and who is looked for among whom: data only.

Traps: two numbers have a meaning of their own in Market-1501 and in all that copied it. JUNK (-1) is a bad cut of
somebody and counts for nobody: neither right nor wrong. DISTRACTOR (0) is nobody who is looked for, and counts as
wrong. A picture that is in both sets may not find itself: `keys` say which are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError

Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

JUNK: Final = -1
DISTRACTOR: Final = 0
_SHOWN: Final = 3


class Protocol(Enum):
    """What a query may find."""

    CROSS_CAMERA = "cross-camera"
    """Pictures of the query's identity by the query's own camera are left out, as in Market-1501."""
    ALL_CAMERAS = "all-cameras"
    """Everything but the query itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """N pictures; row i of everything belongs to picture i.

    names       what people and files of vectors call it, different for each: the path within the data set, with
                "#frame:identity" behind it where it is a box of a frame
    files       index into `paths` of the file that it is, or is cut out of
    boxes       (N, 4) float32 x1, y1, x2, y2 in pixels of the file; None: each is the whole file
    identities  (N,) int64, from 1; JUNK or DISTRACTOR
    cameras     (N,) int64; 0 where the data set does not say
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    files: Integers
    boxes: npt.NDArray[np.float32] | None
    identities: Integers
    cameras: Integers

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: npt.ArrayLike) -> Pictures:
        """Some of them, by index or by mask, in that order. All paths stay."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return Pictures(
            paths=self.paths,
            names=tuple(self.names[row] for row in chosen),
            files=self.files[chosen],
            boxes=None if self.boxes is None else self.boxes[chosen],
            identities=self.identities[chosen],
            cameras=self.cameras[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Benchmark:
    """Queries, a gallery without junk, and what a query may find. `junk`: how many were left out of the gallery."""

    name: str
    query: Pictures
    gallery: Pictures
    protocol: Protocol
    junk: int = 0


def make_benchmark(name: str, query: Pictures, gallery: Pictures, protocol: Protocol) -> Benchmark:
    """Leave junk out, and look whether there is anything to find. Raises FileError."""
    wanted = query.identities > DISTRACTOR
    if not wanted.all():
        wrong = [query.names[row] for row in np.flatnonzero(~wanted)]
        raise FileError(
            f"{some(wrong)} of the queries of {name} {'has' if len(wrong) == 1 else 'have'} identity 0 or -1, which "
            "stand for nobody; move them to the gallery, or give them an identity of 1 or more"
        )
    counts = gallery.identities != JUNK
    kept = gallery if counts.all() else gallery.take(counts)
    if not len(query):
        raise FileError(f"{name} has no query; a query needs an identity of 1 or more")
    if not len(kept):
        raise FileError(f"the gallery of {name} is empty, so there is nothing to find in it")
    return Benchmark(name=name, query=query, gallery=kept, protocol=protocol, junk=len(gallery) - len(kept))


def unmatched(benchmark: Benchmark) -> Integers:
    """The queries that have nothing right to find, by index."""
    query, gallery = benchmark.query, benchmark.gallery
    own = {name: row for row, name in enumerate(gallery.names)}
    found = matches_by_camera(gallery)
    left = []
    for row, name in enumerate(query.names):
        cameras = found.get(int(query.identities[row]), {})
        right = sum(cameras.values())
        if benchmark.protocol is Protocol.CROSS_CAMERA:
            right -= cameras.get(int(query.cameras[row]), 0)
        elif name in own and gallery.identities[own[name]] == query.identities[row]:
            right -= 1
        if right == 0:
            left.append(row)
    return np.array(left, np.int64)


def matches_by_camera(gallery: Pictures) -> dict[int, dict[int, int]]:
    """For each identity, how many pictures each camera has."""
    found: dict[int, dict[int, int]] = {}
    for identity, camera in zip(gallery.identities.tolist(), gallery.cameras.tolist(), strict=True):
        cameras = found.setdefault(identity, {})
        cameras[camera] = cameras.get(camera, 0) + 1
    return found


def some(names: list[str]) -> str:
    """The first few, and how many more."""
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
