"""Counts the steps that reading headers takes, over all pictures of a frame.

Why: each picture's header is bounded by itself, and a thousand ready crops with headers of that size held the event
loop for a second. Trap: steps are counted when a picture has been read, well or not, so one picture may pass the bound
by its own steps.
"""

from __future__ import annotations

from collections.abc import Iterator

STEPS = 4096
STEPS_A_PICTURE = 32
"""A frame's headers may take so many steps, and so many more for each picture: segments, chunks, EXIF entries, scans.
Usual pictures have 8 to 20."""


class HeaderSteps:
    """`left`: negative when more steps were taken than there were. Not thread-safe."""

    __slots__ = ("left", "most")

    def __init__(self, pictures: int = 1) -> None:
        self.most = self.left = STEPS + STEPS_A_PICTURE * pictures

    def up_to(self, most: int) -> Iterator[int]:
        """As `range`, counted."""
        for number in range(most):
            self.left -= 1
            yield number
