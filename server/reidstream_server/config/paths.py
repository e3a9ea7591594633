"""Settings that are paths.

Trap: a path in a configuration file is relative to that file's folder; a path from a flag or a variable is relative to
the working directory. Whether the file exists is checked when it is read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from .fields import Fault, Faults, Kind
from .model_files import ModelFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePath(Kind):
    """The path of a file."""

    metavar: str = "FILE"
    range: str = ""
    allowed: str = "the path of a file"

    @override
    def parse(self, given: object) -> Path | Faults:
        if isinstance(given, str) and given.strip() and "\0" not in given:
            return Path(given)
        return Faults((Fault(value=given, message=f"must be {self.allowed}"),))

    @override
    def show(self, value: object) -> str:
        return str(value)


def anchored(value: object, folder: Path) -> object:
    """A value whose relative paths are changed to begin at `folder`."""
    match value:
        case Path():
            return folder / value
        case tuple():
            return tuple(anchored(item, folder) for item in value)
        case ModelFile():
            return dataclasses.replace(value, path=folder / value.path)
        case _:
            return value
