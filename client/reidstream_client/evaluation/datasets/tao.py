"""Lists of TAO: JSON files of queries and of a gallery, each a list of {"img_path": ...}.

That is also the form of TAO's vectors ([{"img_path", "embedding"}, ...]), so the file of an inference can be the list.
Who is seen is in the file's name, as in Market-1501. Trap: the paths are those of the machine that made the list. So a
path that is not there is looked for beside the list, by its last folders and its name.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import Pictures

from .files import read_file
from .market import named


def read_list(path: Path) -> Pictures:
    """The pictures of a list. Raises FileError, naming the entry."""
    files = [_find(text, path) for text in image_paths(path)]
    return named(files, [path.as_posix() for path in files])


def image_paths(path: Path) -> list[str]:
    """The `img_path` of each entry. Raises FileError."""
    entries = read_entries(path)
    return [str(entry["img_path"]) for entry in entries]


def read_entries(path: Path) -> list[dict[str, Any]]:
    """A list of objects that have an `img_path`; at least one. Raises FileError."""
    try:
        read = json.loads(read_file(path))
    except (ValueError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no JSON: {error}; was the file cut short?") from None
    if not isinstance(read, list) or not read:
        raise FileError(f'{path} must be a list of {{"img_path": ...}}, and have an entry')
    for at, entry in enumerate(read, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("img_path"), str) or not entry["img_path"]:
            raise FileError(f'entry {at} of {path} has no "img_path"')
    return read


def _find(text: str, listed: Path) -> Path:
    path = Path(text)
    if path.is_file():
        return path
    parts = PurePosixPath(text.replace("\\", "/")).parts
    for kept in (2, 1):
        beside = listed.parent.joinpath(*parts[-kept:])
        if beside.is_file():
            return beside
    raise FileError(f"{text}, of {listed}, is not there, nor beside the list")
