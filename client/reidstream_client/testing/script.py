"""What a fake server was told to do wrong, and how often.

Pure: no threads, no event loop. The first rule that fits decides. Each rule counts down, and is removed when used up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc

from reidstream_client.errors import ReidError, error_of
from reidstream_client.types import ErrorReason
from reidstream_proto.v1 import frame_pb2
from reidstream_proto.v1.contract import REASON_HEADER, RETRY_AFTER_HEADER

from .answers import STATUS_OF_REASON


@dataclass(slots=True, kw_only=True)
class Refusal:
    """Ends the next `calls` calls with a status; None: every call. `health`: the health check too."""

    status: grpc.StatusCode
    message: str
    reason: str = ""
    retry_after_s: float | None = None
    calls: int | None = 1
    health: bool = False

    def error(self) -> ReidError:
        """As a client sees it."""
        return call_error(self.status, self.message, reason=self.reason, retry_after_s=self.retry_after_s)


@dataclass(slots=True, kw_only=True)
class FrameFault:
    """Answers the next `count` frames with an error, or the frames that `frame_ids` names, each once."""

    reason: ErrorReason
    message: str
    retry_after_s: float | None = None
    count: int = 1
    frame_ids: set[int] = field(default_factory=set)


class Script:
    """The rules in their order. Not thread-safe."""

    def __init__(self) -> None:
        self._refusals: list[Refusal] = []
        self._faults: list[FrameFault] = []

    def add(self, rule: Refusal | FrameFault) -> None:
        """Add a rule behind the others."""
        if isinstance(rule, Refusal):
            self._refusals.append(rule)
        else:
            self._faults.append(rule)

    def clear(self) -> None:
        """Forget every rule."""
        self._refusals.clear()
        self._faults.clear()

    def refusal(self, *, health: bool = False) -> Refusal | None:
        """The refusal of the call that begins now, if there is one."""
        for rule in self._refusals:
            if health and not rule.health:
                continue
            if rule.calls is not None:
                rule.calls -= 1
                if not rule.calls:
                    self._refusals.remove(rule)
            return rule
        return None

    def fault(self, frame_id: int) -> FrameFault | None:
        """The fault of this frame, if there is one."""
        for rule in self._faults:
            if rule.frame_ids:
                if frame_id not in rule.frame_ids:
                    continue
                rule.frame_ids.remove(frame_id)
                done = not rule.frame_ids
            else:
                rule.count -= 1
                done = not rule.count
            if done:
                self._faults.remove(rule)
            return rule
        return None


def call_error(
    status: grpc.StatusCode, message: str, *, reason: str = "", retry_after_s: float | None = None
) -> ReidError:
    """The error of a call, made of a status and headers as gRPC's are."""
    said = {REASON_HEADER: reason} if reason else {}
    if retry_after_s is not None:
        said[RETRY_AFTER_HEADER] = str(round(retry_after_s * 1000))
    return error_of(status, message, said, target="fake", hint="the fake server was told to say so")


def unknown_model(name: str, models: Iterable[str]) -> ReidError:
    """There is no such model."""
    message = f"unknown model {name!r}; this server has {', '.join(sorted(models))}"
    return call_error(grpc.StatusCode.NOT_FOUND, message, reason="unknown_model")


def frame_error(error: frame_pb2.FrameError) -> ReidError:
    """A frame's error as the status of a single call."""
    reason = ErrorReason(error.reason)
    retry_after_s = error.retry_after_ms / 1000 if error.HasField("retry_after_ms") else None
    return call_error(STATUS_OF_REASON[reason], error.message, reason=reason.name.lower(), retry_after_s=retry_after_s)
