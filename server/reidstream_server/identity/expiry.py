"""When a certificate expires, read from its bytes.

Why by hand: Python's `ssl` tells that of a peer's certificate only, and a package for certificates would be one more
for one date. Trap: OpenSSL has loaded the file before and serves it, whatever is found here. So what is not understood
is no error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime

_PEM = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(.*?)-----END ", re.DOTALL)
_VERSION, _UTC_TIME = 0xA0, 0x17
_BEFORE_VALIDITY = 3
"""Fields between the version and the validity: serial number, signature algorithm, issuer."""
_CENTURY_TURNS = 50
"""RFC 5280: a year of two digits below it is of this century."""


def expires_s(pem: bytes) -> float | None:
    """When the first certificate of a PEM file expires, in seconds since 1970; None if that cannot be read."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        return _not_after(base64.b64decode(found[1]))
    except (IndexError, ValueError):
        return None


def _not_after(der: bytes) -> float:
    """Raises IndexError or ValueError for bytes that are no certificate."""
    certificate = _item(der, 0)[1]
    body = _item(certificate, 0)[1]
    fields = [item for item in _items(body) if item[0] != _VERSION]
    tag, until = list(_items(fields[_BEFORE_VALIDITY][1]))[1]
    digits = until.decode("ascii").removesuffix("Z")
    if tag == _UTC_TIME:
        digits = ("20" if int(digits[:2]) < _CENTURY_TURNS else "19") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The items of a DER sequence, each as its tag and what is in it."""
    at = 0
    while at < len(data):
        tag, inside, at = _item(data, at)
        yield tag, inside


def _item(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The item that begins there: its tag, what is in it, and where it ends."""
    tag, size, at = data[at], data[at + 1], at + 2
    if size & 0x80:  # the length has a length
        count = size & 0x7F
        size, at = int.from_bytes(data[at : at + count], "big"), at + count
    if at + size > len(data):
        raise IndexError("it ends early")
    return tag, data[at : at + size], at + size
