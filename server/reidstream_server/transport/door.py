"""What the composition root needs of a door: a port through which frames come in and answers go out.

Why a Protocol: gRPC is the first door; REST and KServe are others, and each starts, tells its health and stops in its
own way. What a door must not do by itself is decide when: the root tells all of them at once. Trap: a door goes on
answering what it accepted after `set_serving(serving=False)`, until `stop`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol


class Door(Protocol):
    """A listening port. Event loop only."""

    __slots__ = ()

    @abstractmethod
    async def start(self) -> int:
        """Listen and say that frames are welcome; returns the port. Raises StartupError."""
        ...

    @abstractmethod
    async def set_serving(self, *, serving: bool) -> None:
        """Tell whoever watches this door's health. What was accepted is answered all the same."""
        ...

    @abstractmethod
    async def stop(self, grace_s: float) -> None:
        """Close the port; calls that are open have `grace_s` seconds to end. Harmless to repeat."""
        ...
