"""Settings that are paths.

Trap: a path in a file is relative to that file's folder, and one from a flag or a variable to the working directory.
Whether a file is there is found out by whoever reads it.
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
    """A value with its paths as seen from the folder in which they were written."""
    match value:
        case Path():
            return folder / value
        case tuple():
            return tuple(anchored(item, folder) for item in value)
        case ModelFile():
            return dataclasses.replace(value, path=folder / value.path)
        case _:
            return value
