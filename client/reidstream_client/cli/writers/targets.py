"""The file of an output: asked for before the work, so that no run ends with vectors and nowhere to put them.

Trap: asking must not harm what is there. A run that never gets an answer leaves an older file as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reidstream_client.errors import FileError


def make_folder(path: Path) -> None:
    """Make the folder of an output. Raises FileError, also if the output is a folder itself."""
    if path.is_dir():
        raise FileError(f"{path} cannot be written: it is a folder; name a file in it, such as {path / 'vectors'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{path} cannot be written: its folder cannot be made: {error.strerror}") from None


def is_special(path: Path) -> bool:
    """Whether something that is no file has this name, such as a device or a pipe: it is written as it is."""
    return path.exists() and not path.is_file()


def check_apart(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    """Raises FileError if two outputs are one file, or an output is an input; by their names on the command line."""
    seen: dict[Path, str] = {path.resolve(): name for name, path in inputs.items()}
    for name, path in outputs.items():
        other = None if is_special(path) else seen.get(path.resolve())
        if other is not None:
            raise FileError(f"{name} and {other} are both {path}, which would be overwritten; give each its own file")
        seen[path.resolve()] = name
