"""Says once for each camera that its pictures are to be turned and that nobody has asked for it.

Why: the vectors of such a camera look like all others, but its boxes probably lie elsewhere than its detector meant.
Trap: every frame of the camera is so. And a client may name as many cameras as it likes, so only some are remembered:
then no more is said, since one line a frame would fill the log.
"""

from __future__ import annotations

import threading

from reidstream_engines.image import Orientation
from reidstream_server.core.terms import Flow
from reidstream_server.logs import get_logger

log = get_logger(__name__)

MOST_CAMERAS = 1024


class TurnedPictures:
    """Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[Flow] = set()

    def notice(self, flow: Flow, orientation: Orientation) -> None:
        """A picture of this camera has this orientation, and is embedded as it is stored."""
        with self._lock:
            if flow in self._said or len(self._said) >= MOST_CAMERAS:
                return
            self._said.add(flow)
        log.warning(
            "exif_orientation_ignored",
            client=flow.client,
            camera_id=flow.camera_id,
            orientation=orientation.value,
            hint="if the boxes were made on turned pictures, as cv2.imread and PIL's exif_transpose give them, set "
            "apply_exif_orientation (reidstream-client: ReidClient(..., apply_exif_orientation=True))",
        )
