"""One attack, in phases: calm, attack, and after it; the server is stopped at the end.

Trap: an attack may take the machine with it. The attacker is ended when the server holds more than this test allows,
or when the machine has little memory left; that counts as a failure, as if the bound had been passed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import grpc

from reidstream_proto.v1 import service_pb2, service_pb2_grpc
from tests.attacks.catalogue import Attack

from .footprints import Look, Sampler, forget_peak, free_bytes, peak_of, steady
from .processes import attacker, attempts_of, became_of, server_under_attack, victim
from .records import Attempt, Stretch, stretch_of

_SETTLE_S, _CALM_END_S = 1.5, 2.0
_QUIET_FROM_S, _QUIET_TO_S = 5.0, 10.0
_SERVER_MOST, _MACHINE_LEAST = 6 * 2**30, 2 * 2**30
_PROBE_S = 10.0
_ENDLESS_AGE_S = 1e9

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long, in seconds, and how often the victims send, a second."""

    calm_s: float = 8.0
    attack_s: float = 12.0
    frames_per_s: float = 5.0
    visitors_per_s: float = 1.0
    server_arguments: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attack did. `camera` and `visitors`: the victims by phase: calm, attack, after.

    `peak_bytes`: resident, `private_peak_bytes`: private, from the start of the attack on. `published_bytes`: the most
    private memory that the server says it may hold.
    """

    attack: str
    camera: Mapping[str, Stretch]
    visitors: Mapping[str, Stretch]
    before: Look | None
    after: Look | None
    private_peak_bytes: int
    peak_bytes: int
    published_bytes: int
    became: Mapping[str, int]
    cut_short: str
    serves: str
    exit_code: int | None
    stop_s: float
    log_tail: Sequence[str]


def run_attack(attack: Attack, plan: Plan, progress: Progress) -> Outcome:
    """Run it from the server's start to its end. Raises Failed if one of our own processes did not work."""
    with ExitStack() as held:
        progress("starting the server and the victims")
        server = held.enter_context(server_under_attack(plan.server_arguments))
        pid = server.process.pid
        camera = held.enter_context(victim(server.address, "camera", plan.frames_per_s))
        visitors = held.enter_context(victim(server.address, "visitors", plan.visitors_per_s))
        time.sleep(_SETTLE_S)
        sampler = held.enter_context(Sampler(pid))
        begin = time.monotonic()
        progress(f"calm, for {plan.calm_s:.0f} s")
        time.sleep(plan.calm_s)
        limits = asyncio.run(_limits(server.address))
        forget_peak(pid)
        before = steady(sampler.looks, time.monotonic() - _CALM_END_S, time.monotonic())
        calm_end = time.monotonic()
        if not attack.log_is_read:
            server.log_is_left.set()
        with attacker(attack.name, server) as enemy:
            attacked = time.monotonic()
            progress(f"under attack, for {plan.attack_s:.0f} s")
            cut_short = _wait(
                plan.attack_s, sampler, lambda: enemy.poll() is not None or server.process.poll() is not None, progress
            )
            became = became_of(enemy)
        gone = time.monotonic()
        progress(f"after it, for {_QUIET_TO_S:.0f} s")
        _wait(_QUIET_TO_S, sampler, lambda: server.process.poll() is not None, progress)
        ended = time.monotonic()
        after = steady(sampler.looks, gone + _QUIET_FROM_S, gone + _QUIET_TO_S)
        peak = _peak(pid, sampler)
        private_peak = max((look.private_bytes for look in sampler.looks if look.at >= calm_end), default=0)
        serves = asyncio.run(_probe(server.address, server.metrics_port))
        progress("stopping")
        frames, visits = attempts_of(camera), attempts_of(visitors)
        exit_code, stop_s = server.stop(repeat=attack.repeat_sigterm)
        return Outcome(
            attack=attack.name,
            camera=_phases(frames, (begin, calm_end, attacked, gone, ended)),
            visitors=_phases(visits, (begin, calm_end, attacked, gone, ended)),
            before=before,
            after=after,
            private_peak_bytes=private_peak,
            peak_bytes=peak,
            published_bytes=limits.memory.max_bytes,
            became=became,
            cut_short=cut_short,
            serves=serves,
            exit_code=exit_code,
            stop_s=round(stop_s, 2),
            log_tail=tuple(server.lines)[-8:],
        )


def _wait(seconds: float, sampler: Sampler, over: Callable[[], bool], progress: Progress) -> str:
    """Wait, or return early with the reason."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        held = sampler.looks[-1].resident_bytes if sampler.looks else 0
        if held > _SERVER_MOST:
            return f"the server held {held >> 20} MiB"
        if free_bytes() < _MACHINE_LEAST:
            return f"the machine has {free_bytes() >> 20} MiB left"
        if over():
            return "the attacker, or the server, ended by itself"
        progress("")
    return ""


def _peak(pid: int, sampler: Sampler) -> int:
    try:
        return peak_of(pid)
    except OSError:
        return max((look.resident_bytes for look in sampler.looks), default=0)


def _phases(attempts: Sequence[Attempt], moments: tuple[float, float, float, float, float]) -> dict[str, Stretch]:
    begin, calm_end, attacked, gone, ended = moments
    return {
        "calm": stretch_of(attempts, begin, calm_end),
        "attack": stretch_of(attempts, attacked, gone),
        "after": stretch_of(attempts, gone, ended),
    }


async def _limits(address: str) -> service_pb2.GetModelResponse:
    async with grpc.aio.insecure_channel(address) as channel:
        answer: service_pb2.GetModelResponse = await service_pb2_grpc.EmbeddingServiceStub(channel).GetModel(
            service_pb2.GetModelRequest(), timeout=_PROBE_S
        )
        return answer


async def _probe(address: str, metrics_port: int) -> str:
    """Why the server does not serve as it should; "" if it does."""
    try:
        await _limits(address)
        async with asyncio.timeout(_PROBE_S):
            page = await _get(metrics_port, "/metrics")
    except grpc.aio.AioRpcError as error:
        return f"GetModel: {error.code().name} {error.details()}"[:120]
    except (OSError, TimeoutError) as error:
        return f"/metrics: {error!r}"[:120]
    for line in page.splitlines():
        if line.startswith("reidstream_frame_age_seconds_sum") and float(line.split()[1]) > _ENDLESS_AGE_S:
            return f"the metrics are spoilt: {line}"
    return ""


async def _get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    try:
        return (await reader.read()).decode(errors="replace")
    finally:
        writer.close()
