"""A folder for each identity, as image classifiers are trained: 0002/a.jpg, 0002/b.jpg, 0005/c.jpg.

Below `query/` and `gallery/` they are the two sets; otherwise the set is split. A folder that is called -1 is junk, and
one that is called 0, 0000 or distractors has people who are not looked for. Trap: names of the kind of Market-1501
within the folders say the camera. If all have one, cameras are known; else none is, and a query may find pictures of
its own camera.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import DISTRACTOR, JUNK, Pictures

from .files import image_files

QUERY, GALLERY = "query", "gallery"
_CAMERA: Final = re.compile(r"(?:^|_)c([0-9]{1,6})(?:s[0-9]+)?(?:_|$)")
_NOBODY: Final = {"distractors", "distractor"}


def is_folders(folder: Path) -> bool:
    """Whether it has folders with images in them."""
    return any(inner.is_dir() and image_files(inner) for inner in sorted(folder.iterdir()))


def read_folders(folder: Path, *, root: Path, numbers: dict[str, int]) -> Pictures:
    """The pictures of all folders in `folder`. `numbers`: the identities known so far by their folder's name, which
    grows: a query and its gallery share them. Raises FileError.
    """
    names, identities, files = [], [], []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        identity = _identity(inner.name, numbers)
        for path in image_files(inner):
            files.append(path)
            names.append(path.relative_to(root).as_posix())
            identities.append(identity)
    if not files:
        raise FileError(f"{folder} has no folders with images in them")
    cameras = [_CAMERA.search(path.stem) for path in files]
    known = [int(camera[1]) for camera in cameras if camera]
    return Pictures(
        paths=tuple(str(path) for path in files),
        names=tuple(names),
        files=np.arange(len(files)),
        boxes=None,
        identities=np.array(identities, np.int64),
        cameras=np.array(known if len(known) == len(files) else [0] * len(files), np.int64),
    )


def _identity(name: str, numbers: dict[str, int]) -> int:
    if name == str(JUNK):
        return JUNK
    if name.lower() in _NOBODY or (name.isdecimal() and int(name) == DISTRACTOR):
        return DISTRACTOR
    return numbers.setdefault(name, len(numbers) + 1)
