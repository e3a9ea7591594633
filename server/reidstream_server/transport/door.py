"""What the composition root needs of a door: a port through which frames come in and answers go out.

Why a Protocol: gRPC is the first door. Others, such as REST, listen, tell their health and stop in ways of their own;
when they do so is the root's decision. Trap: all doors listen before one of them serves, so a port that is taken costs
no client a frame. And a door goes on answering what it accepted after `set_serving(serving=False)`, until `stop`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol


class Door(Protocol):
    """A port. Event loop only."""

    __slots__ = ()

    @abstractmethod
    async def listen(self) -> int:
        """Take the port, and answer nobody yet; returns its number. Raises StartupError."""
        ...

    @abstractmethod
    async def serve(self) -> None:
        """Answer calls from now on, and tell whoever watches this door's health."""
        ...

    @abstractmethod
    async def set_serving(self, *, serving: bool) -> None:
        """Tell whoever watches this door's health. What was accepted is answered all the same."""
        ...

    @abstractmethod
    async def stop(self, grace_s: float) -> None:
        """Close the port; calls that are open have `grace_s` seconds to end. Harmless to repeat."""
        ...
