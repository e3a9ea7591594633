"""All checks in their order: what fails first is the cause, and what comes after it was not looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from reidstream_client.cli.doctor.finding import Finding
from reidstream_client.cli.doctor.seen import Seen

from . import frames, load, machine, network, service, timing, trust
from .metrics import metrics

CHECKS: Final[Sequence[Callable[[Seen], Finding]]] = (
    network.name,
    network.reach,
    network.protocol,
    network.proxy,
    trust.tls,
    trust.certificate,
    trust.token,
    service.health,
    service.versions,
    service.model,
    service.space,
    service.engine,
    timing.clock,
    timing.round_trip,
    frames.message_size,
    frames.window,
    frames.answered,
    frames.vectors,
    timing.stages,
    timing.uplink,
    load.penalty,
    load.room,
    metrics,
    load.refusals,
    load.losses,
    load.windows,
    load.paused,
    machine.cores,
    machine.event_loop,
    machine.memory,
    machine.descriptors,
    machine.self_test,
    machine.batches,
    machine.log,
)


def judge(seen: Seen) -> tuple[Finding, ...]:
    """One finding for each check."""
    return tuple(check(seen) for check in CHECKS)
