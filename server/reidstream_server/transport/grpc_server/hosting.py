"""What a service tells the port that hosts it.

Why a record: the port guards every hosted service by its name, shows it in reflection and speaks for its health, and
must know no service in particular. Trap: health and reflection are the port's own, and everybody's; they are no hosted
services.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedService:
    """A service under its full name.

    `add`: registers its methods. `while_leaving`: methods that also answer new calls while the server stops, such as
    those that only read. A method gets an `Unreadable` for a request that is no message, and a `Large` for one that is
    large (see `unparsable`).
    """

    name: str
    add: Callable[[grpc.aio.Server], None]
    while_leaving: frozenset[str] = frozenset()
