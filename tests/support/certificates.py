"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CONFIG = "[req]\ndistinguished_name = dn\n[dn]\n"
_AUTHORITY = """\
[ca]
default_ca = it
[it]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""
_SIGNS = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str) -> Pair:
    """One that signs others."""
    return _make(folder, name, ["-nodes", *_SIGNS])


def signed(by: Pair, name: str, *, alternative: str = "", password: str = "", days: int = 2) -> Pair:
    """A certificate with this common name, and perhaps an alternative one ("DNS:gate"), good for so many days."""
    options = ["-CA", str(by.certificate), "-CAkey", str(by.key)]
    options += ["-addext", f"subjectAltName={alternative}"] if alternative else []
    options += ["-passout", f"pass:{password}"] if password else ["-nodes"]
    return _make(by.certificate.parent, name, options, days)


def dated(by: Pair, name: str, *, begins: str, ends: str) -> Pair:
    """One for this name that is valid between two times, written as "20200131235959Z"."""
    folder = by.certificate.parent
    pair = Pair(folder / f"{name}-{begins}.pem", folder / f"{name}-{begins}.key")
    request, config, names = folder / "request.csr", folder / "openssl.cnf", folder / "authority.cnf"
    config.write_text(_CONFIG, encoding="utf-8")
    names.write_text(_AUTHORITY.format(folder=folder), encoding="utf-8")
    (folder / "index.txt").touch()
    asking = ["-config", str(config), "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-nodes"]
    _openssl("req", "-new", *_KEY, *asking, "-out", str(request), "-keyout", str(pair.key))
    signing = ["-cert", str(by.certificate), "-keyfile", str(by.key), "-startdate", begins, "-enddate", ends]
    files = ["-in", str(request), "-out", str(pair.certificate)]
    _openssl("ca", "-batch", "-notext", "-config", str(names), *signing, *files)
    return pair


def _make(folder: Path, name: str, options: list[str], days: int = 2) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    config = folder / "openssl.cnf"
    config.write_text(_CONFIG, encoding="utf-8")
    files = ["-config", str(config), "-out", str(pair.certificate), "-keyout", str(pair.key)]
    _openssl("req", "-x509", *_KEY, *files, "-subj", f"/CN={name}", "-days", str(days), *options)
    return pair


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
