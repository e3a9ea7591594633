"""What `reidstream-client top` shows of a real server with three cameras: the picture in docs/operation.md.

    python -m tests.support.top_picture        makes the picture anew, in the page

Why made: a picture that somebody has drawn says after some changes what no command shows. A test makes it too, without
pauses, and compares everything but the figures.

One camera sends frames that are older than their latency budget, now and then; one is well; one sends nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from reidstream_client import ReidClient
from reidstream_client.cli.top.columns import Sorting
from reidstream_client.cli.top.detail import detail
from reidstream_client.cli.top.lines import as_text
from reidstream_client.cli.top.looks import Looks
from reidstream_client.cli.top.table import table
from reidstream_proto.v1 import service_pb2
from reidstream_server.app import RunningServer
from tests.support.harness import RawStream, encode, frame, picture, real_engine, serving, stream_to, until

PAGE = Path(__file__).parents[2] / "docs" / "operation.md"
WIDTH = 100
TARGET = "gate-server:50051"
CLIENTS = ("gate-pc", "lobby-pc", "ops")
CAMERAS = (("gate-pc", "entrance", 200), ("gate-pc", "yard", 200), ("lobby-pc", "lobby", 0))
"""Client, camera, and latency budget in milliseconds."""

_BLOCK = re.compile(
    r"(?<=<!-- made by python -m tests\.support\.top_picture -->\n```\n)(?P<picture>.*?)(?=\n```)", re.DOTALL
)
_STEPS = 20
_LATE_NS = 450_000_000


def in_the_page() -> str:
    """The picture that the page has."""
    found = _BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None, "the page has no picture"
    return found["picture"]


def without_figures(text: str) -> list[list[str]]:
    """Its words, line by line; whatever has a digit is a figure."""
    return [["#" if re.search(r"\d", word) else word for word in line.split()] for line in text.splitlines()]


async def take_picture(pause_s: float) -> str:
    """Run the server and the cameras; `pause_s`: between two frames of a camera."""
    image = encode(picture(640, 480))
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens"
        tokens.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in CLIENTS))
        async with serving(real_engine(), tokens_file=tokens) as server, AsyncExitStack() as stack:
            streams = []
            for client, camera, budget_ms in CAMERAS:
                stream = await stack.enter_async_context(stream_to(server, token=client))
                await stream.open(camera_id=camera, **({"latency_budget_ms": budget_ms} if budget_ms else {}))
                streams.append(stream)
            looking = stack.enter_context(ReidClient(f"127.0.0.1:{server.port}", token=CLIENTS[-1]))
            looks, looks_at_one = Looks(), Looks()
            first = await asyncio.to_thread(looking.server_sessions)
            looks.look(first)
            looks_at_one.look(first)
            await _send(server, streams[:2], image, pause_s)
            every = looks.look(await asyncio.to_thread(looking.server_sessions))
            worst = next(one.session.number for one in every.seen if one.suffers)
            one = looks_at_one.look_at(await asyncio.to_thread(looking.server_session, worst))
            text = as_text(table(TARGET, every, Sorting(), width=WIDTH))
            return f"{text}\n\n{as_text(detail(TARGET, one))}"


async def _send(server: RunningServer, streams: Sequence[RawStream], image: bytes, pause_s: float) -> None:
    """Each frame of every camera, with its answer; every third of the second camera is late."""
    for step in range(_STEPS):
        for place, stream in enumerate(streams):
            await stream.call.write(_frame(step, image, late=place == 1 and step % 3 == 0))
        for stream in streams:
            await stream.result()
        await asyncio.sleep(pause_s)
    every = _STEPS * len(streams)
    await until(
        lambda: every == sum(one.counters.answered + one.counters.faults.total() for one in server.runtime.sessions())
    )


def _frame(step: int, image: bytes, *, late: bool) -> service_pb2.EmbedStreamRequest:
    message = frame(step + 1, image)
    message.frame.age_ns = _LATE_NS if late else 0
    return message


def main() -> None:
    """Make the page's picture anew."""
    made = asyncio.run(take_picture(0.1))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_BLOCK.sub(lambda _: made, page), encoding="utf-8")


if __name__ == "__main__":
    main()
