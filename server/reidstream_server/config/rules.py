"""The rules between settings.

Why: all values can be in their ranges and still not fit together, such as a queue that is smaller than one frame.
Trap: if a value was refused already, a rule about it says nothing new; `load.py` leaves such rules out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import assert_never

from .admin_access import AdminAccess
from .engine_settings import EngineSettings
from .runtimes import InferenceRuntime, Precision
from .settings import LimitSettings, ListenSettings, SecuritySettings, ServerConfig

CPU_SETTINGS = ("runtime", "providers", "precision", "jpeg_scale")
GPU_SETTINGS = ("gpu_precision", "gpu_decode", "gpu_cache")
_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRule:
    """A rule that a configuration breaks. `names`: what it compares. `shown`: what the message shows, in this order."""

    names: tuple[str, ...]
    shown: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLeast:
    """`greater` must be at least `factor` times `lesser`; `why`: the reason."""

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
        greater="max_receiving_bytes",
        factor=2,
        lesser="max_message_bytes",
        why="so that one message is no reason to end a connection",
    ),
    AtLeast(
        greater="max_parked_bytes",
        factor=2,
        lesser="max_message_bytes",
        why="so that one message cannot fill the room of those that wait",
    ),
    AtLeast(
        greater="max_held_answer_bytes",
        factor=4,
        lesser="max_answer_bytes",
        why="so that one answer, of 4 bytes a number, cannot fill the room of those that are not written",
    ),
    AtLeast(
        greater="max_staged_bytes",
        factor=3,
        lesser="max_image_pixels",
        why="so that every allowed image can be decoded (3 bytes a pixel; PNG and WebP take 7, progressive JPEG to 9)",
    ),
)
PORTS_RULE = "port, http_port and metrics_port must differ, unless they are 0 or on different addresses"
RPC_METRICS_RULE = "rpc_metrics needs metrics_enabled, since they are served on the same page"
TRITON_METRICS_RULE = "triton_metrics needs metrics_enabled, since they are served on the same page"
KSERVE_SHARED_MEMORY_RULE = "kserve_shared_memory needs kserve, since it is a part of that protocol"
TLS_RULE = "tls_cert_file and tls_key_file must be given together"
CLIENT_CA_RULE = "tls_client_ca_file needs TLS: tls_cert_file and tls_key_file"
LOOPBACK_RULE = (
    "other machines are served with TLS only: give tls_cert_file and tls_key_file, or listen on 127.0.0.1, or give "
    "--insecure if everybody on the network may read the frames"
)
ADMIN_RULE = (
    "admin clients shows the names and addresses of all cameras to every client, so clients must be known: give "
    "tokens_file or tls_client_ca_file, or let admin be loopback"
)
PRECISION_RULE = "precision bf16 needs runtime openvino; onnxruntime computes in fp32 only"
OPENVINO_RULE = "providers and spinning are only for runtime onnxruntime, not for openvino"
DEVICE_RULE = "runtime, providers, precision and jpeg_scale are only for the CPU, not for a GPU"
CPU_RULE = "gpu_precision, gpu_decode and gpu_cache are only for a GPU, not for device cpu"
REQUIRE_GPU_RULE = "require_gpu needs a GPU, so device cannot be cpu"
PROFILE_RULE = "profile needs a model that it applies to; the embedded default model has its own"

RULES = (
    *map(str, AT_LEAST),
    *(PORTS_RULE, RPC_METRICS_RULE, TRITON_METRICS_RULE, KSERVE_SHARED_MEMORY_RULE),
    *(TLS_RULE, CLIENT_CA_RULE, LOOPBACK_RULE, ADMIN_RULE),
    *(PRECISION_RULE, OPENVINO_RULE, DEVICE_RULE, CPU_RULE, REQUIRE_GPU_RULE, PROFILE_RULE),
)
"""All rules, in words."""


def broken_rules(config: ServerConfig) -> Iterator[BrokenRule]:
    """Every rule that the configuration breaks."""
    for rule in AT_LEAST:
        if not rule.kept(config.limits):
            names = (rule.greater, rule.lesser)
            yield BrokenRule(names=names, shown=names, rule=str(rule))
    for shown in _same_ports(config.listen):
        hosts = tuple(name.replace("port", "host") for name in shown)
        yield BrokenRule(names=(*shown, *hosts, "metrics_enabled"), shown=shown, rule=PORTS_RULE)
    if config.listen.rpc_metrics and not config.listen.metrics_enabled:
        shown = ("rpc_metrics", "metrics_enabled")
        yield BrokenRule(names=shown, shown=shown, rule=RPC_METRICS_RULE)
    if config.listen.triton_metrics and not config.listen.metrics_enabled:
        shown = ("triton_metrics", "metrics_enabled")
        yield BrokenRule(names=shown, shown=shown, rule=TRITON_METRICS_RULE)
    if config.limits.kserve_shared_memory and not config.listen.kserve:
        shown = ("kserve_shared_memory", "kserve")
        yield BrokenRule(names=shown, shown=shown, rule=KSERVE_SHARED_MEMORY_RULE)
    yield from _broken_security(config.security, config.listen)
    yield from _broken_engine(config.engine)
    if config.profile is not None and not config.models:
        yield BrokenRule(names=("profile", "models"), shown=("profile",), rule=PROFILE_RULE)


def _broken_security(security: SecuritySettings, listen: ListenSettings) -> Iterator[BrokenRule]:
    pair = {"tls_cert_file": security.tls_cert_file, "tls_key_file": security.tls_key_file}
    given = tuple(name for name, path in pair.items() if path is not None)
    if len(given) == 1:
        yield BrokenRule(names=tuple(pair), shown=given, rule=TLS_RULE)
    if security.tls_client_ca_file is not None and not given:
        yield BrokenRule(names=("tls_client_ca_file", *pair), shown=("tls_client_ca_file",), rule=CLIENT_CA_RULE)
    hosts = {"host": listen.host} | ({} if listen.http_port is None else {"http_host": listen.http_host})
    for name, host in hosts.items():
        if not given and not security.insecure and not _is_loopback(host):
            yield BrokenRule(names=(name, "insecure", *pair), shown=(name,), rule=LOOPBACK_RULE)
    known = security.tokens_file is not None or security.tls_client_ca_file is not None
    if security.admin is AdminAccess.CLIENTS and not known:
        names = ("admin", "tokens_file", "tls_client_ca_file")
        yield BrokenRule(names=names, shown=("admin",), rule=ADMIN_RULE)


def _broken_engine(engine: EngineSettings) -> Iterator[BrokenRule]:
    given = cpu_settings(engine)
    if given and (engine.device.startswith("cuda") or engine.require_gpu):
        yield BrokenRule(names=(*CPU_SETTINGS, "device", "require_gpu"), shown=given, rule=DEVICE_RULE)
    given = gpu_settings(engine)
    if given and engine.device == "cpu":
        yield BrokenRule(names=(*GPU_SETTINGS, "device"), shown=(*given, "device"), rule=CPU_RULE)
    if engine.require_gpu and engine.device == "cpu":
        yield BrokenRule(names=("require_gpu", "device"), shown=("require_gpu", "device"), rule=REQUIRE_GPU_RULE)
    match engine.runtime:
        case InferenceRuntime.ONNXRUNTIME:
            if engine.precision is not Precision.FP32:
                names = ("precision", "runtime")
                yield BrokenRule(names=names, shown=names, rule=PRECISION_RULE)
        case InferenceRuntime.OPENVINO:
            given = _changed(engine, ("providers", "spinning"))
            if given:
                yield BrokenRule(names=("providers", "spinning", "runtime"), shown=given, rule=OPENVINO_RULE)
        case _:
            assert_never(engine.runtime)


def cpu_settings(engine: EngineSettings) -> tuple[str, ...]:
    """The changed settings that are only for the CPU."""
    return _changed(engine, CPU_SETTINGS)


def gpu_settings(engine: EngineSettings) -> tuple[str, ...]:
    """The changed settings that are only for a GPU."""
    return _changed(engine, GPU_SETTINGS)


def _changed(engine: EngineSettings, names: tuple[str, ...]) -> tuple[str, ...]:
    default = EngineSettings()
    return tuple(name for name in names if getattr(engine, name) != getattr(default, name))


def _is_loopback(host: str) -> bool:
    """Whether an address is this machine's loopback. Names other than localhost are not resolved, and count as no."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same_ports(listen: ListenSettings) -> Iterator[tuple[str, str]]:
    """The settings of two ports that are the same on the same address."""
    places = [("port", listen.host, listen.port)]
    if listen.http_port is not None:
        places.append(("http_port", listen.http_host, listen.http_port))
    if listen.metrics_enabled:
        places.append(("metrics_port", listen.metrics_host, listen.metrics_port))
    for (one, host, number), (two, other, same) in combinations(places, 2):
        if number == same != 0 and (host == other or not {host, other}.isdisjoint(_EVERY_INTERFACE)):
            yield one, two
