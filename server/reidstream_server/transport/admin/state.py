"""The whole server at a moment: its age, its models, and how much of each bound is used.

Why callables: each account is kept by another part, and is asked when somebody looks. Trap: whoever compares two
answers must know that they are of one process; so each process draws a name.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from reidstream_proto.admin.v1 import admin_pb2
from reidstream_server import __version__
from reidstream_server.core.statistics import SchedulerStatistics
from reidstream_server.intake.limits import PublishedLimits
from reidstream_server.runtime.runtime import Runtime

from .messages import model_message


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLook:
    """Looks at the server. Event loop only. `calls`: unary calls in progress. `private_bytes`: of the process, None
    where nobody knows; `max_private_bytes`: their budget.
    """

    runtime: Runtime
    limits: PublishedLimits
    calls: Callable[[], int]
    private_bytes: Callable[[], int | None]
    max_private_bytes: int
    instance: str = field(init=False, default_factory=lambda: secrets.token_hex(8))
    began_ns: int = field(init=False, default_factory=time.monotonic_ns)

    def message(self) -> admin_pb2.ServerState:
        """A snapshot."""
        now = self.runtime.statistics()
        return admin_pb2.ServerState(
            version=__version__,
            instance=self.instance,
            uptime_ns=time.monotonic_ns() - self.began_ns,
            time_unix_ns=time.time_ns(),
            draining=self.runtime.leaving,
            models=map(model_message, now.models),
            budgets=self._budgets(now),
            paused_clients=now.paused_sources,
            parked_frames=now.parked_frames,
            oldest_waiting_ns=int(now.oldest_waiting_s * 1e9),
        )

    def _budgets(self, now: SchedulerStatistics) -> Iterator[admin_pb2.Budget]:
        limits = self.limits
        streams = sum(session.origin is not None for session in self.runtime.sessions())
        for name, used, limit in (
            ("sessions", streams, limits.max_sessions),
            ("calls", self.calls(), limits.max_calls),
            ("queue_boxes", now.queue_boxes, limits.max_queue_boxes),
            ("queue_bytes", now.queue_bytes, limits.max_queue_bytes),
            ("parked_bytes", now.parked_bytes, limits.max_parked_bytes),
            ("staged_bytes", now.staged_bytes, limits.max_staged_bytes),
            ("held_answer_bytes", now.held_answer_bytes, limits.max_held_answer_bytes),
        ):
            yield admin_pb2.Budget(name=name, used=used, limit=limit)
        private = self.private_bytes()
        if private is not None:
            yield admin_pb2.Budget(name="memory_bytes", used=private, limit=self.max_private_bytes)
