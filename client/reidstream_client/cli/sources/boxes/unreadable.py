"""Box files that are not read, each with its name and what to do.

Why not read: YOLO's boxes are parts of a picture whose size the file does not say, and the others need packages that an
edge computer should not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError

_CSV: Final = "write it as CSV with the columns image,x1,y1,x2,y2 (or frame,x1,y1,x2,y2)"
_KINDS: Final[Mapping[str, str]] = {
    ".xml": "XML (CVAT, Pascal VOC)",
    ".parquet": "a Parquet table",
    ".xlsx": "a spreadsheet",
    ".xls": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".npy": "a NumPy file",
    ".npz": "a NumPy file",
    ".pkl": "a Python pickle",
    ".pickle": "a Python pickle",
    ".mat": "a MATLAB file",
    ".h5": "an HDF5 file",
    ".zip": "an archive",
    ".gz": "an archive",
}
_YOLO_HINT: Final = (
    "their boxes are centre and size as parts of a picture: multiply by the picture's width and height, and "
    "write CSV with the columns image,cx,cy,width,height"
)


def refuse_foreign(path: Path) -> None:
    """Raises FileError for a folder, and for a file that its name says cannot be read."""
    if path.is_dir():
        if any(path.glob("*.txt")):
            raise FileError(f"{path} is a folder of YOLO labels, it seems; {_YOLO_HINT}")
        raise FileError(f"{path} is a folder; --boxes needs a file")
    kind = _KINDS.get(path.suffix.lower())
    if kind is not None and path.exists():
        raise FileError(f"the boxes file {path} is {kind}, which is not read; {_CSV}")


def refuse_yolo(path: Path, rows: npt.NDArray[np.float64]) -> None:
    """Raises FileError for rows of YOLO: a class, then centre and size as parts of the picture."""
    boxes = rows[:, 1:5]
    if boxes.shape[1] == 4 and ((boxes >= 0) & (boxes <= 1)).all() and (boxes % 1 != 0).any():  # noqa: PLR2004 - a box
        raise FileError(f"{path} has YOLO labels, it seems; {_YOLO_HINT}")
