"""Pictures by person, and which people are surely different.

From labels, any two identities are. From a stream that was recorded, tracks take the place of people: two tracks are
surely two people if they were seen in the same frame, apart from each other; of other pairs nobody knows. All pictures
of two such tracks count, from different times, as they would be compared later.

Traps: a detector may put two boxes on one person, so boxes that overlap much say nothing. A long track must not outvote
a hundred short ones, so of each at most `MOST` pictures are taken, spread over its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError, SpaceMismatch
from reidstream_client.evaluation.metrics.distances import Distance, prepare
from reidstream_client.evaluation.pictures import DISTRACTOR, Integers
from reidstream_client.evaluation.vectors import read_arrays

MOST: Final = 20
_ROWS: Final = 2000
_APART: Final = 0.3  # intersection over union below which two boxes are surely two people
_NEEDED: Final = ("frame", "box_xyxy", "track_id", "valid", "embedding", "space_id")

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """N vectors of length 1, of people 0 to P - 1. `different` (P, P): whether two of them are surely two people.
    `origin`: "labels" or "recorded stream".
    """

    values: npt.NDArray[np.float32]
    people: Integers
    different: Flags
    space_id: str
    model: str
    origin: str


def from_labels(
    values: npt.NDArray[np.float32], identities: Integers, *, space_id: str, model: str, most: int = MOST
) -> Groups:
    """Of labelled pictures; junk and distractors are left out. Raises FileError."""
    wanted = np.flatnonzero(identities > DISTRACTOR)
    if not len(wanted):
        raise FileError("no picture has an identity of 1 or more, so no two are known to be of one person")
    _, people = np.unique(identities[wanted], return_inverse=True)
    different = ~np.eye(int(people.max()) + 1, dtype=np.bool_)
    found = Groups(
        values=values[wanted],
        people=people.astype(np.int64),
        different=different,
        space_id=space_id,
        model=model,
        origin="labels",
    )
    return _evened(found, most)


def from_streams(paths: Sequence[Path], most: int = MOST) -> Groups:
    """Of the arrays of `reidstream-client stream`, one file for each camera. Raises FileError, SpaceMismatch."""
    values: list[npt.NDArray[np.float32]] = []
    people: list[Integers] = []
    parts: list[Flags] = []
    space, model, first = "", "", paths[0]
    known = 0
    for path in paths:
        arrays = _read(path)
        if path is not first and str(arrays["space_id"]) != space:
            raise SpaceMismatch(
                f"{first} has vectors of the space {space} and {path} of {arrays['space_id']}; a threshold is of one"
            )
        space, model = str(arrays["space_id"]), str(arrays.get("model", ""))
        tracked = arrays["valid"].astype(np.bool_) & (arrays["track_id"] >= 0)
        if not tracked.any():
            raise FileError(
                f"{path} has no track ids (track_id is -1 everywhere), so nobody knows which boxes are one person; "
                "give `reidstream-client stream` the boxes of a tracker"
            )
        _, tracks = np.unique(arrays["track_id"][tracked], return_inverse=True)
        parts.append(seen_apart(arrays["frame"][tracked], arrays["box_xyxy"][tracked], tracks))
        values.append(np.asarray(arrays["embedding"][tracked], np.float32))
        people.append(tracks.astype(np.int64) + known)
        known += len(parts[-1])
    if len({part.shape[1] for part in values}) > 1:
        raise FileError("the files have vectors of different lengths")
    different = np.zeros((known, known), np.bool_)
    at = 0
    for part in parts:
        different[at : at + len(part), at : at + len(part)] = part
        at += len(part)
    found = Groups(
        values=np.concatenate(values),
        people=np.concatenate(people),
        different=different,
        space_id=space,
        model=model,
        origin="recorded stream",
    )
    return _evened(found, most)


def seen_apart(frames: npt.NDArray[Any], boxes: npt.NDArray[Any], tracks: npt.NDArray[Any]) -> Flags:
    """(T, T) whether two tracks were ever in one frame, with boxes that hardly overlap."""
    apart = np.zeros((int(tracks.max()) + 1,) * 2, np.bool_)
    order = np.argsort(frames, kind="stable")
    _, starts = np.unique(frames[order], return_index=True)
    for rows in np.split(order, starts[1:]):
        mine = boxes[rows].astype(np.float64)
        near = np.maximum(mine[:, None, :2], mine[None, :, :2])
        far = np.minimum(mine[:, None, 2:], mine[None, :, 2:])
        shared = np.prod(np.maximum(far - near, 0), axis=2)
        area = np.prod(np.maximum(mine[:, 2:] - mine[:, :2], 0), axis=1)
        two = shared < _APART * (area[:, None] + area[None] - shared)
        first, second = np.nonzero(two)
        apart[tracks[rows[first]], tracks[rows[second]]] = True
    np.fill_diagonal(apart, val=False)
    return apart


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    arrays = read_arrays(path)
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise FileError(f"{path} has no {', '.join(missing)}: `reidstream-client stream` writes files that have them")
    return arrays


def _evened(groups: Groups, most: int) -> Groups:
    """At most so many pictures of each person, and vectors of length 1."""
    people = len(groups.different)
    share = min(most, max(2, _ROWS // people))
    kept = np.concatenate([_spread(np.flatnonzero(groups.people == person), share) for person in range(people)])
    rows = prepare(groups.values[kept], Distance.COSINE)
    return replace(groups, values=rows.values, people=groups.people[kept])


def _spread(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most so many of them, from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]
