"""Who calls: the file of tokens and what a call shows."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reidstream_server.config import load_config, redacted
from reidstream_server.errors import StartupError, Unauthenticated
from reidstream_server.identity.access import Access, Caller, Presented
from reidstream_server.identity.tls import TlsFiles, read_tls
from reidstream_server.identity.tokens import TokenFile
from reidstream_server.transport.grpc_server.caller import presented_by
from tests.support.certificates import authority, signed


@dataclass(frozen=True, slots=True)
class Call:
    """What a gRPC context tells."""

    headers: Sequence[tuple[str, str | bytes]] = ()
    proved: Mapping[str, Sequence[bytes]] = field(default_factory=dict)

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        return self.headers

    def peer(self) -> str:
        return "ipv4:10.0.0.7:4711"

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self.proved


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def write(path: Path, text: str) -> None:
    """Replace the file in one step, as operators should; the new file is another one whatever the clock says."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "clients.tokens"
    write(
        path, f"# who  what\n\n gate-pc\t{digest('right')}  \r\ngate-pc {digest('next').upper()}\nyard@2 {digest('b')}"
    )
    return path


def test_a_token_is_known_by_its_digest(listed: Path) -> None:
    """Comments, empty lines, white space and capitals are no matter; a client may have two tokens."""
    tokens = TokenFile(listed)
    assert [tokens.client_of(token) for token in ("right", "next", "b")] == ["gate-pc", "gate-pc", "yard@2"]
    assert [tokens.client_of(token) for token in ("", "Right", "right ", digest("right"), "ü")] == [None] * 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no tokens"),
        ("# nobody\n", "has no tokens"),
        ("gate sesame", "line 1 must be a client's name and the SHA-256 of its token"),
        (f"gate {digest('x')}\n{digest('y')}", "line 2 must be"),
        (f"gate {digest('x')[:-1]}", "line 1 must be"),
        (f"gate {digest('x')} sesame", "line 1 must be"),
        (f"{'g' * 65} {digest('x')}", "line 1 must be"),
        (f"gate {digest('x')}\nyard {digest('x')}", "line 2 has the same token as another client"),
    ],
)
def test_a_broken_list_is_refused_at_the_start_without_being_shown(tmp_path: Path, text: str, said: str) -> None:
    """A line may hold a token by mistake, so that only its number is told."""
    path = tmp_path / "tokens"
    write(path, text)
    with pytest.raises(StartupError, match=said) as caught:
        TokenFile(path)
    assert "sesame" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_list_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    """With the path."""
    with pytest.raises(StartupError, match=r"tokens_file .*tokens: cannot be read: No such file"):
        TokenFile(tmp_path / "tokens")


def test_a_pipe_in_the_place_of_the_list_is_not_waited_for(listed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked for on the event loop, where nobody may wait; a file that comes back counts again."""
    tokens = TokenFile(listed)
    listed.unlink()
    os.mkfifo(listed)
    assert [tokens.client_of("right") for _ in range(2)] == ["gate-pc"] * 2
    assert [record.msg for record in caplog.records] == ["tokens_kept"]
    listed.unlink()
    write(listed, f"yard {digest('new')}")
    assert tokens.client_of("new") == "yard"


def test_a_new_list_counts_at_once(listed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens come and go without a restart."""
    caplog.set_level(logging.INFO)
    tokens = TokenFile(listed)
    write(listed, f"yard {digest('new')}")
    assert [tokens.client_of(token) for token in ("right", "new")] == [None, "yard"]
    assert [record.msg for record in caplog.records] == ["tokens_read"]


@pytest.mark.parametrize("broken", ["", "gate sesame", None])
def test_a_list_that_breaks_changes_nothing_and_is_told_once(
    listed: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good list stays until there is another one; a second break is told again."""
    tokens = TokenFile(listed)
    for _ in range(2):
        if broken is None:
            listed.unlink()
        else:
            write(listed, broken)
        assert [tokens.client_of(token) for token in ("right", "wrong", "b")] == ["gate-pc", None, "yard@2"]
        write(listed, f"yard@2 {digest('b')}\ngate-pc {digest('right')}")
        assert tokens.client_of("b") == "yard@2"
    assert [record.msg for record in caplog.records if record.levelno == logging.ERROR] == ["tokens_kept"] * 2
    assert "sesame" not in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_header_names_the_client(listed: Path, scheme: str) -> None:
    """Whatever the case of the scheme, and beside other headers."""
    access = Access(tokens=TokenFile(listed))
    headers = [("user-agent", "x"), ("authorization", f"{scheme}right")]
    assert access.client_of(presented_by(Call(headers))) == "gate-pc"
    access.admit([f"{scheme}right"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "needs a token"),
        ([""], "needs a token"),
        (["right"], "needs a token"),
        (["Basic right"], "needs a token"),
        ([b"Bearer right"], "needs a token"),
        (["Bearer right", "Bearer right"], "needs a token"),
        (["Bearer"], "does not know the token"),
        (["Bearer "], "does not know the token"),
        (["Bearer wrong"], "does not know the token"),
        (["Bearer right right"], "does not know the token"),
    ],
)
def test_any_other_header_is_refused_without_being_shown(listed: Path, values: list[str | bytes], said: str) -> None:
    """Missing, of another scheme, twice, unknown; a certificate does not stand in for a token."""
    access = Access(tokens=TokenFile(listed), certificates=True)
    presented = Presented(authorization=values, certificate_names=[b"gate-pc"])
    for refused in (lambda: access.client_of(presented), lambda: access.admit(values)):
        with pytest.raises(Unauthenticated, match=said) as caught:
            refused()
        assert "right" not in str(caught.value)
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("proved", "client"),
    [
        ({"x509_subject_alternative_name": [b"a.example", b"b"], "x509_common_name": [b"c"]}, "a.example"),
        ({"x509_common_name": [b"gate \xff"]}, "gate \\xff"),
        ({"transport_security_type": [b"ssl"]}, ""),
    ],
)
def test_a_certificate_names_the_client(proved: dict[str, list[bytes]], client: str) -> None:
    """By its first alternative name, else by its common name; one with neither is nobody."""
    assert Access(certificates=True).client_of(presented_by(Call(proved=proved))) == client


def test_without_tokens_and_certificates_everybody_is_nobody() -> None:
    """Nothing that a call says of itself is believed."""
    access = Access()
    assert access.client_of(Presented(authorization=["Bearer x"], certificate_names=[b"gate"])) == ""
    access.admit([])


def test_files_that_are_no_certificates_are_refused(tmp_path: Path) -> None:
    """With the setting and the path, and not with what is in them."""
    path = tmp_path / "server.pem"
    with pytest.raises(StartupError, match=f"tls_cert_file {path}: cannot be read: No such file"):
        read_tls(TlsFiles(certificate=path, key=path, client_ca=None))
    path.write_text("sesame")
    with pytest.raises(StartupError, match=f"tls_cert_file {path}: must hold certificates in PEM") as caught:
        read_tls(TlsFiles(certificate=path, key=path, client_ca=None))
    assert "sesame" not in str(caught.value)


@pytest.mark.needs("openssl")
def test_what_is_wrong_with_a_key_is_said(tmp_path: Path) -> None:
    """Another's, one with a password, a certificate in its place, and one that is damaged."""
    root = authority(tmp_path, "root")
    one, other, locked = signed(root, "one"), signed(root, "other"), signed(root, "locked", password="sesame")  # noqa: S106
    damaged = tmp_path / "damaged.key"
    damaged.write_text(one.key.read_text().replace("\nM", "\nN", 1))
    expected = {
        other.key: "the key belongs to another certificate; give the certificate and its own key",
        locked.key: f"tls_key_file {locked.key}: the key has a password; write it without one: openssl pkey",
        one.certificate: f"tls_key_file {one.certificate}: must hold a private key in PEM",
        damaged: "one of them is damaged",
    }
    read_tls(TlsFiles(certificate=one.certificate, key=one.key, client_ca=root.certificate))
    for key, words in expected.items():
        with pytest.raises(StartupError, match=re.escape(words)):
            read_tls(TlsFiles(certificate=one.certificate, key=key, client_ca=None))
    with pytest.raises(StartupError, match=f"tls_client_ca_file {one.key}: must hold certificates in PEM"):
        read_tls(TlsFiles(certificate=one.certificate, key=one.key, client_ca=one.key))


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    """As those of models are; a flag's are relative to the working directory."""
    (tmp_path / "server.toml").write_text("tls_cert_file = 'a.pem'\ntls_key_file = '/b.key'\n", encoding="utf-8")
    config = load_config(["--config", str(tmp_path / "server.toml"), "--tokens-file", "c"], {})
    security = config.security
    assert (security.tls_cert_file, security.tls_key_file) == (tmp_path / "a.pem", Path("/b.key"))
    assert security.tokens_file == Path("c")
    assert 'tokens_file = "c"' in redacted(config).split("\n")


def test_who_is_held_responsible_is_the_client_or_else_its_connection() -> None:
    """Two connections of one token are one source; without anything that tells clients apart each connection is one."""
    named, unnamed = Access(certificates=True), Access()
    call = Call(proved={"x509_common_name": [b"gate-pc"]})
    assert named.caller_of(presented_by(call)) == Caller(client="gate-pc", source="client gate-pc")
    assert unnamed.caller_of(presented_by(call)) == Caller(client="", source="connection ipv4:10.0.0.7:4711")
    assert named.caller_of(presented_by(Call())).source == "connection ipv4:10.0.0.7:4711"
