"""When a certificate expires, for files as openssl writes them, and for what is none."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from reidstream_server.identity.expiry import expires_s
from tests.support.certificates import Pair, authority, signed

DAY_S = 86_400


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return signed(authority(tmp_path_factory.mktemp("tls"), "ca"), "gate", alternative="DNS:gate")


def told_by_openssl(certificate: Path) -> float:
    """The same, as openssl says it."""
    command = ["openssl", "x509", "-in", str(certificate), "-noout", "-enddate"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout.removeprefix("notAfter=").strip()
    return time.mktime(time.strptime(text, "%b %d %H:%M:%S %Y %Z")) - time.timezone


def test_the_time_is_the_one_that_openssl_says(pair: Pair) -> None:
    """To the second."""
    assert expires_s(pair.certificate.read_bytes()) == told_by_openssl(pair.certificate)


def test_a_time_after_2049_is_written_in_another_form(pair: Pair, tmp_path: Path) -> None:
    """With four digits for the year."""
    far = tmp_path / "far.pem"
    command = ["openssl", "req", "-x509", "-key", str(pair.key), "-subj", "/CN=far", "-days", "36500", "-out", str(far)]
    config = tmp_path / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name = dn\n[dn]\n", encoding="utf-8")
    subprocess.run([*command, "-config", str(config)], check=True, capture_output=True)
    found = expires_s(far.read_bytes())
    assert found == told_by_openssl(far)
    assert found is not None
    assert found > time.time() + 36_000 * DAY_S


def test_the_first_certificate_of_a_file_counts(pair: Pair) -> None:
    """It is the server's own; text before it, as openssl writes it, and other certificates after it do not."""
    own = pair.certificate.read_bytes()
    other = pair.certificate.with_name("ca.pem").read_bytes()
    assert expires_s(b"subject=CN = gate\n" + own + other) == expires_s(own)


@pytest.mark.parametrize("kind", [b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"])
def test_old_names_of_a_certificate_are_read(pair: Pair, kind: bytes) -> None:
    """As OpenSSL reads them."""
    own = pair.certificate.read_bytes()
    assert expires_s(own.replace(b"CERTIFICATE", kind)) == expires_s(own)


def test_what_is_no_certificate_has_no_time(pair: Pair) -> None:
    """And is no error: OpenSSL decides what is served. Cut anywhere, it never has a wrong one."""
    own = pair.certificate.read_bytes()
    assert expires_s(b"") is None
    assert expires_s(pair.key.read_bytes()) is None
    assert expires_s(b"-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n") is None
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"
    inside = re.sub(rb"\s", b"", own.removeprefix(begin).partition(end)[0])
    for length in range(len(inside)):
        assert expires_s(begin + inside[:length] + end) is None
