"""Where frames come from when the command streams them: folders and videos, with boxes from files.

Trap: image files are sent as they are. Decoding and encoding them again would change every vector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reidstream_client.errors import FileError

from .boxes_file import read_boxes
from .folder import ImageFolder
from .frames import FrameBoxes, Source, SourceFrame
from .motchallenge import Use, sequence_boxes
from .video import Video

__all__ = ["FrameBoxes", "Source", "SourceFrame", "Use", "open_source"]

_VIDEOS: Final = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".ts"})


def open_source(path: Path, *, boxes: Path | None, use: Use | None, min_visibility: float) -> Source:
    """Open a MOTChallenge sequence (a folder with `img1/`), a folder of images, or a video file.

    `boxes` replaces the sequence's own. A folder of images without boxes sends whole images. Raises FileError,
    MissingExtra.
    """
    if (path / "img1").is_dir():
        if boxes is not None:
            return ImageFolder(path / "img1", read_boxes(boxes, min_visibility=min_visibility))
        return ImageFolder(path / "img1", sequence_boxes(path, use, min_visibility=min_visibility))
    if use is not None:
        raise FileError(f"--use is for MOTChallenge sequences, and {path} has no folder img1; give --boxes FILE")
    if path.is_dir():
        return ImageFolder(path, None if boxes is None else read_boxes(boxes, min_visibility=min_visibility))
    if not path.exists():
        raise FileError(f"{path} does not exist")
    if path.suffix.lower() not in _VIDEOS:
        raise FileError(
            f"{path} is neither a folder nor a video ({', '.join(sorted(_VIDEOS))}); "
            f"for a single image: reidstream-client embed {path}"
        )
    if boxes is None:
        raise FileError(f"the video {path} needs boxes: give --boxes FILE")
    return Video(path, read_boxes(boxes, min_visibility=min_visibility))
