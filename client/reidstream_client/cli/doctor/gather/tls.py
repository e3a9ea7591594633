"""A TLS handshake with this client's own files, and what the server's certificate says.

Why beside gRPC's: gRPC says that a handshake failed, and Python says why. Traps: under TLS 1.3 a server refuses a
client without a certificate only after the client's handshake is over, so the first bytes are waited for. And Python
shows the fields of a certificate only if it trusts it. So the certificate is asked for once more, by a context that
trusts just this one, whatever its dates.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reidstream_client.cli.doctor.seen import Certificate, Handshake, Trust

from .network import connected
from .port import first_bytes, is_http2

_CODES: Final[Mapping[int, Trust]] = {
    9: Trust.NOT_YET_VALID,
    10: Trust.EXPIRED,
    62: Trust.WRONG_NAME,
    64: Trust.WRONG_NAME,
    **dict.fromkeys((2, 18, 19, 20, 21), Trust.UNKNOWN_AUTHORITY),
}
"""OpenSSL's numbers for what is wrong with a certificate (X509_V_ERR_...)."""

_ABOUT_THE_CLIENT: Final = ("CERTIFICATE", "ALERT_UNKNOWN_CA", "ALERT_HANDSHAKE_FAILURE", "ALERT_ACCESS_DENIED")
_PARTIAL_CHAIN: Final = 0x80000
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_...; the second one has no name in Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to connect, and the name that the certificate must have."""

    address: str
    port: int
    name: str
    timeout_s: float


async def handshake(place: Place, trust: ssl.SSLContext) -> Handshake:
    """Shake hands as this client would."""
    trust.set_alpn_protocols(["h2"])
    how, detail = await _shake(place, trust)
    seen = None if how in {Trust.NO_TLS, Trust.SILENT} else await _certificate(place)
    return Handshake(trust=how, name=place.name, detail=detail, certificate=seen)


async def _shake(place: Place, trust: ssl.SSLContext) -> tuple[Trust, str]:
    begun = False
    try:
        async with connected(place.address, place.port, place.timeout_s, trust, place.name) as line:
            begun = True
            spoken = line.writer.get_extra_info("ssl_object").selected_alpn_protocol()
            first = await first_bytes(line, place.timeout_s) if spoken == "h2" else b"none"
    except asyncio.TimeoutError:
        return Trust.SILENT, ""
    except ssl.SSLCertVerificationError as error:
        return _CODES.get(error.verify_code, Trust.FAILED), error.verify_message
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        return _refusal(reason, begun=begun), reason
    if not first:
        return Trust.CLIENT_REFUSED, "it closed the connection after the handshake"
    return (Trust.TRUSTED if is_http2(first) else Trust.NO_HTTP2), ""


def _refusal(reason: str, *, begun: bool) -> Trust:
    """By OpenSSL's word for it. An alert comes from a server that speaks TLS."""
    if "NO_APPLICATION_PROTOCOL" in reason:
        return Trust.NO_HTTP2
    if begun or any(word in reason for word in _ABOUT_THE_CLIENT):
        return Trust.CLIENT_REFUSED
    return Trust.FAILED if "ALERT" in reason else Trust.NO_TLS


async def _certificate(place: Place) -> Certificate | None:
    """The server's, whoever signed it; None if the server does not show it."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    der = await _presented(place, anyone, binary=True)
    if not isinstance(der, bytes):
        return None
    this_one = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    this_one.check_hostname = False
    this_one.load_verify_locations(cadata=der)
    this_one.verify_flags |= ssl.VerifyFlags(_PARTIAL_CHAIN | _NO_CHECK_TIME)
    fields = await _presented(place, this_one, binary=False)
    return _read(fields) if isinstance(fields, dict) and fields else None


async def _presented(place: Place, context: ssl.SSLContext, *, binary: bool) -> object:
    context.set_alpn_protocols(["h2"])
    try:
        async with connected(place.address, place.port, place.timeout_s, context, place.name) as line:
            return line.writer.get_extra_info("ssl_object").getpeercert(binary)
    except (OSError, asyncio.TimeoutError):
        return None


def _read(fields: Mapping[str, Any]) -> Certificate:
    subject, issuer = (
        {key: str(value) for part in fields.get(whose, ()) for key, value in part} for whose in ("subject", "issuer")
    )
    names = tuple(str(value) for _, value in fields.get("subjectAltName", ()))
    return Certificate(
        names=names or tuple(filter(None, [subject.get("commonName", "")])),
        issuer=issuer.get("commonName") or issuer.get("organizationName", ""),
        begins_unix_s=float(ssl.cert_time_to_seconds(fields["notBefore"])),
        ends_unix_s=float(ssl.cert_time_to_seconds(fields["notAfter"])),
    )
