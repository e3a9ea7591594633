"""Outputs are asked for before the work, and what was there before is not lost for nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from reidstream_client.cli import main
from tests.unit.client.scripted_server import ScriptedServer, ServerStream

Command = Callable[..., int]


def test_folders_of_outputs_are_made(run: Command, sequence: Path, tmp_path: Path) -> None:
    """Both, and their parents."""
    output, lines = tmp_path / "a" / "b" / "out.npz", tmp_path / "c" / "out.jsonl"
    assert run("stream", sequence, "-o", output, "--jsonl", lines, "-q") == 0
    assert [path.name for path in output.parent.iterdir()] == ["out.npz"]
    assert len(lines.read_text().splitlines()) == 3


def test_an_output_that_cannot_be_written_is_known_before_the_server_is_asked(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder, where a run of hours would else end with nowhere to put its vectors."""
    for words in (["-o", tmp_path], ["-o", tmp_path / "out.npz", "--jsonl", tmp_path]):
        assert run("stream", sequence, *words) == 2
        assert f"{tmp_path} cannot be written: it is a folder; name a file in it" in capsys.readouterr().err
    assert served.streams == []


def test_a_name_too_long_for_its_unfinished_file_is_known_too(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path
) -> None:
    """The output gets its name last; whether it can is asked first."""
    assert run("stream", sequence, "-o", tmp_path / ("x" * 253)) == 2
    assert served.streams == []


def test_older_outputs_stay_if_there_is_no_answer(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path
) -> None:
    """A refused session writes nothing and empties nothing; with answers, both are replaced."""

    async def refuse(stream: ServerStream) -> None:
        await stream.context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the words")

    right, served.on_stream = served.on_stream, refuse
    output, lines = tmp_path / "out.npz", tmp_path / "out.jsonl"
    output.write_text("older")
    lines.write_text("older")
    assert run("stream", sequence, "-o", output, "--jsonl", lines) == 4
    assert output.read_text() == lines.read_text() == "older"
    lines.unlink()
    assert run("stream", sequence, "-o", output, "--jsonl", lines) == 4
    assert not lines.exists()
    lines.write_text("older" * 1000)
    served.on_stream = right
    assert run("stream", sequence, "-o", output, "--jsonl", lines, "-q") == 0
    assert [json.loads(line)["frame"] for line in lines.read_text().splitlines()] == [1, 2, 5]
    with np.load(output) as arrays:
        assert len(arrays["frame"]) == 3


def test_a_device_is_written_and_not_replaced(run: Command, sequence: Path, tmp_path: Path) -> None:
    """`-o /dev/null`, for somebody who only wants the lines: as root, it would else be a file afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("stream", sequence, "-o", pipe, "-q") == 0
        assert os.read(reader, 4).startswith(b"PK")
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert run("stream", sequence, "-o", "/dev/null", "-q") == 0
    assert Path("/dev/null").is_char_device()


def test_no_output_is_an_input(sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not the boxes, and not each other, however the paths are written."""
    boxes = tmp_path / "b.txt"
    boxes.write_text("1,1,2,3,4,5\n")
    for words in (
        ["-o", f"{tmp_path}/./b.txt", "--boxes", boxes],
        ["-o", tmp_path / "o", "--boxes", boxes, "--jsonl", boxes],
    ):
        assert main(["stream", str(sequence), *map(str, words), "--server", "127.0.0.1:1"]) == 2
        assert "which would be overwritten; give each its own file" in capsys.readouterr().err
    assert boxes.read_text() == "1,1,2,3,4,5\n"


def test_a_full_disk_is_named(run: Command, sequence: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The file that could not be written, and why."""
    assert run("stream", sequence, "-o", tmp_path / "out.npz", "--jsonl", "/dev/full", "-q") == 2
    assert capsys.readouterr().err == "reidstream-client: /dev/full cannot be written: No space left on device\n"
