"""Where frames come from when the command streams them: folders and videos, with boxes from files.

    source        the Protocol
    frames        a frame: data only
    folder        image files; `numbering` has the numbers of frames, out of their names
    video         through OpenCV
    motchallenge  where a sequence has its boxes
    boxes/        what box files say
    pairing       which boxes met their frame

Trap: image files are sent as they are. Decoding and encoding them again would change every vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reidstream_client.errors import FileError

from .boxes import Use, read_boxes
from .folder import ImageFolder
from .frames import FrameBoxes, SourceCutShort, SourceFrame
from .motchallenge import sequence_boxes
from .source import Source
from .video import Video

__all__ = ["FrameBoxes", "Source", "SourceCutShort", "SourceFrame", "SourceOptions", "Use", "open_source"]

_VIDEOS: Final = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".ts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is read.

    boxes           the boxes file, instead of a sequence's own
    use             what the rows of MOTChallenge text are, and which of a sequence's boxes
    min_visibility  least visibility in ground truth, 0 to 1
    first_frame     the number of the source's first frame, in the boxes file; None: as names and boxes say
    upright         images will be turned as their EXIF says
    jpeg_quality    1 to 100: a video's frames are sent as JPEG; None: as they were decoded
    """

    boxes: Path | None = None
    use: Use | None = None
    min_visibility: float = 0.0
    first_frame: int | None = None
    upright: bool = False
    jpeg_quality: int | None = None


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open a MOTChallenge sequence (a folder with `img1/`), a folder of images, or a video file.

    A folder of images without boxes sends whole images. Raises FileError, MissingExtra.
    """
    table = None
    if options.boxes is not None:
        table = read_boxes(options.boxes, use=options.use, min_visibility=options.min_visibility)
    if path.is_dir():
        if options.jpeg_quality is not None:
            raise FileError(f"--jpeg-quality is for videos; the images of {path} are sent as they are")
        if not (path / "img1").is_dir():
            if table is None and (options.use is not None or options.min_visibility):
                raise FileError(
                    f"--use and --min-visibility need boxes, and {path} has no folder img1; give --boxes FILE"
                )
            return ImageFolder(path, table, options.first_frame, upright=options.upright)
        if table is None:
            table = sequence_boxes(path, options.use, min_visibility=options.min_visibility)
        return ImageFolder(path / "img1", table, options.first_frame, upright=options.upright)
    if not path.exists():
        raise FileError(f"{path} does not exist")
    if path.suffix.lower() not in _VIDEOS:
        raise FileError(
            f"{path} is neither a folder nor a video ({', '.join(sorted(_VIDEOS))}); "
            f"for a single image: reidstream-client embed {path}"
        )
    if table is None:
        raise FileError(f"the video {path} needs boxes: give --boxes FILE")
    return Video(path, table, options.first_frame, options.jpeg_quality)
