"""TLS, certificates and tokens over real sockets: who gets in, as whom, and who does not."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import socket
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reidstream_client import (
    AsyncReidClient,
    CallRejected,
    Health,
    ReidClient,
    RetryPolicy,
    ServerUnavailable,
    TlsOptions,
)
from reidstream_client.cli import main as client_cli
from reidstream_client.connection.credentials import read_token
from reidstream_engines.fake import FakeEngine, FakeStager
from reidstream_server.app import RunningServer, running_server
from reidstream_server.cli import main as server_cli
from reidstream_server.config import load_config
from reidstream_server.core.terms import Flow
from reidstream_server.errors import StartupError
from reidstream_server.identity.tokens import TokenFile
from reidstream_server.loading import Engines
from tests.support.certificates import Pair, authority, signed
from tests.support.harness import JPEG, serving
from tests.support.patience import HANG_S
from tests.support.process import server_process

ROOT = Path(__file__).parents[2]
BOXES = np.array([[10, 10, 60, 120]], np.float32)
NAME = "gate.example"  # what the server's certificate says, and no address of this machine
SESAME = "sesame"
ONCE = RetryPolicy(attempts=1)
RIGHT, OTHER, WRONG = "right-0123456789", "other-0123456789", "wrong-0123456789"


@dataclass(frozen=True, slots=True)
class World:
    """Two authorities, one of which signed the server and two clients; a stranger's is the other's."""

    ca: Path
    other_ca: Path
    server: Pair
    client: Pair
    named: Pair
    stranger: Pair
    locked: Pair

    def serving(self, **changes: object) -> AbstractAsyncContextManager[RunningServer]:
        """A server with TLS."""
        return serving(tls_cert_file=self.server.certificate, tls_key_file=self.server.key, **changes)

    def tls(self, client: Pair | None = None) -> TlsOptions:
        """A client's side."""
        options = TlsOptions(ca_file=self.ca, server_name=NAME)
        return options if client is None else replace(options, cert_file=client.certificate, key_file=client.key)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("certificates")
    ca, other = authority(folder, "ca"), authority(folder, "other-ca")
    return World(
        ca=ca.certificate,
        other_ca=other.certificate,
        server=signed(ca, "server", alternative=f"DNS:{NAME}"),
        client=signed(ca, "yard-pc"),
        named=signed(ca, "unused", alternative="DNS:gate-pc.example,DNS:b"),
        stranger=signed(other, "stranger"),
        locked=signed(ca, "locked", password=SESAME),
    )


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "clients.tokens"
    enter(path, gate=RIGHT, yard=OTHER)
    return path


def enter(path: Path, **clients: str) -> None:
    """Write a list of tokens in one step."""
    lines = [f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n" for name, token in clients.items()]
    new = path.with_suffix(".new")
    new.write_text("".join(lines), encoding="utf-8")
    new.replace(path)


def client_of(server: RunningServer, *, tls: TlsOptions | None = None, token: str | None = None) -> AsyncReidClient:
    """The product's client, which tries once."""
    return AsyncReidClient(f"127.0.0.1:{server.port}", camera_id="cam", tls=tls, token=token, retry=ONCE)


def channel_to(server: RunningServer) -> grpc.aio.Channel:
    """Without TLS and without a token."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")


def flows(server: RunningServer) -> set[Flow]:
    """Of the sessions that are open now."""
    return {session.agreement.terms.flow for session in server.runtime.sessions()}


@pytest.mark.needs("openssl")
async def test_tls_serves_whoever_trusts_the_right_authority(world: World) -> None:
    """Frames and streams go through; nobody has an identity."""
    async with world.serving() as server, client_of(server, tls=world.tls()) as client:
        assert (await client.embed(JPEG, BOXES)).valid.all()
        async with client.stream() as session:
            assert flows(server) == {Flow(client="", camera_id="cam")}
            await session.send(JPEG, BOXES)
            await session.finish()
            assert [answer.valid.all() async for answer in session] == [True]


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("mistake", ["plain", "other authority", "other name"])
async def test_tls_refuses_everybody_else(world: World, mistake: str) -> None:
    """A client without TLS, one that trusts somebody else, and one that looks for another name."""
    tls = {
        "plain": None,
        "other authority": replace(world.tls(), ca_file=world.other_ca),
        "other name": replace(world.tls(), server_name=None),
    }[mistake]
    asked = r"ready there, without TLS\?" if tls is None else r"ready there, with TLS\?"
    async with world.serving() as server, client_of(server, tls=tls) as client:
        with pytest.raises(ServerUnavailable, match=asked):
            await client.embed(JPEG, BOXES)


@pytest.mark.needs("openssl")
async def test_a_certificate_is_an_identity(world: World) -> None:
    """By its alternative name where there is one, else by its common name; the frames are those of another flow."""
    async with (
        world.serving(tls_client_ca_file=world.ca) as server,
        client_of(server, tls=world.tls(world.client)) as yard,
        client_of(server, tls=world.tls(world.named)) as gate,
        yard.stream() as first,
        gate.stream() as second,
    ):
        assert flows(server) == {
            Flow(client="yard-pc", camera_id="cam"),
            Flow(client="gate-pc.example", camera_id="cam"),
        }
        for session in (first, second):
            await session.send(JPEG, BOXES)
            await session.finish()
            assert [answer.valid.all() async for answer in session] == [True]


@pytest.mark.needs("openssl")
async def test_without_the_right_certificate_there_is_no_connection(world: World) -> None:
    """Not even for health, which is asked on the same connection."""
    async with world.serving(tls_client_ca_file=world.ca) as server:
        for tls in (world.tls(), world.tls(world.stranger)):
            async with client_of(server, tls=tls) as client:
                with pytest.raises(ServerUnavailable):
                    await client.ping()
        async with client_of(server, tls=world.tls(world.client)) as client:
            assert (await client.ping()).health is Health.SERVING


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("key of another", "the key belongs to another certificate"),
        ("locked key", "the key has a password"),
        ("no authority", "tls_client_ca_file"),
    ],
)
async def test_files_that_do_not_fit_are_refused_at_the_start(world: World, wrong: str, said: str) -> None:
    """And a key with a password does not ask a terminal for it."""
    pair = world.locked if wrong == "locked key" else world.server
    key = world.client.key if wrong == "key of another" else pair.key
    ca = world.server.key if wrong == "no authority" else None
    with pytest.raises(StartupError, match=said):
        async with serving(tls_cert_file=pair.certificate, tls_key_file=key, tls_client_ca_file=ca):
            pass


@pytest.mark.needs("openssl")
def test_callers_without_tls_leave_no_foreign_line_in_a_log_for_programs(world: World) -> None:
    """One that speaks in the clear, and one that shows no certificate."""
    files = ("--tls-cert-file", str(world.server.certificate), "--tls-key-file", str(world.server.key))
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    with server_process(*files, "--tls-client-ca-file", str(world.ca), environment=environment) as (server, address):
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=HANG_S) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while caller.recv(4096):
                pass
        with ReidClient(address, tls=world.tls(), retry=ONCE) as client, pytest.raises(ServerUnavailable):
            client.ping()
        server.terminate()
        assert server.wait() == 0
    assert "text" not in {event["event"] for event in server.log}


async def _stream(client: AsyncReidClient) -> None:
    async with client.stream():
        pass


async def _embed(client: AsyncReidClient) -> None:
    await client.embed(JPEG, BOXES)


async def _models(client: AsyncReidClient) -> None:
    await client.models()


async def _info(client: AsyncReidClient) -> None:
    await client.info()


@pytest.mark.parametrize("call", [_stream, _embed, _models, _info])
async def test_every_method_wants_a_token(tokens: Path, call: Callable[[AsyncReidClient], Awaitable[None]]) -> None:
    """The right one gets in; none and a wrong one are told apart, and are not shown."""
    async with serving(tokens_file=tokens) as server:
        async with client_of(server, token=RIGHT) as client:
            await call(client)
        for token, said in ((None, "needs a token"), (WRONG, "does not know the token")):
            async with client_of(server, token=token) as client:
                with pytest.raises(CallRejected, match=said) as caught:
                    await call(client)
            assert caught.value.status is grpc.StatusCode.UNAUTHENTICATED
            assert WRONG not in str(caught.value)
        assert not flows(server)


@pytest.mark.parametrize("method", ["Embed", "EmbedStream", "NoSuchMethod"])
async def test_a_stranger_is_refused_before_its_message_is_read(tokens: Path, method: str) -> None:
    """What it sends is larger than a message may be; nor does it learn which methods there are."""
    async with serving(tokens_file=tokens, max_message_bytes=10_000) as server, channel_to(server) as channel:
        start: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        start = channel.unary_unary(f"/reidstream.v1.EmbeddingService/{method}")
        assert await start(b"\xff" * 100_000).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_of_a_stranger_ends_before_it_says_anything(tokens: Path) -> None:
    """The first message is not waited for."""
    async with serving(tokens_file=tokens) as server, channel_to(server) as channel:
        start: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        start = channel.stream_stream("/reidstream.v1.EmbeddingService/EmbedStream")
        assert await start().code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_list_changes_while_the_server_runs(tokens: Path) -> None:
    """A removed token opens nothing more, a new one does; an open stream goes on; a broken list is none."""
    async with serving(tokens_file=tokens) as server, client_of(server, token=RIGHT) as gate, gate.stream() as session:
        enter(tokens, yard=OTHER)
        with pytest.raises(CallRejected):
            await gate.models()
        await session.send(JPEG, BOXES)
        await session.finish()
        assert [answer.valid.all() async for answer in session] == [True]
        enter(tokens)
        async with client_of(server, token=OTHER) as yard:
            await yard.models()
        enter(tokens, gate=RIGHT)
        await gate.models()


async def test_cameras_of_two_clients_are_two_though_they_have_one_name(tokens: Path) -> None:
    """A camera is its name within an identity; one client's two sessions of it are one flow."""
    async with (
        serving(tokens_file=tokens) as server,
        client_of(server, token=RIGHT) as gate,
        client_of(server, token=OTHER) as yard,
        gate.stream(),
        gate.stream(),
        yard.stream(),
    ):
        assert server.runtime.open_sessions == 3
        assert flows(server) == {Flow(client="gate", camera_id="cam"), Flow(client="yard", camera_id="cam")}


async def test_health_reflection_and_metrics_want_no_token(tokens: Path) -> None:
    """A probe, a curious tool and Prometheus have none; the metrics name no client."""
    async with (
        serving(tokens_file=tokens, metrics_enabled=True) as server,
        client_of(server, token=RIGHT) as client,
        channel_to(server) as channel,
    ):
        await client.embed(JPEG, BOXES)
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        assert (await call.read()).list_services_response.service
        call.cancel()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.metrics_port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert "reidstream_frames_total" in page
    assert "gate" not in page


async def test_the_log_names_clients_and_never_a_token(tokens: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the lowest level, for a right token and for a wrong one."""
    caplog.set_level(logging.DEBUG)
    async with serving(tokens_file=tokens) as server:
        async with client_of(server, token=RIGHT) as gate:
            await _stream(gate)
        async with client_of(server, token=WRONG) as stranger:
            with pytest.raises(CallRejected):
                await _stream(stranger)
    logged = {record.msg: str(vars(record)) for record in caplog.records}
    assert "'client': 'gate', 'camera_id': 'cam'" in logged["session_opened"]
    assert "127.0.0.1" in logged["call_refused"]
    assert not [line for line in logged.values() if RIGHT in line or WRONG in line]


async def test_other_machines_are_not_served_in_the_clear(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless that is asked for: the error says how."""
    assert server_cli(["--host", "0.0.0.0"]) == 2  # noqa: S104 - what is refused
    error = capsys.readouterr().err
    assert error.startswith("host = 0.0.0.0 (flag --host): other machines are served with TLS only")
    assert "--insecure" in error
    flags = ["--host=0.0.0.0", "--insecure", "--port=0", "--no-metrics-enabled"]
    engines = Engines(engines=(FakeEngine(),), stager=FakeStager())
    async with running_server(load_config(flags, {}), engines) as server, client_of(server) as client:
        assert (await client.embed(JPEG, BOXES)).valid.all()


@pytest.mark.needs("openssl")
async def test_the_command_has_all_of_it(
    world: World, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS, a certificate and a token, which may come from the environment's file; a wrong one is a refusal."""
    monkeypatch.setenv("REIDSTREAM_TOKEN_FILE", str(tmp_path / "right"))
    (tmp_path / "right").write_text(f"{RIGHT}\n")
    (tmp_path / "wrong").write_text(WRONG)
    async with world.serving(tls_client_ca_file=world.ca, tokens_file=tokens) as server:
        command = ["info", "--server", f"127.0.0.1:{server.port}", "--tls-server-name", NAME, "--tls-ca", str(world.ca)]
        command += ["--tls-cert", str(world.client.certificate), "--tls-key", str(world.client.key)]
        assert await asyncio.to_thread(client_cli, command) == 0
        assert await asyncio.to_thread(client_cli, [*command, "--token-file", str(tmp_path / "wrong")]) == 4


@pytest.mark.needs("openssl")
def test_the_documented_line_makes_a_token(tmp_path: Path) -> None:
    """Run as it is printed: the file is the client's, the list the server's, and they fit."""
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^\(umask .*$", page, re.MULTILINE)
    for _ in range(2):  # a second one is added to the list
        subprocess.run(["bash", "-ec", line], cwd=tmp_path, check=True)
    path = tmp_path / "gate-pc.token"
    assert path.stat().st_mode & 0o077 == 0
    assert len((tmp_path / "clients.tokens").read_text().splitlines()) == 2
    assert TokenFile(tmp_path / "clients.tokens").client_of(read_token(path)) == "gate-pc"
