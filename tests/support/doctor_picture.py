"""What `reidstream-client doctor` says of a real server that is well, with some warnings: docs/images/doctor.svg.

    make pictures        makes it anew

Why made: a picture that somebody has drawn says after some changes what no command shows. A test makes it too, and
compares everything but the figures.

The server has TLS with a certificate that ends soon, tokens, and a limit for messages that raw frames do not fit. A
camera beside sends frames of which some are older than its latency budget. Names and ports are those of a gate.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc

from reidstream_client.cli.arguments import make_parser
from reidstream_client.cli.doctor.command import diagnose
from reidstream_client.cli.doctor.report import Style, as_text
from reidstream_proto.v1 import service_pb2, service_pb2_grpc
from reidstream_server.app import RunningServer
from tests.support.certificates import Pair, authority, signed
from tests.support.doctoring import OF_TIME
from tests.support.harness import RawStream, encode, frame, picture, real_engine, serving
from tests.support.patience import HANG_S
from tests.support.terminal_svg import svg_of, words_of

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "doctor.svg"
HOST, CLIENT = "gate-server", "gate-pc"
COMMAND = f"$ reidstream-client doctor {HOST}:50051 --tls-ca ca.pem --token-file {CLIENT}.token"
_INTERVAL_S = "1.1"
_MARGIN = 25
_LATE_NS = 450_000_000
_OF_THE_MOMENT = OF_TIME | {"losses", "room", "clock"}
"""Also: whether a frame was late between two looks, which bound is the fullest, and which clock is ahead."""


def in_the_page() -> Sequence[str]:
    """The lines of the picture that the page has."""
    return words_of(PICTURE.read_text(encoding="utf-8"))


def without_figures(lines: Sequence[str]) -> dict[str, list[str]]:
    """The words of each check, but for what depends on how fast the machine is; whatever has a digit is a figure."""
    found: dict[str, list[str]] = {}
    check = ""
    for line in lines:
        head = line[:_MARGIN]
        if head.strip() and line[:1] != " ":
            check = head if line.startswith(("ok ", "warning ", "WRONG ")) else line.split()[0]
        found.setdefault(" ".join(check.split()), []).extend(line.split())
    return {
        check: ["#" if re.search(r"\d", word) else word for word in words]
        for check, words in found.items()
        if not any(name in check for name in _OF_THE_MOMENT) and not check.startswith("Nothing")
    }


async def take_picture() -> str:
    """Run the server, the camera and doctor."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ca = authority(folder, "ca")
        own = signed(ca, HOST, alternative=f"DNS:{HOST}")
        (folder / "tokens").write_text(f"{CLIENT} {hashlib.sha256(CLIENT.encode()).hexdigest()}\n")
        (folder / "token").write_text(CLIENT)
        async with serving(
            real_engine(),
            tls_cert_file=own.certificate,
            tls_key_file=own.key,
            tokens_file=folder / "tokens",
            max_message_bytes=4 << 20,
            metrics_enabled=True,
        ) as server:
            camera = asyncio.create_task(_send(server, ca))
            try:
                text = await asyncio.to_thread(_run, server, ca, folder / "token")
            finally:
                camera.cancel()
                await asyncio.gather(camera, return_exceptions=True)
    return svg_of("reidstream-client doctor: all is well but for some warnings", f"{COMMAND}\n{text}")


def _run(server: RunningServer, ca: Pair, token: Path) -> str:
    metrics = f"http://127.0.0.1:{server.metrics_port}/metrics"
    words = ["doctor", f"127.0.0.1:{server.port}", "--tls-ca", str(ca.certificate), "--tls-server-name", HOST]
    words += ["--token-file", str(token), "--metrics", metrics, "--interval", _INTERVAL_S]
    words += ["--timeout", str(HANG_S)]
    asked, findings = diagnose(make_parser().parse_args(words))
    text = as_text(asked, findings, Style(width=100, colours=True))
    names = {
        "127.0.0.1 is an address": f"{HOST} is 10.0.0.7",
        f"127.0.0.1 port {server.port}": "10.0.0.7 port 50051",
        f"127.0.0.1:{server.port}": f"{HOST}:50051",
        metrics: f"http://{HOST}:9464/metrics",
    }
    for ours, gates in names.items():
        text = text.replace(ours, gates)
    return text


async def _send(server: RunningServer, ca: Pair) -> None:
    """A camera of the same client, until it is cancelled; every fifth frame is late."""
    image = encode(picture(640, 480))
    credentials = grpc.ssl_channel_credentials(ca.certificate.read_bytes())
    options = (("grpc.ssl_target_name_override", HOST),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials, options) as channel:
        stub: service_pb2_grpc.EmbeddingServiceAsyncStub = service_pb2_grpc.EmbeddingServiceStub(channel)
        call = stub.EmbedStream(metadata=[("authorization", f"Bearer {CLIENT}")])
        stream = RawStream(call)
        await stream.open(camera_id="yard", latency_budget_ms=200)
        for step in range(1, 1_000_000):
            await stream.call.write(_frame(step, image))
            await stream.result()
            await asyncio.sleep(0.1)


def _frame(step: int, image: bytes) -> service_pb2.EmbedStreamRequest:
    message = frame(step, image)
    message.frame.age_ns = _LATE_NS if step % 5 == 0 else 0
    return message


def main() -> None:
    """Make the page's picture anew."""
    PICTURE.write_text(asyncio.run(take_picture()), encoding="utf-8")


if __name__ == "__main__":
    main()
