"""The service itself: health, versions, the model, its space and what runs it."""

from __future__ import annotations

from typing import Final

from reidstream_client.checks import nearest
from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning, wrong
from reidstream_client.cli.doctor.seen import Calls, Seen, is_lacking
from reidstream_client.connection.protocols import Health
from reidstream_client.errors import ModelNotFound, ReidError

from .metrics import newest
from .words import failed, is_stranger, listed, met_nobody, silence, unless_proxied

_LEAVING: Final = "Connect elsewhere, or wait for the next start: a stream that resumes does so by itself."
_LOADING: Final = "Wait; the server's log has model_warm for each model that is ready."


def health(seen: Seen) -> Finding:
    """The server takes frames. What it says to a call counts more than what its probes say."""
    found = None if seen.calls is None else seen.calls.health
    if found is Health.SERVING:
        return ok("health", "The server takes frames.")
    by_probe = _of_probes(seen)
    if by_probe is not None:
        return by_probe
    if seen.calls is None or found is None:
        return unseen("health", silence(seen))
    if isinstance(found, ReidError):
        return _of_error(seen, found)
    if found is Health.NOT_SERVING:
        return _not_serving(seen, seen.calls)
    return warning("health", f"The server calls its health {found.name}.", "Look whether it is a reidstream-server.")


def _of_probes(seen: Seen) -> Finding | None:
    probe = seen.operators
    if probe is not None and probe.alive:
        return wrong("health", f"The server's /healthz says: {probe.alive}.", "Start the server again; see its log.")
    if probe is not None and "loading" in (probe.ready or ""):
        return wrong("health", "The server is warming up: its models are loading.", _LOADING)
    return None


def _of_error(seen: Seen, error: ReidError) -> Finding:
    if is_stranger(error):
        return unseen("health", silence(seen))
    if met_nobody(error):
        return unless_proxied(seen, failed("health", seen, error))
    if is_lacking(error):
        return warning(
            "health",
            "The server does not have grpc.health.v1, so load balancers and probes cannot ask it.",
            "Look whether something in front of it passes only some services through.",
        )
    return failed("health", seen, error)


def _not_serving(seen: Seen, calls: Calls) -> Finding:
    asked = calls.sessions
    drains = asked is not None and not isinstance(asked, ReidError) and asked.server.draining
    leaves = "leaving" in ((seen.operators.ready if seen.operators is not None else None) or "")
    if drains or leaves or met_nobody(calls.models):
        return wrong("health", "The server is leaving: it drains, and takes nothing new.", _LEAVING)
    cold = [] if calls.models is None or isinstance(calls.models, ReidError) else calls.models
    if any(not model.ready for model in cold):
        return wrong("health", "The server is warming up: NOT_SERVING, and a model is not ready.", _LOADING)
    return wrong("health", "The server says NOT_SERVING.", "Look into its log, and at /readyz, which says why.")


def versions(seen: Seen) -> Finding:
    """Both sides know the same methods, and are of one version."""
    if quiet := silence(seen):
        return unseen("versions", quiet)
    calls, frames = seen.calls, seen.frames
    asked = {
        "ListModels": None if calls is None else calls.models,
        "GetModel": None if calls is None else calls.info,
        "Embed": None if frames is None else frames.embed,
        "EmbedStream": None if frames is None else frames.opened,
    }
    lacking = [method for method, answer in asked.items() if is_lacking(answer)]
    server = _version(seen)
    if lacking:
        return wrong(
            "versions",
            f"The server{f' (version {server})' if server else ''} does not have {listed(lacking)}.",
            f"Use a server of this client's version ({seen.asked.version}) or newer.",
        )
    if not server:
        return unseen("versions", "The server tells its version only where `top` or its metrics are allowed.")
    if server != seen.asked.version:
        return warning(
            "versions",
            f"The server is version {server}, and this client {seen.asked.version}.",
            "Install one version on both sides. What both know works: the contract only grows.",
        )
    return ok("versions", f"Server and client are version {server}.")


def model(seen: Seen) -> Finding:
    """The model that is asked for is there, and ready."""
    if quiet := silence(seen):
        return unseen("model", quiet)
    calls = seen.calls
    if calls is None or calls.info is None or met_nobody(calls.models) or is_lacking(calls.info):
        return unseen("model", "The server was not asked.")
    known = [] if calls.models is None or isinstance(calls.models, ReidError) else [one.name for one in calls.models]
    if isinstance(calls.info, ModelNotFound):
        meant = nearest(seen.asked.model, known)
        hint = "" if meant is None else f" Did you mean {meant}?"
        return wrong(
            "model",
            f"The server has no model {seen.asked.model!r}; it has {listed(known)}.",
            f"Give one of them.{hint}",
        )
    if isinstance(calls.info, ReidError):
        return failed("model", seen, calls.info)
    found = calls.info.model
    if not found.ready and calls.health is Health.SERVING:
        return wrong("model", f"The model {found.name} is not ready.", _LOADING)
    return ok("model", f"{found.name}, {found.dim} numbers a vector; the server has {listed(known)}.")


def space(seen: Seen) -> Finding:
    """Its vectors may be compared with those that there are."""
    info = None if seen.calls is None else seen.calls.info
    if info is None or isinstance(info, ReidError):
        return unseen("space", silence(seen) or "The model is not known.")
    here, wanted = info.model.space_id, seen.asked.space_id
    if wanted is None:
        return ok("space", f"{here}. Keep it beside the vectors.")
    if wanted != here:
        return wrong(
            "space",
            f"The model's vectors are of space {here}, and {wanted} was expected: they must not be compared.",
            "Serve the weights and the preprocessing of your gallery, or embed the gallery again.",
        )
    return ok("space", f"{here}, as expected.")


def engine(seen: Seen) -> Finding:
    """What was preferred runs it."""
    info = None if seen.calls is None else seen.calls.info
    if info is None or isinstance(info, ReidError):
        return unseen("engine", silence(seen) or "The model is not known.")
    runs = f"{info.engine.engine} on {info.engine.device} in {info.engine.precision}"
    if info.engine.fallback_reason:
        return warning(
            "engine",
            f"The preferred engine is not in use, and {runs} is: {info.engine.fallback_reason}.",
            "Mend what it says on the server; --require-gpu has a server without its GPU not start.",
        )
    metrics = newest(seen)
    others = {} if metrics is None else metrics.by_label("reidstream_engine_fallback", "model")
    fallen = [name for name, value in others.items() if value]
    if fallen:
        return warning(
            "engine", f"For {listed(fallen)} another engine runs than was preferred.", "See engine_fallback in its log."
        )
    return ok("engine", f"{runs}, up to {info.engine.max_batch} crops a batch.")


def _version(seen: Seen) -> str:
    sessions = None if seen.calls is None else seen.calls.sessions
    if sessions is not None and not isinstance(sessions, ReidError):
        return sessions.server.version
    metrics = newest(seen)
    return "" if metrics is None else metrics.labels("reidstream_build_info").get("version", "")
