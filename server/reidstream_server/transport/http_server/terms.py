"""What a connection is given: who answers its requests, and who keeps all connections.

Why apart: both know connections, and a connection knows them by these words alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .requests import Request

if TYPE_CHECKING:
    from .connection import HttpConnection


class Crowd(Protocol):
    """All connections of the port."""

    __slots__ = ()

    @abstractmethod
    def came(self, connection: HttpConnection) -> None:
        """A connection was opened; another may be ended for it."""
        ...

    @abstractmethod
    def works(self, connection: HttpConnection) -> None:
        """A request of it is answered from now on."""
        ...

    @abstractmethod
    def rests(self, connection: HttpConnection) -> None:
        """Nothing of it is answered any more."""
        ...

    @abstractmethod
    def left(self, connection: HttpConnection) -> None:
        """It is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTerms:
    """`answer` answers one request. `max_body_bytes`: of one. `keep_alive_s`: for a connection that asks nothing."""

    answer: Callable[[HttpConnection, Request], Awaitable[None]]
    crowd: Crowd
    max_body_bytes: int
    keep_alive_s: float
