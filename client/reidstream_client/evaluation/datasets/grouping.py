"""A flat set, written as a folder for each identity: `query/0003/0003_c1s6_015971_00.jpg`.

Many training programs want this layout. Junk goes to the folder -1 and distractors to 0000, so that what is read back
means the same. Trap: a run that is interrupted must not leave a folder that looks finished; what is there is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import JUNK, Pictures


def group(sets: Mapping[str, Pictures], out: Path, on_file: Callable[[], object] = lambda: None) -> int:
    """Copy the pictures of each set into `out`, under its name; returns how many. Raises FileError."""
    if out.exists() and any(out.iterdir()):
        raise FileError(f"{out} is there already and not empty; name a new folder")
    for name, pictures in sets.items():
        if pictures.boxes is not None:
            raise FileError(f"{name} has boxes of frames, and only whole pictures can be grouped")
        wanted = [_place(pictures, row) for row in range(len(pictures))]
        if len(set(wanted)) != len(wanted):
            twice = next(place for place in wanted if wanted.count(place) > 1)
            raise FileError(f"two pictures of {name} would both be {twice}; rename one")
    part = out.with_name(f".{out.name}.part")
    copied = 0
    try:
        for name, pictures in sets.items():
            for row, file in enumerate(pictures.files.tolist()):
                target = part / name / _place(pictures, row)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(pictures.paths[file], target)
                copied += 1
                on_file()
        if out.exists():
            out.rmdir()
        part.rename(out)
    except OSError as error:
        raise FileError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return copied


def _place(pictures: Pictures, row: int) -> Path:
    identity = int(pictures.identities[row])
    folder = str(JUNK) if identity == JUNK else f"{identity:04d}"
    return Path(folder) / Path(pictures.paths[int(pictures.files[row])]).name
