"""Whether both sides trust each other: TLS, the certificate's dates, the token."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning, wrong
from reidstream_client.cli.doctor.seen import Certificate, Handshake, Seen, Speaks, Trust
from reidstream_client.connection.targets import is_loopback

from .metrics import newest
from .words import NOT_REACHED, is_stranger, listed, said, unless_proxied

SOON_DAYS: Final = 14
_DAY_S: Final = 86_400


def tls(seen: Seen) -> Finding:
    """Both sides have it or neither, and this client trusts the server."""
    shaken = seen.handshake
    if shaken is not None:
        return unless_proxied(seen, _of_handshake(seen, shaken))
    if seen.port is not None and seen.port.speaks is Speaks.TLS:
        found = wrong(
            "tls",
            "The port speaks TLS, and this client does not.",
            "Give --tls-ca FILE, the authority that signed the server's certificate (in Python, tls=TlsOptions(...)).",
        )
        return unless_proxied(seen, found)
    if seen.asked.tls:
        return unseen("tls", "Nobody answered a handshake.")
    if seen.calls is None:
        return unseen("tls", NOT_REACHED)
    near = is_loopback(seen.asked.target)
    return ok("tls", f"Neither side uses TLS{'' if near else ', so whoever is on the way can read the frames'}.")


def certificate(seen: Seen) -> Finding:
    """It is valid, and will be for some time."""
    shown = None if seen.handshake is None else seen.handshake.certificate
    metrics = newest(seen)
    told = None if metrics is None else metrics.value("reidstream_tls_certificate_expiry_timestamp_seconds")
    ends = told if shown is None else shown.ends_unix_s
    if ends is None:
        return unseen("certificate", "There is none, or it was not shown.")
    if shown is not None and seen.now_unix_s < shown.begins_unix_s:
        return wrong(
            "certificate",
            f"The server's certificate is not valid before {_date(shown.begins_unix_s)}; here it is "
            f"{_date(seen.now_unix_s)}.",
            "Set this machine's clock, or make the certificate anew.",
        )
    days = (ends - seen.now_unix_s) / _DAY_S
    if days < 0:
        return wrong(
            "certificate",
            f"The server's certificate has expired on {_date(ends)}; here it is {_date(seen.now_unix_s)}.",
            "Renew it and start the server again (--tls-cert-file), or set this machine's clock.",
            days_left=days,
        )
    if days < SOON_DAYS:
        return warning(
            "certificate",
            f"The server's certificate expires on {_date(ends)}, in {days:.0f} days.",
            "Renew it and start the server again: it reads the file only then.",
            days_left=days,
        )
    return ok("certificate", f"The server's certificate is valid until {_date(ends)}.", days_left=days)


def token(seen: Seen) -> Finding:
    """The server takes this client."""
    calls = seen.calls
    if calls is None:
        return unseen("token", NOT_REACHED)
    answers = (calls.health, calls.models, calls.info)
    refused = next((answer for answer in answers if is_stranger(answer)), None)
    if isinstance(refused, Exception):
        text = said(seen, refused)
        if refused.status is not None and refused.status.name == "PERMISSION_DENIED":
            return wrong("token", text, "Ask the server's operator, or whoever runs what is in front of it.")
        if not seen.asked.token:
            return wrong("token", text, "Give --token-file FILE, or set REIDSTREAM_TOKEN_FILE.")
        change = "Give the token of this server: its --tokens-file must have the token's SHA-256."
        return wrong("token", text, change)
    if calls.models is None:
        return unseen("token", "No method that asks for a token has answered.")
    return ok(
        "token", "The server takes this client" + (" and its token." if seen.asked.token else " without a token.")
    )


def _of_handshake(seen: Seen, shaken: Handshake) -> Finding:
    own = shaken.certificate
    if shaken.trust is Trust.TRUSTED:
        return ok("tls", f"The server has proved that it is {shaken.name}.")
    if shaken.trust is Trust.SILENT:
        return unseen("tls", "The port says nothing.")
    dated = own is None or own.begins_unix_s <= seen.now_unix_s <= own.ends_unix_s
    if shaken.trust in {Trust.EXPIRED, Trust.NOT_YET_VALID} and not dated:
        return unseen("tls", "The certificate's dates come first.")
    mine = "this client's certificate" if seen.asked.client_certificate else "a client without a certificate"
    dates = (
        f"An authority's certificate is {shaken.trust.value}.",
        "Renew it, give the new one to --tls-ca, or set this machine's clock.",
    )
    told: Mapping[Trust, tuple[str, str]] = {
        Trust.EXPIRED: dates,
        Trust.NOT_YET_VALID: dates,
        Trust.UNKNOWN_AUTHORITY: (
            f"The authority that signed the server's certificate{_named(own)} is not one that this client trusts.",
            "Give --tls-ca the file of that authority. If this is not your server, somebody stands between you and it.",
        ),
        Trust.WRONG_NAME: (
            f"The server's certificate is for {_names(own)}, and not for {shaken.name}.",
            "Connect by a name in the certificate, or say which one to expect: --tls-server-name NAME.",
        ),
        Trust.CLIENT_REFUSED: (
            f"The server refuses {mine}: {shaken.detail}.",
            "Give a certificate that the server's --tls-client-ca-file has signed: --tls-cert FILE, --tls-key FILE.",
        ),
        Trust.NO_TLS: (
            "This client uses TLS, and the port does not.",
            "Start the server with --tls-cert-file and --tls-key-file, or leave the --tls-... flags out here.",
        ),
        Trust.NO_HTTP2: (
            "The port speaks TLS and no HTTP/2, which gRPC needs.",
            "Give the port of gRPC, or have the proxy in front of it pass HTTP/2 through (ALPN h2).",
        ),
        Trust.FAILED: (f"The handshake fails: {shaken.detail}.", "Look into the server's log."),
    }
    return wrong("tls", *told[shaken.trust])


def _named(own: Certificate | None) -> str:
    return f", {own.issuer}," if own is not None and own.issuer else ""


def _names(own: Certificate | None) -> str:
    return "another name" if own is None else listed(own.names)


def _date(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_s))
