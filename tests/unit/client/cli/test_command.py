"""The command as people and scripts use it, against a server on a real socket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from reidstream_client.cli import arguments, main
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from tests.support.patience import HANG_S
from tests.unit.client.scripted_server import DIM, SPACE, ScriptedServer, ServerStream, result

Command = Callable[..., int]


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Three frames; two boxes in the first, none in the second, one in the third."""
    images = tmp_path / "sequence" / "img1"
    images.mkdir(parents=True)
    for number in (1, 2, 5):
        (images / f"{number:06}.jpg").write_bytes(b"file %d" % number)
    (images.parent / "gt.txt").write_text("1,7,10,20,30,40,1,1,1\n1,9,50,60,70,80,1,1,1\n5,7,11,21,30,40,1,1,1\n")
    return images.parent


@pytest.fixture
def run(served: ScriptedServer) -> Command:
    """The command, pointed at the scripted server."""
    return lambda *words: main([*map(str, words), "--server", served.target])


@pytest.mark.parametrize(("value", "server"), [(None, "127.0.0.1:50051"), ("", "127.0.0.1:50051"), ("a:1", "a:1")])
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, value: str | None, server: str) -> None:
    """As the server's do: composed environments have empty ones."""
    monkeypatch.delenv("REIDSTREAM_SERVER", raising=False)
    if value is not None:
        monkeypatch.setenv("REIDSTREAM_SERVER", value)
    assert arguments.make_parser().parse_args(["ping"]).server == server


def test_stream_writes_arrays_by_box(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every array that scripts rely on, with its type; the server got the files as they are."""
    output = tmp_path / "out.npz"
    assert run("stream", sequence, "--output", output, "--camera", "door", "--budget-ms", 250) == 0
    with np.load(output) as arrays:
        assert {name: (arrays[name].dtype, arrays[name].shape) for name in arrays} == {
            "frame": (np.int64, (3,)),
            "box_index": (np.int64, (3,)),
            "box_xyxy": (np.float32, (3, 4)),
            "valid": (np.bool_, (3,)),
            "embedding": (np.float32, (3, DIM)),
            "quality": (np.float32, (3,)),
            "track_id": (np.int64, (3,)),
            "outcome": (np.dtype("U20"), (3,)),
            "space_id": (np.dtype("U66"), ()),
            "model": (np.dtype("U8"), ()),
        }
        assert arrays["frame"].tolist() == [1, 1, 5]
        assert arrays["box_index"].tolist() == [0, 1, 0]
        assert arrays["box_xyxy"].tolist() == [[10, 20, 40, 60], [50, 60, 120, 140], [11, 21, 41, 61]]
        assert arrays["embedding"].tolist() == [[1, 0, 10, 60], [1, 1, 50, 140], [5, 0, 11, 61]]
        assert arrays["valid"].all()
        assert arrays["track_id"].tolist() == [7, 9, 7]
        assert arrays["outcome"].tolist() == ["embedded"] * 3
        assert (str(arrays["space_id"]), str(arrays["model"])) == (SPACE, "scripted")
    options = served.streams[0].open.options
    assert (options.camera_id, options.latency_budget_ms) == ("door", 250)
    said = capsys.readouterr()
    assert said.err == ""
    assert "3 frames and 3 boxes in" in said.out
    assert re.search(r"inference +4\.00 +4\.00\n", said.out)
    assert "boxes: 3 embedded" in said.out
    assert [path.name for path in tmp_path.iterdir() if path != sequence] == ["out.npz"]


def test_stream_writes_json_lines_as_they_come(run: Command, sequence: Path, tmp_path: Path) -> None:
    """One line per frame, also for one without boxes; null for what is not there."""
    lines = tmp_path / "out.jsonl"
    assert run("stream", sequence, "-o", tmp_path / "out.npz", "--jsonl", lines, "--quiet") == 0
    first, second, third = (json.loads(line) for line in lines.read_text().splitlines())
    assert (first["frame"], first["name"], first["error"], first["local"]) == (1, "000001.jpg", None, False)
    assert first["boxes"][1] == {
        "box": [50, 60, 120, 140],
        "track_id": 9,
        "outcome": "embedded",
        "quality": 0.5,
        "embedding": [1, 1, 50, 140],
    }
    assert first["timing"]["batch_sizes"] == [2]
    assert second["boxes"] == []
    assert third["frame"] == 5


def test_quiet_says_nothing(run: Command, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither bar nor summary."""
    assert run("stream", sequence, "-o", tmp_path / "out.npz", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_realtime_frames_have_an_age(run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path) -> None:
    """A frame is as old as the time since it was due; this camera is fast."""
    ages: list[int] = []

    async def script(stream: ServerStream) -> None:
        await stream.opened()
        while (frame := await stream.frame()) is not None:
            ages.append(frame.age_ns)
            await stream.answer(frame)

    served.on_stream = script
    assert run("stream", sequence, "-o", tmp_path / "out.npz", "--realtime", 1000) == 0
    assert len(ages) == 3
    assert all(0 < age < 60_000_000_000 for age in ages)


@pytest.mark.parametrize(
    ("word", "policy"),
    [
        ("wait", session_pb2.OVERLOAD_POLICY_WAIT),
        ("drop-oldest", session_pb2.OVERLOAD_POLICY_DROP_OLDEST),
        ("reject", session_pb2.OVERLOAD_POLICY_REJECT),
    ],
)
def test_policies_by_their_names(
    *, run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, word: str, policy: int
) -> None:
    """As the contract calls them."""
    assert run("stream", sequence, "-o", tmp_path / "out.npz", "--policy", word) == 0
    assert served.streams[0].open.overload_policy == policy


def test_frames_without_embeddings_are_counted_and_kept(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused frame has its rows, invalid, with the reason; the run is a success."""

    async def script(stream: ServerStream) -> None:
        await stream.opened()
        first, second, third = await stream.take(3)
        error = frame_pb2.FrameError(code=3, reason=frame_pb2.ERROR_REASON_INVALID_IMAGE, message="garbage")
        await stream.answer(frame_pb2.FrameResult(frame_id=first.frame_id, error=error))
        await stream.answer(second)
        await stream.answer(third)
        await stream.answer_all()

    served.on_stream = script
    output, lines = tmp_path / "out.npz", tmp_path / "out.jsonl"
    assert run("stream", sequence, "-o", output, "--jsonl", lines) == 0
    with np.load(output) as arrays:
        assert arrays["valid"].tolist() == [False, False, True]
        assert arrays["outcome"].tolist() == ["invalid_image", "invalid_image", "embedded"]
        assert not arrays["embedding"][:2].any()
    line = json.loads(lines.read_text().splitlines()[0])
    assert line["error"]["code"] == "INVALID_ARGUMENT"
    assert line["boxes"][0]["embedding"] is None
    assert "frames without embeddings: 1 invalid_image" in capsys.readouterr().out


def test_nothing_embedded_is_a_status_of_its_own(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path
) -> None:
    """A script must not take an empty result for a good one."""

    async def script(stream: ServerStream) -> None:
        await stream.opened()
        while (frame := await stream.frame()) is not None:
            failed = [frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_FAILED)] * len(frame.boxes)
            await stream.answer(frame_pb2.FrameResult(frame_id=frame.frame_id, boxes=failed))

    served.on_stream = script
    assert run("stream", sequence, "-o", tmp_path / "out.npz") == 5


def test_a_server_that_leaves_ends_the_run_early_with_what_came(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says which frames are missing; the output holds the others."""

    async def leaving(stream: ServerStream) -> None:
        await stream.opened()
        frames = await stream.take(3)
        await stream.drain(frames[0].frame_id)
        await stream.answer(frames[0])

    served.on_stream = leaving
    output = tmp_path / "out.npz"
    assert run("stream", sequence, "-o", output) == 1
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [1, 1]
    said = capsys.readouterr()
    assert "is leaving (shutdown); send 2 frames elsewhere (2 frames have no answer, 2 to 5)\n" in said.err
    assert said.err.count("\n") == 1
    assert "1 frames and 2 boxes" in said.out


def test_what_a_leaving_server_accepted_is_written(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third frame finds the server leaving; the first two are answered after that, and are in the output."""

    async def leaving(stream: ServerStream) -> None:
        await stream.opened(frames=2)
        frames = await stream.take(2)
        await stream.drain(frames[-1].frame_id)
        assert await stream.frame() is None
        for frame in frames:
            await stream.answer(frame)

    served.on_stream = leaving
    output = tmp_path / "out.npz"
    assert run("stream", sequence, "-o", output) == 1
    assert "is leaving (shutdown)" in capsys.readouterr().err
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [1, 1]
        assert arrays["valid"].all()


def test_a_file_that_vanishes_ends_the_run_with_what_came(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first frame's answer is already there when the third cannot be read."""

    async def script(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        (frame,) = await stream.take(1)
        (sequence / "img1" / "000005.jpg").unlink()
        await stream.answer(frame)
        await stream.answer_all()

    served.on_stream = script
    output = tmp_path / "out.npz"
    assert run("stream", sequence, "-o", output) == 2
    assert "000005.jpg cannot be read" in capsys.readouterr().err
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["stream", "nowhere", "-o", "out.npz"], 2, "nowhere does not exist"),
        (["stream", "{sequence}", "-o", "nowhere/out.npz"], 2, "nowhere/out.npz cannot be written"),
        (["stream", "{sequence}", "-o", "out.npz", "--jsonl", "nowhere/out.jsonl"], 2, "out.jsonl cannot be written"),
        (["stream", "{sequence}"], 2, "required: --output/-o; see reidstream-client stream --help"),
        (["stream", "{sequence}", "-o", "out.npz", "--realtime", "0"], 2, "--realtime: 0 is not in 0.01 to 10000"),
        (["stream", "{sequence}", "-o", "out.npz", "--realtime", "fast"], 2, "invalid number value: 'fast'"),
        (["stream", "{sequence}", "-o", "out.npz", "--camera", ""], 2, "camera_id must be 1 to 128 bytes"),
        (["stream", "{sequence}", "-o", "out.npz", "--use", "both"], 2, "invalid choice: 'both'"),
        (["embed", "nowhere.jpg"], 2, "nowhere.jpg cannot be read: No such file or directory"),
        (["embed", "x.jpg", "--box", "1,2,3"], 2, "'1,2,3' is not x1,y1,x2,y2"),
        (["info", "lost"], 4, "no model 'lost'"),
        (["paint"], 2, "invalid choice: 'paint'"),
        ([], 2, "required: COMMAND; see reidstream-client --help"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(
    *,
    run: Command,
    sequence: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    complaint: str,
) -> None:
    """And the status that --help documents."""
    monkeypatch.chdir(tmp_path)
    command = [word.format(sequence=sequence) for word in words]
    assert (run(*command) if command else main([])) == status
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("status", "code"),
    [(grpc.StatusCode.FAILED_PRECONDITION, 4), (grpc.StatusCode.DEADLINE_EXCEEDED, 3), (grpc.StatusCode.INTERNAL, 4)],
)
def test_a_server_that_refuses_the_session(
    *, run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, status: grpc.StatusCode, code: int
) -> None:
    """No output is written."""

    async def refuse(stream: ServerStream) -> None:
        await stream.context.abort(status, "the words")

    served.on_stream = refuse
    assert run("stream", sequence, "-o", tmp_path / "out.npz") == code
    assert not (tmp_path / "out.npz").exists()


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 3, and the question to ask oneself."""
    assert main(["ping", "--server", "127.0.0.1:1"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("reidstream-client: 127.0.0.1:1: ")
    assert "is a reidstream-server running" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("health", "word", "status"), [(b"\x08\x01", "SERVING", 0), (b"\x08\x02", "NOT_SERVING", 3)])
def test_ping(
    *, run: Command, served: ScriptedServer, capsys: pytest.CaptureFixture[str], health: bytes, word: str, status: int
) -> None:
    """For people and for scripts."""
    served.health = health
    assert run("ping") == status
    assert f"{served.target} is {word}, " in capsys.readouterr().out


def test_info_for_people(run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole spec and the limits on one page."""
    assert run("info") == 0
    said = capsys.readouterr().out
    for part in (
        "scripted                    4 numbers  version 0123456789ab  default",
        f"space       {SPACE}",
        "input: 128 x 256 rgb",
        "opencv_bilinear, stretch, crop unknown_77",
        "fake on cpu, fp32, up to 16 crops a batch",
        "max_message_bytes             16,777,216",
    ):
        assert part in said


def test_info_for_programs(run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as JSON."""
    assert run("info", "scripted", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["models"][0]["name"] == said["model"]["name"] == "scripted"
    assert said["input"]["mean"] == [0.5, 0.5, 0.5]
    assert said["limits"]["max_message_bytes"] == 1 << 24


def test_embed_an_image(
    run: Command, served: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole of it, or the boxes that are given; the bytes are the file's."""
    path = tmp_path / "person.png"
    Image.new("RGB", (64, 128)).save(path)
    assert run("embed", path) == 0
    assert "0,0,64,128              embedded        quality 0.50  +0.0000 +0.0000" in capsys.readouterr().out
    assert served.embedded[0].frame.encoded.data == path.read_bytes()
    assert run("embed", path, "--box", "1,2,3,4", "--box=-5,6,7,8.5", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == "person.png"
    assert [box["box"] for box in said["boxes"]] == [[1, 2, 3, 4], [-5, 6, 7, 8.5]]
    assert said["boxes"][1]["embedding"] == [0, 1, -5, 8.5]


def test_embed_without_any_vector(
    run: Command, served: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Says why, and with a status of its own."""

    async def failing(request: service_pb2.EmbedRequest, context: object) -> service_pb2.EmbedResponse:
        del context
        answer = result(request.frame)
        answer.boxes[0].CopyFrom(frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_OUTSIDE_FRAME))
        return service_pb2.EmbedResponse(result=answer)

    served.on_embed = failing
    path = tmp_path / "person.png"
    Image.new("RGB", (64, 128)).save(path)
    assert run("embed", path) == 5
    assert "outside_frame" in capsys.readouterr().out


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """Examples, formats and exit statuses; every line fits a terminal of 120."""
    for words in (["--help"], ["stream", "--help"], ["embed", "--help"]):
        assert main(words) == 0
        said = capsys.readouterr().out
        assert "examples:" in said
        assert max(map(len, said.splitlines())) <= 120
    assert "exit status:" in arguments.make_parser().format_help()


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
