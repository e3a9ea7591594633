"""The rules between settings.

Why: every value can be in its range and the whole still not work, such as a queue that is smaller than one frame.
Trap: a rule whose parts are refused already says nothing new; `load.py` leaves those out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .settings import LimitSettings, ListenSettings, ServerConfig

_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRule:
    """A rule that a configuration breaks: what it compares (the first is shown first), and the rule in words."""

    names: tuple[str, ...]
    shown: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLeast:
    """Of two limits, `greater` is at least `factor` times `lesser`, because of `why`."""

    greater: str
    factor: int
    lesser: str
    why: str

    def __str__(self) -> str:
        times = f"{self.factor} * " if self.factor > 1 else ""
        return f"{self.greater} must be at least {times}{self.lesser}, {self.why}"

    def kept(self, limits: LimitSettings) -> bool:
        """Whether these limits keep the rule."""
        return int(getattr(limits, self.greater)) >= self.factor * int(getattr(limits, self.lesser))


AT_LEAST = (
    AtLeast(
        greater="max_window_frames", factor=1, lesser="default_window_frames", why="since the default must be allowed"
    ),
    AtLeast(
        greater="max_window_bytes", factor=1, lesser="max_message_bytes", why="so that any message fits into a window"
    ),
    AtLeast(
        greater="max_queue_boxes", factor=2, lesser="max_boxes_per_frame", why="so that one frame cannot fill the queue"
    ),
    AtLeast(
        greater="max_queue_bytes", factor=2, lesser="max_message_bytes", why="so that one message cannot fill the queue"
    ),
    AtLeast(
        greater="max_staged_bytes",
        factor=3,
        lesser="max_image_pixels",
        why="so that every allowed image can be decoded (3 bytes a pixel)",
    ),
)
PORTS_RULE = "port and metrics_port must differ, unless they are 0 or on different addresses"
PROFILE_RULE = "profile needs a model to apply to, and the embedded default model has its own"


def broken_rules(config: ServerConfig) -> Iterator[BrokenRule]:
    """Every rule that the configuration breaks."""
    for rule in AT_LEAST:
        if not rule.kept(config.limits):
            names = (rule.greater, rule.lesser)
            yield BrokenRule(names=names, shown=names, rule=str(rule))
    if _same_port(config.listen):
        shown = ("port", "metrics_port")
        yield BrokenRule(names=(*shown, "host", "metrics_host", "metrics_enabled"), shown=shown, rule=PORTS_RULE)
    if config.profile is not None and not config.models:
        yield BrokenRule(names=("profile", "models"), shown=("profile",), rule=PROFILE_RULE)


def _same_port(listen: ListenSettings) -> bool:
    hosts = {listen.host, listen.metrics_host}
    same_address = len(hosts) == 1 or not hosts.isdisjoint(_EVERY_INTERFACE)
    return listen.metrics_enabled and same_address and listen.port == listen.metrics_port != 0
