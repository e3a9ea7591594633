"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CONFIG = "[req]\ndistinguished_name = dn\n[dn]\n"
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str) -> Pair:
    """One that signs others."""
    return _make(folder, name, ["-nodes", "-addext", "basicConstraints=critical,CA:TRUE"])


def signed(by: Pair, name: str, *, alternative: str = "", password: str = "", days: int = 2) -> Pair:
    """A certificate with this common name, and perhaps an alternative one ("DNS:gate"), good for so many days."""
    options = ["-CA", str(by.certificate), "-CAkey", str(by.key)]
    options += ["-addext", f"subjectAltName={alternative}"] if alternative else []
    options += ["-passout", f"pass:{password}"] if password else ["-nodes"]
    return _make(by.certificate.parent, name, options, days)


def _make(folder: Path, name: str, options: list[str], days: int = 2) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    config = folder / "openssl.cnf"
    config.write_text(_CONFIG, encoding="utf-8")
    files = ["-config", str(config), "-out", str(pair.certificate), "-keyout", str(pair.key)]
    subprocess.run(
        ["openssl", "req", "-x509", *_KEY, *files, "-subj", f"/CN={name}", "-days", str(days), *options],
        check=True,
        capture_output=True,
    )
    return pair
