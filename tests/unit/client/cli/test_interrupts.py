"""Ctrl-C, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.patience import HANG_S
from tests.unit.client.scripted_server import ScriptedServer, ServerStream

# The command, with a finalizer of which a Ctrl-C can be made sure to hit it. It never waits for good: a signal that
# comes just before a system call would not end it.
IN_A_FINALIZER = """
import signal, sys, time
from reidstream_client.cli import command, interrupts

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def wait():
    while True:
        time.sleep(0.01)

def ping(arguments):
    try:
        dropped = Dropped()
        del dropped
        wait()
    finally:
        print("cleaning up", flush=True)
        if arguments.server == "held":
            wait()

interrupts._LATER_S = float(sys.argv.pop())

command._ping = ping
sys.exit(command.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("later_s", ["0", "0.05"])
def test_an_interrupt_that_falls_into_a_finalizer_is_not_lost(later_s: str) -> None:
    """Python prints it and goes on; the command ends all the same, with nothing printed but its one line.

    Also where the second try comes at once, while the first is still being told of.
    """
    program = [sys.executable, "-c", IN_A_FINALIZER, "ping", "--server", "hit", later_s]
    done = subprocess.run(program, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaning up\n", "interrupted\n")


def test_a_second_interrupt_ends_the_command_at_once() -> None:
    """Whatever the first one is still waiting for; the status is a shell's for Ctrl-C, and there is no traceback."""
    program = [sys.executable, "-c", IN_A_FINALIZER, "ping", "--server", "held", "0.05"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "cleaning up\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, err) == (-signal.SIGINT, "")


def test_an_interrupted_run_keeps_what_came(served: ScriptedServer, sequence: Path, tmp_path: Path) -> None:
    """Ctrl-C while the server is slow: status 130, no traceback, and the frame that was answered is in the file."""

    async def slow(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        (frame,) = await stream.take(1)
        await stream.answer(frame)
        await stream.take(2)

    served.on_stream = slow
    output, lines = tmp_path / "out.npz", tmp_path / "lines"
    os.mkfifo(lines)  # reading a line from it waits until the command has written one
    program = [sys.executable, "-m", "reidstream_client.cli", "stream", str(sequence)]
    options = ["--output", str(output), "--jsonl", str(lines), "--server", served.target]
    with (
        subprocess.Popen([*program, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        lines.open() as written,
    ):
        assert json.loads(written.readline())["frame"] == 1
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert "1 frames and 2 boxes" in out
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [1, 1]


@pytest.mark.parametrize("words", [["info"], ["ping"]])
def test_a_reader_that_has_gone_ends_the_command_quietly(served: ScriptedServer, words: list[str]) -> None:
    """As `| head` does: nothing is printed about it, and the status is a shell's for a closed pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "reidstream_client.cli", *words, "--server", served.target]
    try:
        done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=HANG_S, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_run_whose_summary_nobody_reads_is_complete(served: ScriptedServer, sequence: Path, tmp_path: Path) -> None:
    """The output was written before anybody was told of it."""
    reading, writing = os.pipe()
    os.close(reading)
    output = tmp_path / "out.npz"
    program = [sys.executable, "-m", "reidstream_client.cli", "stream", str(sequence), "--output", str(output)]
    try:
        done = subprocess.run(
            [*program, "--server", served.target],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANG_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [1, 1, 5]
