"""Every picture through a client: each file is sent once, with all boxes that are wanted of it.

Trap: a picture without a vector must not vanish from a gallery, since the figures would rise. It ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError
from reidstream_client.evaluation.datasets.files import read_file
from reidstream_client.evaluation.pictures import Pictures
from reidstream_client.frames.encoded_size import encoded_size
from reidstream_client.frames.orientation import exif_orientation, turned_size
from reidstream_client.options import FrameInput
from reidstream_client.sync import ReidClient
from reidstream_client.types import FrameEmbeddings

from .cache import VectorCache, key_of

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedded:
    """Vectors of several sets, in the order of their pictures. `made`: how many were embedded now."""

    values: tuple[Floats, ...]
    model: str
    space_id: str
    made: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wanted:
    """A file, the boxes that are wanted of it (None: all of it), and their keys."""

    path: str
    boxes: Floats | None
    keys: tuple[str, ...]


def embed(
    sets: Sequence[Pictures],
    client: ReidClient,
    *,
    model: str,
    digests: Mapping[str, str],
    upright: bool,
    cache: Path | None,
    on_pictures: Callable[[int], object],
) -> Embedded:
    """The vectors of all pictures. `digests`: the sha256 of each file. `on_pictures` is told how many more are done.
    Raises FileError for a picture that has no vector, and what the client raises.
    """
    about = client.info(model).model
    store = VectorCache(cache, about.space_id) if cache is not None else None
    known: dict[str, Floats] = dict(store.found) if store is not None else {}
    keys = [_keys(pictures, digests, upright=upright) for pictures in sets]
    wanted = _wanted(sets, keys, known)
    missing = sum(len(one.keys) for one in wanted)
    on_pictures(sum(len(pictures) for pictures in sets) - missing)
    try:
        answers = client.embed_many(_frames(wanted, upright=upright))
        for one, answer in zip(wanted, answers, strict=True):
            for key, vector in zip(one.keys, _vectors(one, answer, about.space_id), strict=True):
                known[key] = vector
                if store is not None:
                    store.add(key, vector)
            on_pictures(len(one.keys))
    finally:
        if store is not None:
            store.save()
    return Embedded(
        values=tuple(np.stack([known[key] for key in own]) for own in keys),
        model=about.name,
        space_id=about.space_id,
        made=missing,
    )


def _keys(pictures: Pictures, digests: Mapping[str, str], *, upright: bool) -> list[str]:
    boxes = [None] * len(pictures) if pictures.boxes is None else list(pictures.boxes)
    return [
        key_of(digests[pictures.paths[file]], box, upright=upright)
        for file, box in zip(pictures.files.tolist(), boxes, strict=True)
    ]


def _wanted(sets: Sequence[Pictures], keys: Sequence[Sequence[str]], known: Mapping[str, Floats]) -> list[_Wanted]:
    """What is not known yet, each picture once."""
    by_file: dict[str, dict[str, Floats | None]] = {}
    seen = set(known)
    for pictures, own in zip(sets, keys, strict=True):
        for row, key in enumerate(own):
            if key not in seen:
                seen.add(key)
                box = None if pictures.boxes is None else pictures.boxes[row]
                by_file.setdefault(pictures.paths[int(pictures.files[row])], {})[key] = box
    found = []
    for path, boxes in by_file.items():
        some = [box for box in boxes.values() if box is not None]
        found.append(_Wanted(path=path, boxes=np.stack(some) if some else None, keys=tuple(boxes)))
    return found


def _frames(wanted: Sequence[_Wanted], *, upright: bool) -> Iterator[FrameInput]:
    for one in wanted:
        data = read_file(Path(one.path))
        boxes = one.boxes
        if boxes is None:
            size = encoded_size(data) or (0, 0)
            width, height = turned_size(size, exif_orientation(data)) if upright else size
            boxes = np.array([[0, 0, width, height]], np.float32)
        yield FrameInput(image=data, boxes=boxes)


def _vectors(wanted: _Wanted, answer: FrameEmbeddings, space_id: str) -> Floats:
    if answer.error is not None:
        raise FileError(f"{wanted.path} was not embedded: {answer.error.message}")
    if not answer.valid.all():
        row = int(np.flatnonzero(~answer.valid)[0])
        what = "it" if wanted.boxes is None else f"its box {', '.join(f'{side:g}' for side in wanted.boxes[row])}"
        raise FileError(
            f"{wanted.path}: {what} was not embedded ({answer.outcomes[row].name.lower()}); take it out of the data set"
        )
    if answer.space_id != space_id:
        raise FileError(
            f"the server changed its model during the run: {space_id} became {answer.space_id}; run it again"
        )
    return answer.embeddings
