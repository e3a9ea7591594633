"""`doctor` where one side does not trust the other: it names that fault, and no other as wrong."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from reidstream_server.app import RunningServer
from tests.support.certificates import Pair, authority, dated, signed
from tests.support.doctoring import diagnose
from tests.support.harness import serving
from tests.unit.client.scripted_server import ScriptedServer

pytestmark = pytest.mark.needs("openssl")
GATE = ("--tls-server-name", "gate")
TOKEN = "a-token-of-the-gate"  # noqa: S105 - made up


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return authority(tmp_path_factory.mktemp("trusted"), "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return authority(tmp_path_factory.mktemp("stranger"), "other-ca")


@pytest.fixture(scope="module")
def gate(trusted: Pair) -> Pair:
    return signed(trusted, "gate", alternative="DNS:gate")


def tls_server(pair: Pair, **changes: object) -> AbstractAsyncContextManager[RunningServer]:
    return serving(tls_cert_file=pair.certificate, tls_key_file=pair.key, **changes)


def by(authority: Pair) -> tuple[str, ...]:
    return ("--tls-ca", str(authority.certificate))


async def test_a_server_with_tls_is_well_and_its_certificate_ends_soon(trusted: Pair, gate: Pair) -> None:
    """The tests' own certificates are valid for two days."""
    async with tls_server(gate) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted), *GATE)
    assert (found.wrong, found.warnings, found.status) == (set(), {"certificate"}, 0)
    assert "has proved that it is gate" in found.said("tls")
    assert "in 2 days" in found.said("certificate")
    assert 1 < found.findings["certificate"]["figures"]["days_left"] < 2.01


async def test_a_client_without_tls_at_a_port_with_it(gate: Pair) -> None:
    """GRPC would say that a socket was closed."""
    async with tls_server(gate) as server:
        found = await diagnose(f"127.0.0.1:{server.port}")
    assert found.wrong == {"tls"}
    assert "The port speaks TLS, and this client does not. Give --tls-ca" in found.said("tls")


async def test_a_client_with_tls_at_a_port_without_it(trusted: Pair) -> None:
    """The other way round."""
    async with serving() as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted), *GATE)
    assert found.wrong == {"tls"}
    assert "This client uses TLS, and the port does not" in found.said("tls")


@pytest.mark.parametrize("trust", ["another", "none"])
async def test_an_authority_that_the_client_does_not_trust(gate: Pair, stranger: Pair, trust: str) -> None:
    """Another one was given, or none, so that gRPC trusts the public ones. The finding names who has signed."""
    async with tls_server(gate) as server:
        flags = by(stranger) if trust == "another" else ()
        found = await diagnose(f"127.0.0.1:{server.port}", *flags, *GATE)
    assert found.wrong == {"tls"}
    assert "The authority that signed the server's certificate, ca, is not one that" in found.said("tls")


async def test_a_certificate_for_another_host(trusted: Pair, gate: Pair) -> None:
    """The finding has the names that it is for."""
    async with tls_server(gate) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted))
    assert found.wrong == {"tls"}
    assert "certificate is for gate, and not for 127.0.0.1" in found.said("tls")
    assert "--tls-server-name" in found.said("tls")


async def test_a_certificate_that_has_expired(trusted: Pair) -> None:
    """With the day, and this machine's own: its clock may be the one that is wrong."""
    expired = dated(trusted, "gate", begins="20200101000000Z", ends="20200301120000Z")
    async with tls_server(expired) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted), *GATE)
    assert found.wrong == {"certificate"}
    assert "has expired on 2020-03-01 12:00 UTC" in found.said("certificate")


async def test_a_certificate_that_is_not_yet_valid(trusted: Pair) -> None:
    """As on a machine whose clock has not been set."""
    future = dated(trusted, "gate", begins="20990101000000Z", ends="20990301000000Z")
    async with tls_server(future) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted), *GATE)
    assert found.wrong == {"certificate"}
    assert "is not valid before 2099-01-01 00:00 UTC" in found.said("certificate")


async def test_a_server_that_demands_a_certificate_of_its_clients(trusted: Pair, gate: Pair) -> None:
    """Without one, the handshake seems to succeed and then the connection is closed."""
    async with tls_server(gate, tls_client_ca_file=trusted.certificate) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted), *GATE)
    assert found.wrong == {"tls"}
    assert "The server refuses a client without a certificate" in found.said("tls")


async def test_a_certificate_of_the_client_that_the_server_does_not_trust(
    trusted: Pair, gate: Pair, stranger: Pair
) -> None:
    """It has one, of another authority."""
    mine = signed(stranger, "camera")
    flags = ("--tls-cert", str(mine.certificate), "--tls-key", str(mine.key))
    async with tls_server(gate, tls_client_ca_file=trusted.certificate) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted), *GATE, *flags)
    assert found.wrong == {"tls"}
    assert "The server refuses this client's certificate" in found.said("tls")


async def test_a_certificate_of_the_client_that_is_taken(trusted: Pair, gate: Pair) -> None:
    """Nothing is wrong then."""
    mine = signed(trusted, "camera")
    flags = ("--tls-cert", str(mine.certificate), "--tls-key", str(mine.key))
    async with tls_server(gate, tls_client_ca_file=trusted.certificate) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *by(trusted), *GATE, *flags)
    assert found.wrong == set()


@asynccontextmanager
async def with_tokens(folder: Path) -> AsyncIterator[RunningServer]:
    tokens = folder / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    async with serving(tokens_file=tokens) as server:
        yield server


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "This server needs a token: send one header 'authorization: Bearer TOKEN'. Give --token-file"),
        ("another-token", "This server does not know the token. Give the token of this server"),
    ],
)
async def test_a_token_that_is_missing_or_wrong(tmp_path: Path, given: str, said: str) -> None:
    """Health needs none, so it is well."""
    file = tmp_path / "mine"
    file.write_text(given)
    async with with_tokens(tmp_path) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", *(("--token-file", str(file)) if given else ()))
    assert found.wrong == {"token"}
    assert said in found.said("token")
    assert found.findings["health"]["verdict"] == "ok"
    assert TOKEN not in str(found)


async def test_a_token_that_is_taken(tmp_path: Path) -> None:
    """Nothing is wrong then."""
    file = tmp_path / "mine"
    file.write_text(TOKEN)
    async with with_tokens(tmp_path) as server:
        found = await diagnose(f"127.0.0.1:{server.port}", "--token-file", str(file))
    assert found.wrong == set()
    assert "and its token" in found.said("token")


async def test_a_client_that_is_not_allowed() -> None:
    """As by a gateway that knows the caller, and does not let it in."""

    class Closed(ScriptedServer):
        async def ListModels(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG002, N802
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this gate is not for you")

    async with Closed().running() as server:
        found = await diagnose(server.target)
    assert found.wrong == {"token"}
    assert "This gate is not for you" in found.said("token")
