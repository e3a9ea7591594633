"""A gate for fake engines and stagers: whoever comes waits until the test opens it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tests.support.patience import HANG_S


@dataclass
class Gate:
    """Given as `sleep`: nothing comes back before it opens. `entered` counts those that came."""

    entered: int = 0
    opened: threading.Event = field(default_factory=threading.Event)

    def wait(self, _: float) -> None:
        """Come, and wait."""
        self.entered += 1
        self.opened.wait(HANG_S)
