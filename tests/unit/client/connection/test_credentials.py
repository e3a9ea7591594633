"""Tokens and TLS files on the client's side, before anything is connected."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidstream_client import AsyncReidClient, FileError, InvalidRequest, ReidClient, TlsOptions
from reidstream_client.cli import main
from reidstream_client.connection.credentials import read_token, same_trust
from reidstream_client.connection.targets import is_loopback
from tests.support.certificates import authority

SESAME = "sesame"


@pytest.mark.parametrize("target", ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"])
def test_a_token_may_stay_on_this_machine_without_tls(target: str) -> None:
    """Nobody else can read it there."""
    assert is_loopback(target)
    AsyncReidClient(target, token="t" * 32)


@pytest.mark.parametrize(
    "target",
    [
        "gate:1",
        "10.0.0.1:1",
        "[::2]:1",
        "127.0.0.1.example:1",
        "127.example:1",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "localhost",
    ],
)
def test_a_token_leaves_this_machine_only_inside_tls(target: str) -> None:
    """The error says what to do, and not the token."""
    with pytest.raises(InvalidRequest, match=r"without TLS.* give tls=TlsOptions\(\)") as caught:
        ReidClient(target, token=SESAME)
    assert "sesame" not in str(caught.value)
    AsyncReidClient(target, token=SESAME, tls=TlsOptions())


@pytest.mark.parametrize("token", ["", "sesame ", "sesame\n", "ses ame", "sesäme", "=sesame", "s" * 4097])
def test_a_token_that_no_header_can_carry_is_refused(token: str, tmp_path: Path) -> None:
    """Without being shown; a file may end with a line break."""
    with pytest.raises(InvalidRequest, match="token must be 1 to 4096") as caught:
        AsyncReidClient("localhost:1", token=token)
    assert "same" not in str(caught.value)
    path = tmp_path / "token"
    path.write_text(token, encoding="utf-8")
    if token.strip() == "sesame":
        assert read_token(path) == "sesame"
    else:
        with pytest.raises(FileError, match="must contain one token and nothing else") as refused:
            read_token(path)
        assert "same" not in str(refused.value)


def test_a_certificate_and_its_key_go_together() -> None:
    """One of them shows nothing."""
    with pytest.raises(InvalidRequest, match="given together"):
        TlsOptions(cert_file="a.pem")


def test_files_that_cannot_be_used_are_refused_before_connecting(tmp_path: Path) -> None:
    """With the path; a thread is not started for a client that cannot be."""
    path = tmp_path / "a.pem"
    with pytest.raises(FileError, match=r"a\.pem cannot be read: No such file"):
        ReidClient("gate:1", tls=TlsOptions(ca_file=path))
    path.write_text("sesame")
    with pytest.raises(FileError, match=r"a\.pem must be certificates in PEM"):
        ReidClient("gate:1", tls=TlsOptions(ca_file=path))
    with pytest.raises(FileError, match=r"a\.pem must be a certificate and its own key in PEM, without a password"):
        ReidClient("gate:1", tls=TlsOptions(cert_file=path, key_file=path))


@pytest.mark.needs("openssl")
def test_python_trusts_whom_grpc_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's authorities; without one those that gRPC comes with, or those that gRPC's own variable names."""
    own = authority(tmp_path, "ca").certificate
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    assert same_trust(TlsOptions()).cert_store_stats()["x509_ca"] > 50
    (given,) = same_trust(TlsOptions(ca_file=own)).get_ca_certs()
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(own))
    assert same_trust(TlsOptions()).get_ca_certs() == [given]
    assert given["subject"] == ((("commonName", "ca"),),)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--token-file", "sesame"], "the token file cannot be read: No such file or directory; give the path"),
        (["--token-file", "token"], "would go to gate:1 without TLS"),
        (["--tls-ca", "none"], "none cannot be read"),
        (["--tls-cert", "none"], "given together"),
    ],
)
def test_the_command_says_what_is_wrong_in_a_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And ends with the status of wrong usage."""
    monkeypatch.chdir(tmp_path)
    Path("token").write_text("sesame\n")
    assert main(["ping", "--server", "gate:1", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "sesame" not in error
