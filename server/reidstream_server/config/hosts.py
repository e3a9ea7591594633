"""Settings that are hosts to listen on.

Why apart from the other kinds: people write a port, a scheme or brackets into a host, and the error then shows the line
that is right. Trap: an IPv6 address has colons too. Text with one colon is a host with a port, text with more is an
address.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from typing_extensions import override

from .fields import Fault, Faults, Kind, WholeNumber

PORT = WholeNumber(low=0, high=65_535)

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WITH_PORT = re.compile(r"(?P<host>[^:\[\]]*|\[[^\[\]]*\]):(?P<port>[^:\[\]]*)")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Kind):
    """A host name or an IP address. `flag` and `port_flag` are for who wrote both into one."""

    flag: str
    port_flag: str
    metavar: str = "HOST"
    range: str = ""
    allowed: str = "a host name or an IP address, without a port or brackets"

    @override
    def parse(self, given: object) -> str | Faults:
        if isinstance(given, str) and (_NAME.fullmatch(given) or _is_address(given)):
            return given
        why = self._advice(given) if isinstance(given, str) else ""
        return Faults((Fault(value=given, message=f"must be {self.allowed}{why and '; '}{why}"),))

    @override
    def show(self, value: object) -> str:
        return str(value)

    def _advice(self, text: str) -> str:
        """What somebody probably meant; "" for what is nothing that is known."""
        if scheme := _SCHEME.match(text):
            return f"leave out {scheme[0]}"
        if found := _WITH_PORT.fullmatch(text):
            host, port = found["host"].strip("[]"), found["port"]
            if isinstance(PORT.parse(port), Faults):
                return f"the port is given by itself: {self.port_flag}, {PORT.range}"
            return f"the port is given by itself: {f'{self.flag} {host} ' if host else ''}{self.port_flag} {port}"
        if text.startswith("[") and _is_address(text.strip("[]")):
            return f"write {text.strip('[]')}"
        return "0.0.0.0 or :: is every interface" if text == "*" else ""


def _is_address(text: str) -> bool:
    address, percent, zone = text.partition("%")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return not percent or _ZONE.fullmatch(zone) is not None
