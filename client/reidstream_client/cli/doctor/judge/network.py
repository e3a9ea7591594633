"""The way to the port: a name, a connection, a protocol, and perhaps a proxy.

Trap: with a proxy, gRPC does not take the way that was looked at. So what fails there is told, and is no fault.
"""

from __future__ import annotations

from typing_extensions import assert_never

from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning, wrong
from reidstream_client.cli.doctor.seen import Attempt, Port, Reach, Seen, Speaks, Trust, is_lacking
from reidstream_client.errors import ReidError

from .words import NOT_REACHED, met_nobody, said, unless_proxied

_BY_GRPC = "gRPC alone can resolve this address."
_OTHER_PORT = "Give the port of gRPC (50051 unless --port says otherwise)."


def name(seen: Seen) -> Finding:
    """The host has an address."""
    names = seen.names
    if names is None:
        return unseen("name", _BY_GRPC)
    if names.addresses:
        same = names.addresses == (names.host,)
        return ok("name", f"{names.host} is an address." if same else f"{names.host} is {', '.join(names.addresses)}.")
    found = wrong(
        "name",
        f"The name {names.host} has no address: {names.error}.",
        "Check the spelling and the name service of this machine; an address in numbers works without it.",
    )
    return unless_proxied(seen, found)


def reach(seen: Seen) -> Finding:
    """Some address takes a TCP connection."""
    attempts = seen.attempts
    if attempts is None:
        return unseen("port", _BY_GRPC if seen.names is None else "There is no address to connect to.")
    open_ones = [attempt for attempt in attempts if attempt.reach is Reach.OPEN]
    told = ", ".join(_told(attempt, seen.asked.timeout_s) for attempt in attempts)
    if open_ones:
        return ok("port", f"{told}.")
    if _loads(seen):
        return warning(
            "port",
            f"{told}.",
            "Wait until the models are loaded: the server opens this port then, and its metrics say that it loads.",
        )
    kinds = {attempt.reach for attempt in attempts}
    if kinds == {Reach.TIMED_OUT}:
        change = (
            "Something drops the packets: look at firewalls, security groups and routes, and whether the host is up. "
            "A host without this server would refuse at once."
        )
    elif Reach.REFUSED in kinds:
        change = (
            "The host is up, and nothing listens there: start reidstream-server, check the port (default 50051), and "
            "--host, which is 127.0.0.1 unless it was set."
        )
    else:
        change = "Look at this machine's network and its routes."
    return unless_proxied(seen, wrong("port", f"{told}.", change))


def protocol(seen: Seen) -> Finding:
    """What listens there speaks gRPC, and is a reidstream-server."""
    if seen.calls is not None and is_lacking(seen.calls.models) and is_lacking(seen.calls.info):
        return wrong(
            "protocol",
            "A gRPC server answers, and it has no service reidstream.v1.EmbeddingService.",
            "Check host and port: another program listens there.",
        )
    if seen.calls is not None and not met_nobody(seen.calls.health):
        return ok("protocol", "gRPC is spoken there.")
    found = _by_handshake(seen) if seen.port is None else _of_port(seen.port, seen.asked.timeout_s)
    return unless_proxied(seen, found)


def _of_port(port: Port, timeout_s: float) -> Finding:
    match port.speaks:
        case Speaks.GRPC:
            return ok("protocol", "gRPC is spoken there.")
        case Speaks.TLS:
            return unseen("protocol", "TLS comes first.")
        case Speaks.OPERATORS:
            found, change = "This is reidstream's port of metrics and probes.", _OTHER_PORT
        case Speaks.HTTP:
            found = f"A web server answers there{f' ({port.first})' if port.first else ''}, which does not speak gRPC."
            change = f"{_OTHER_PORT} A proxy in front of the server must pass HTTP/2 through."
        case Speaks.SILENT:
            found = f"The port takes connections and says nothing within {timeout_s:g} s."
            change = (
                "Look whether the server is frozen (its /healthz says so), or whether something in front of it takes "
                "connections in its place."
            )
        case Speaks.CLOSED:
            found = "The port takes connections and closes them without a word."
            change = "Look at what is in front of the server, such as a load balancer without a server behind it."
        case Speaks.OTHER:
            found, change = f"Something else answers there: {port.first}.", _OTHER_PORT
        case _:
            assert_never(port.speaks)
    return wrong("protocol", found, change)


def _by_handshake(seen: Seen) -> Finding:
    if seen.handshake is not None and seen.handshake.trust is Trust.SILENT:
        return wrong(
            "protocol",
            f"The port takes connections and does not answer a TLS handshake within {seen.asked.timeout_s:g} s.",
            "Look whether the server is frozen (its /healthz says so), or what takes connections in its place.",
        )
    return unseen("protocol", "TLS comes first." if seen.handshake is not None else NOT_REACHED)


def proxy(seen: Seen) -> Finding:
    """GRPC obeys the environment's proxy."""
    variable = seen.asked.proxy
    if variable is None:
        return ok("proxy", "gRPC connects without a proxy.")
    through = f"The environment's {variable} names a proxy, and gRPC connects through it"
    change = f"Add the server's host to no_proxy, or unset {variable}."
    error = None if seen.calls is None else seen.calls.health
    if isinstance(error, ReidError) and met_nobody(error):
        direct = any(attempt.reach is Reach.OPEN for attempt in seen.attempts or ())
        beside = " Without it, the port can be reached." if direct else ""
        return wrong("proxy", f"{through}, which fails. {said(seen, error)}{beside}", change)
    return warning("proxy", f"{through}.", f"{change} Proxies end streams that are long or idle.")


def _loads(seen: Seen) -> bool:
    return seen.operators is not None and "loading" in (seen.operators.ready or "")


def _told(attempt: Attempt, timeout_s: float) -> str:
    place = f"{attempt.address} port {attempt.port}"
    match attempt.reach:
        case Reach.OPEN:
            return f"{place} is open"
        case Reach.REFUSED:
            return f"{place} refuses connections"
        case Reach.TIMED_OUT:
            return f"{place} has not answered within {timeout_s:g} s"
        case Reach.UNREACHABLE:
            return f"{place} cannot be reached: {attempt.error}"
