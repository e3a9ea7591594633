"""Market-1501: queries and gallery in two folders, and names that say who is seen by which camera.

    0002_c1s1_000451_03.jpg    identity 2, camera 1, sequence 1, frame 451, box 3
    -1_c1s1_000401_03.jpg      junk
    0000_c1s1_000151_01.jpg    a distractor

DukeMTMC-reID and MSMT17 as torchreid lays it out have names of the same kind (`0001_c2_f0046182.jpg`). Trap: a JPEG
cut with a broken detector also ends on `.jpg.jpg` in the original; only the beginning of a name counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import Pictures, some

from .files import image_files

QUERY, GALLERY, TRAIN = "query", "bounding_box_test", "bounding_box_train"
_NAME: Final = re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,6})")


def is_market(folder: Path) -> bool:
    """Whether a folder is laid out so: with both folders, or with pictures that are named so."""
    if (folder / QUERY).is_dir() and (folder / GALLERY).is_dir():
        return True
    return any(_NAME.match(path.name) for path in image_files(folder))


def read_market(folder: Path, *, root: Path) -> Pictures:
    """The pictures of one of its folders. Names are relative to `root`. Raises FileError for a name of another kind."""
    files = image_files(folder)
    if not files:
        raise FileError(f"{folder} contains no images")
    return named(files, [path.relative_to(root).as_posix() for path in files])


def named(files: Sequence[Path], names: Sequence[str]) -> Pictures:
    """Pictures whose names say who is seen. Raises FileError, naming the first that does not."""
    labels = [_NAME.match(path.name) for path in files]
    wrong = [path.name for path, label in zip(files, labels, strict=True) if label is None]
    if wrong:
        raise FileError(
            f"{some(wrong)} in {files[0].parent} has no name such as 0002_c1s1_000451_03.jpg (identity, camera, ...); "
            "rename it or take it out, or lay the pictures out as a folder for each identity"
        )
    return Pictures(
        paths=tuple(str(path) for path in files),
        names=tuple(names),
        files=np.arange(len(files)),
        boxes=None,
        identities=np.array([int(label[1]) for label in labels if label], np.int64),
        cameras=np.array([int(label[2]) for label in labels if label], np.int64),
    )
