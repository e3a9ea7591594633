"""Health: what the port says of itself, of its services and of models, to whoever asks.

Why our own and not the one of `grpc_health`: there a watcher is written to under a lock, so one that does not read
stops all others, and with them the server's drain; and when one watcher leaves, the others hear nothing more. Trap:
strangers may ask. What a watcher holds is bounded where the port admits calls, and so is how long a write may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from typing_extensions import override

from .calls import abort, written

Request: TypeAlias = health_pb2.HealthCheckRequest
Response: TypeAlias = health_pb2.HealthCheckResponse
Context: TypeAlias = grpc.aio.ServicerContext[Request, Response]


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its package has no types
    """The statuses, by name, and who watches them. `stall_timeout_s`: for a watcher to take one. Event loop only."""

    def __init__(self, stall_timeout_s: float) -> None:
        self._stall_timeout_s = stall_timeout_s
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()

    def set(self, names: Iterable[str], *, serving: bool) -> None:
        """The status of these names from now on. Whoever watches is told, and nobody is waited for."""
        self._statuses |= dict.fromkeys(names, Response.SERVING if serving else Response.NOT_SERVING)
        self._changed.set()
        self._changed = asyncio.Event()

    @override
    async def Check(self, request: Request, context: Context) -> Response:
        """One status. NOT_FOUND for a name that is none."""
        status = self._statuses.get(request.service)
        if status is None:
            await abort(context, grpc.StatusCode.NOT_FOUND, "health knows no such name", reason="unknown_name")
        return Response(status=status)

    @override
    async def Watch(self, request: Request, context: Context) -> None:
        """The status now, and whenever it changes. A name that is none may become one."""
        told: int | None = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, Response.SERVICE_UNKNOWN)
            if status != told:
                await written(context, Response(status=status), self._stall_timeout_s)
            told = status
            await changed.wait()
