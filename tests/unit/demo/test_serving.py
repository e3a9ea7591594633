"""The demonstration's own server: found, watched, and never left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from demo import serving
from demo.clips import Clip
from demo.serving import ServerFailed, serving_address, started
from demo.streaming import StreamFailed, stream_clips

ROOT = Path(__file__).parents[3]
SERVING_LINE = "2026-01-31T12:00:00.000Z info serving address=127.0.0.1:4711 metrics_port=9 models=stripes"


def program(on_sigterm: str) -> tuple[str, ...]:
    """A stand-in server: a Python program that says it serves, and obeys SIGTERM as told."""
    source = f"""
import signal, sys
signal.signal(signal.SIGTERM, {on_sigterm})
print("warming up", {SERVING_LINE!r}, sep="\\n", file=sys.stderr, flush=True)
while True:
    signal.pause()
"""
    return (sys.executable, "-c", source)


OBEDIENT = program("lambda *_: sys.exit(0)")


def test_the_address_is_read_from_the_log() -> None:
    """Only the line of the event `serving` names it."""
    assert serving_address(SERVING_LINE) == "127.0.0.1:4711"
    assert serving_address("2026-01-31T12:00:00.000Z info configuration values=serving") is None
    assert serving_address('2026-01-31T12:00:00.000Z info other text="info serving address=1.2.3.4:5"') is None
    assert serving_address("") is None


def test_a_server_is_found_and_stopped() -> None:
    """It is there inside the block; at its end it was asked to stop and has."""
    with started(OBEDIENT) as server:
        assert server.address() == "127.0.0.1:4711"
        assert server.process.poll() is None
    assert server.process.returncode == 0


@pytest.mark.parametrize("error", [StreamFailed("frame 3 failed"), KeyboardInterrupt()])
def test_a_server_is_stopped_whatever_happens(error: BaseException) -> None:
    """An error or Ctrl-C in the block: the process is asked to stop and gone, and the error is the one that is seen."""
    processes = []

    def interrupted() -> None:
        with started(OBEDIENT) as server:
            processes.append(server.process)
            server.address()
            raise error

    with pytest.raises(type(error)) as raised:
        interrupted()
    assert raised.value is error
    assert [process.returncode for process in processes] == [0]


def test_the_real_server_is_stopped_when_a_stream_fails(clips: tuple[Clip, Clip]) -> None:
    """A frame that cannot be decoded ends both cameras with its name, and the server stops in order all the same."""
    bad = replace(clips[1].shots[0], jpeg=b"not a picture")
    broken = replace(clips[1], shots=(*clips[1].shots[:2], bad))
    with pytest.raises(StreamFailed, match="camera B, frame 2"), started() as server:
        stream_clips(server.address(), (clips[0], broken), lambda: None)
    assert server.process.returncode == 0


def test_a_server_that_ends_early_is_quoted() -> None:
    """The error has the exit code and what the server said last."""
    command = (sys.executable, "-c", "import sys; print('no such model', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ServerFailed, match=r"exit code 3(.|\n)*no such model"), started(command) as server:
        server.address()
    assert server.process.returncode == 3


def test_a_server_that_never_serves_is_given_up() -> None:
    """After the deadline the error has the last log lines, and the process is stopped."""
    command = (sys.executable, "-c", "import sys; print('loading', file=sys.stderr, flush=True); sys.stdin.read()")
    silent = (sys.executable, "-c", "import signal; signal.pause()")
    with pytest.raises(ServerFailed, match="not ready within 0 s"), started(silent) as server:
        server.address(timeout_s=0.01)
    assert server.process.returncode == -signal.SIGTERM
    with pytest.raises(ServerFailed, match="loading"), started(command) as server:
        server.address()


def test_a_server_that_stops_badly_is_an_error() -> None:
    """Exit code 75 says that accepted frames were not answered; the demonstration must not hide it."""
    stubborn = program("lambda *_: sys.exit(75)")
    with pytest.raises(ServerFailed, match=r"exit code 75, not 0(.|\n)*warming up"), started(stubborn) as server:
        server.address()


def test_a_server_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets its time, then it is ended, and that is an error."""
    monkeypatch.setattr(serving, "STOP_S", 0.05)
    deaf = program("signal.SIG_IGN")
    with pytest.raises(ServerFailed, match="exit code -9"), started(deaf) as server:
        server.address()
    assert server.process.returncode == -signal.SIGKILL


def test_settings_of_the_environment_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A REIDSTREAM_PORT that somebody exported for a real server does not change the demonstration."""
    monkeypatch.setenv("REIDSTREAM_PORT", "1")
    source = "import os, sys; sys.exit(sum(name.startswith('REIDSTREAM_') for name in os.environ))"
    with started((sys.executable, "-c", source)) as server:
        server.process.wait()
    assert server.process.returncode == 0


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "demo", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_whole_demonstration(tmp_path: Path) -> None:
    """The real server, client and model: exit code 0, the table, the picture where it was asked for."""
    path = tmp_path / "matches.png"
    run = run_demo("--frames", "4", "--output", str(path))
    assert run.returncode == 0, run.stderr
    for words in ("frames/s", "p50", "p95", "p99", "decode", "queue", "infer", "rank-1", f"picture     {path}"):
        assert words in run.stdout
    assert cv2.imread(str(path)) is not None


def test_a_server_that_is_not_there_is_named() -> None:
    """`--server` with nobody behind it: one line that says so, exit code 1, no traceback."""
    run = run_demo("--server", "127.0.0.1:1", "--frames", "1")
    assert run.returncode == 1
    assert "no server is ready at 127.0.0.1:1" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("frames", ["0", "-3", "many", "1e9"])
def test_a_wrong_number_of_frames_is_refused(frames: str) -> None:
    """The message names the value and the range, before anything is started."""
    run = run_demo(f"--frames={frames}")
    assert run.returncode == 2
    assert f"'{frames}' is not a number of frames from 1 to 2000" in run.stderr
