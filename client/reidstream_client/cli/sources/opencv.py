"""Whether this Python has an OpenCV that reads videos, and in words what to do if not.

Why no list of dependencies asks for it: four distributions bring the same module `cv2`, and each overwrites the files
of the others. A tracker that shows windows would lose them. So any OpenCV that is there will do, and only a person can
say which one to install.

Trap: after one of two was removed, a `cv2` is left that can be imported and has nothing in it.
"""

from __future__ import annotations

from typing import Final

from reidstream_client.errors import MissingExtra

_INSTALL: Final = (
    "pip install opencv-python-headless (or opencv-python, if a program here opens windows; one of them, never both)"
)
_REPAIR: Final = (
    "pip uninstall every opencv-... that pip list shows, then install one of them: opencv-python-headless works on "
    "machines without a screen"
)


def need_opencv() -> None:
    """Raises MissingExtra if no `cv2` can be imported, or if it cannot read videos."""
    try:
        import cv2  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        if error.name == "cv2":
            raise MissingExtra(f"videos need OpenCV, and there is none here: {_INSTALL}") from None
        raise MissingExtra(f"the OpenCV here cannot be loaded: {error}: {_REPAIR}") from None
    except (ImportError, AttributeError) as error:  # a library of the system, or a NumPy that it does not fit
        raise MissingExtra(f"the OpenCV here cannot be loaded: {error}: {_REPAIR}") from None
    if not hasattr(cv2, "VideoCapture"):
        raise MissingExtra(f"the OpenCV here is damaged, it has no VideoCapture: {_REPAIR}")
