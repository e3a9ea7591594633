"""`reidstream-client top` against real servers: on a terminal, in a pipe, and where it is refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from reidstream_client.cli import main
from reidstream_server.app import RunningServer
from reidstream_server.config.admin_access import AdminAccess
from tests.support.harness import RawStream, frame, serving, stream_to, until
from tests.support.patience import wait_until
from tests.support.screen import Screen, on_a_terminal

T = TypeVar("T")
TOP = (sys.executable, "-m", "reidstream_client.cli", "top", "--interval", "0.1")


@asynccontextmanager
async def cameras(*names: str, **changes: object) -> AsyncIterator[tuple[RunningServer, Sequence[RawStream]]]:
    """A server with a session for each name, each of which has one frame answered."""
    async with serving(**changes) as server, AsyncExitStack() as stack:
        streams = []
        for name in names:
            stream = await stack.enter_async_context(stream_to(server))
            await stream.open(camera_id=name)
            await stream.call.write(frame(1))
            await stream.result()
            streams.append(stream)
        await until(lambda: all(session.counters.answered == 1 for session in server.runtime.sessions()))
        yield server, streams


async def beside(act: Callable[[], T]) -> T:
    """Do it in a thread, since the server is on this event loop."""
    return await asyncio.to_thread(act)


def at(server: RunningServer) -> tuple[str, ...]:
    return ("--server", f"127.0.0.1:{server.port}")


def ended(screen: Screen) -> tuple[int, bool]:
    """Its exit code, and whether the terminal is whole."""
    code = screen.wait()
    wait_until(lambda: screen.whole or b"1049h" not in screen.said)
    return code, screen.whole


async def test_a_terminal_shows_the_sessions_and_is_whole_again() -> None:
    """By keys: sort, select, one session in detail, back, and leave with status 0."""

    def look(server: RunningServer) -> None:
        with on_a_terminal([*TOP, *at(server)], columns=100, rows=24) as screen:
            screen.wait_for("gate", "yard", "sessions 2/512", "frames/s 0.0")
            assert "vLOST/S" in screen.shown[4]
            assert len(screen.shown) <= 24
            screen.press(b"\x1b[C")
            screen.wait_for("vLOST%")
            screen.press(b"r")
            screen.wait_for("^LOST%")
            screen.press(b"\x1b[D" * 4)
            screen.wait_for("^CAMERA")
            screen.press(b"G\r")
            screen.wait_for("camera yard of client -", "agreed on", "frames/s with vectors")
            screen.press(b"\x1b")
            screen.wait_for("gate", "yard")
            assert screen.modes != screen.before
            screen.press(b"q")
            assert ended(screen) == (0, True)
            assert screen.text.endswith("\x1b[?1049l")

    async with cameras("gate", "yard") as (server, _):
        await beside(partial(look, server))


async def test_a_terminal_that_changes_its_size_is_filled_anew() -> None:
    """Wider, there are more columns; lower, there are fewer rows. No line is wider than the terminal."""

    def look(server: RunningServer) -> None:
        with on_a_terminal([*TOP, "--interval", "3600", *at(server)], columns=60, rows=10) as screen:
            screen.wait_for("camera 0", "frames/s 0.0")  # and no more looks come
            assert "PEER" not in screen.shown[4]
            screen.resize(250, 30)
            screen.wait_for("PEER", "camera 7")
            screen.resize(40, 6)
            wait_until(lambda: len(screen.shown) == 6 and max(map(len, screen.shown)) <= 40)
            screen.press(b"q")
            assert ended(screen) == (0, True)

    async with cameras(*(f"camera {number}" for number in range(8))) as (server, _):
        await beside(partial(look, server))


async def test_ctrl_c_leaves_the_terminal_whole() -> None:
    """With the status and the line of the other commands."""

    def look(server: RunningServer) -> None:
        with on_a_terminal([*TOP, *at(server)]) as screen:
            screen.wait_for("gate")
            screen.press(b"\x03")
            assert ended(screen) == (130, True)
            assert screen.text.endswith("\x1b[?1049linterrupted\r\n")

    async with cameras("gate") as (server, _):
        await beside(partial(look, server))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_that_ends_it_leaves_the_terminal_whole(number: signal.Signals) -> None:
    """And the command ends by that signal, as it would have without a terminal."""

    def look(server: RunningServer) -> None:
        with on_a_terminal([*TOP, *at(server)]) as screen:
            screen.wait_for("gate")
            screen.send(number)
            assert ended(screen) == (-number, True)

    async with cameras("gate") as (server, _):
        await beside(partial(look, server))


async def test_a_stop_gives_the_terminal_back_and_going_on_takes_it_again() -> None:
    """Ctrl-Z in a shell: the shell has its terminal meanwhile."""

    def look(server: RunningServer) -> None:
        with on_a_terminal([*TOP, *at(server)]) as screen:
            screen.wait_for("gate")
            screen.press(b"\x1a")
            wait_until(lambda: screen.whole)
            drawn = len(screen.said)
            screen.send(signal.SIGCONT)
            wait_until(lambda: b"\x1b[?1049h" in screen.said[drawn:] and b"gate" in screen.said[drawn:])
            assert not screen.whole
            screen.press(b"q")
            assert ended(screen) == (0, True)

    async with cameras("gate") as (server, _):
        await beside(partial(look, server))


async def test_a_server_that_goes_away_is_waited_for_and_said_to_be_gone() -> None:
    """The table stays, with why it is not new; a session that is shown in detail and ends gives way to the table."""

    def look(screen: Screen, *words: str, keys: bytes = b"") -> None:
        screen.press(keys)
        screen.wait_for(*words)

    async with AsyncExitStack() as outer:
        async with cameras("gate", "yard") as (server, streams):
            screen = outer.enter_context(on_a_terminal([*TOP, "--sort", "camera", *at(server)]))
            await beside(partial(look, screen, "gate"))
            await beside(partial(look, screen, "camera gate of", keys=b"\r"))
            streams[0].call.cancel()
            await beside(partial(look, screen, "is over", "yard"))
        await beside(partial(look, screen, "trying again", "yard"))
        assert len(screen.shown) <= 24
        screen.press(b"q")
        assert await beside(partial(ended, screen)) == (0, True)


async def test_a_pipe_gets_plain_text_for_each_interval() -> None:
    """Without a code for a terminal, every column, and until nobody reads any more."""
    async with cameras("gate", "yard") as (server, _):
        program = await asyncio.create_subprocess_exec(
            *TOP, *at(server), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert program.stdout is not None
        assert program.stderr is not None
        text = ""
        while text.count("CAMERA") < 2:
            line = await program.stdout.readline()
            assert line
            text += line.decode()
        program.send_signal(signal.SIGINT)
        said = await program.stderr.read()
        assert (await program.wait(), said) == (130, b"interrupted\n")
    assert "\x1b" not in text
    assert "PEER" in text


async def test_once_is_one_table_of_one_interval(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts: text, or one line of JSON with documented names, in the order that was asked for."""
    async with cameras("gate", "yard") as (server, _):
        words = ["top", "--once", "--interval", "0.1", "--sort", "camera", "--reverse", *at(server)]
        assert await beside(partial(main, words)) == 0
        text = capsys.readouterr().out
        assert await beside(partial(main, [*words, "--json"])) == 0
        found = json.loads(capsys.readouterr().out)
        number = str(found["sessions"][0]["number"])
        assert await beside(partial(main, [*words, "--json", "--session", number])) == 0
        one = json.loads(capsys.readouterr().out)
        assert await beside(partial(main, [*words, "--session", number])) == 0
        detail = capsys.readouterr().out
    assert text.index("yard") < text.index("gate")
    assert text.count("CAMERA") == 1
    assert [session["camera_id"] for session in found["sessions"]] == ["yard", "gate"]
    assert found["sessions"][0]["answered"] == 1
    assert found["sessions"][0]["rates"]["answered_fps"] == 0.0
    assert found["sessions"][0]["rates"]["interval_s"] >= 0.1
    assert one["session"]["camera_id"] == "yard"
    assert one["open_frames"] == []
    assert detail.startswith("camera yard of client -")


@pytest.mark.parametrize("words", [["--once"], ["--json"], []])
async def test_no_server_is_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 3, at once, and what to check."""
    async with serving() as server:
        gone = at(server)
    assert await beside(partial(main, ["top", *words, *gone])) == 3
    said = capsys.readouterr().err
    assert said.startswith("reidstream-client: 127.0.0.1:")
    assert said.count("\n") == 1


async def test_what_the_server_does_not_allow_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 4."""
    async with serving(admin=AdminAccess.OFF) as server:
        assert await beside(partial(main, ["top", "--once", *at(server)])) == 4
    said = capsys.readouterr().err
    assert "--admin loopback" in said
    assert said.count("\n") == 1


async def test_a_missing_token_says_how_to_give_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 4; and with the token there is a table."""
    tokens, token = tmp_path / "tokens", tmp_path / "token"
    tokens.write_text(f"ops {hashlib.sha256(b'right').hexdigest()}\n")
    token.write_text("right\n")
    async with serving(tokens_file=tokens) as server:
        words = ["top", "--once", "--interval", "0.1", *at(server)]
        assert await beside(partial(main, words)) == 4
        said = capsys.readouterr().err
        assert await beside(partial(main, [*words, "--token-file", str(token)])) == 0
    assert "--token-file" in said
    assert said.count("\n") == 1
    assert "sessions 0/512" in capsys.readouterr().out


async def test_an_older_server_says_that_it_is_older(capsys: pytest.CaptureFixture[str]) -> None:
    """It has no such service: status 4."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        assert await beside(partial(main, ["top", "--once", "--server", f"127.0.0.1:{port}"])) == 4
    finally:
        await server.stop(None)
    assert "the server is older than the service reidstream.admin.v1.AdminService" in capsys.readouterr().err
