"""`ping`, `info` and `embed`, help and errors, against a server on a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from PIL import Image

from reidstream_client.cli import arguments, main
from reidstream_proto.v1 import frame_pb2, service_pb2
from tests.unit.client.scripted_server import SPACE, ScriptedServer, ServerStream, result

Command = Callable[..., int]


@pytest.mark.parametrize(("value", "server"), [(None, "127.0.0.1:50051"), ("", "127.0.0.1:50051"), ("a:1", "a:1")])
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, value: str | None, server: str) -> None:
    """As the server's do: composed environments have empty ones."""
    monkeypatch.delenv("REIDSTREAM_SERVER", raising=False)
    if value is not None:
        monkeypatch.setenv("REIDSTREAM_SERVER", value)
    assert arguments.make_parser().parse_args(["ping"]).server == server


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["stream", "nowhere", "-o", "out.npz"], 2, "nowhere does not exist"),
        (
            ["stream", "{sequence}", "-o", "{sequence}"],
            2,
            "sequence cannot be written: it is a folder; name a file",
        ),
        (["stream", "{sequence}", "-o", "{sequence}/gt.txt/x.npz"], 2, "its folder cannot be made: File exists"),
        (["stream", "{sequence}", "-o", "out.npz", "--jsonl", "."], 2, ". cannot be written: it is a folder"),
        (["stream", "{sequence}", "-o", "a", "--jsonl", "./a"], 2, "--jsonl and --output are both a"),
        (
            ["stream", "x.csv", "-o", "b.csv", "--boxes", "b.csv"],
            2,
            "the boxes file b.csv cannot be read",
        ),
        (["stream", "rtsp://me:pw@cam/1", "-o", "a"], 2, "rtsp://***@cam/1 is an address, and SOURCE is a folder or"),
        (["stream", "rtsp:/me:pw@cam/1", "-o", "a"], 2, "rtsp:/***@cam/1 does not exist"),
        (["stream", "{sequence}", "-o", "a", "--first-frame", "-1"], 2, "--first-frame: -1 is not in 0 to"),
        (["stream", "{sequence}", "-o", "a", "--jpeg-quality", "90"], 2, "--jpeg-quality is for videos"),
        (["stream", "{sequence}", "-o", "a", "--jpeg-quality", "101"], 2, "--jpeg-quality: 101 is not in 1 to 100"),
        (["stream", "{sequence}", "-o", "a", "--jpeg-quality", "9", "--shared-memory"], 2, "exclude each other"),
        (["stream", "{sequence}", "--outptu", "a"], 2, "unknown option --outptu; did you mean --output? See"),
        (["stream", "{sequence}", "-o", "a", "--jsnol=b"], 2, "unknown option --jsnol; did you mean --jsonl? See"),
        (["stream", "{sequence}", "-o", "a", "--xyzzy"], 2, "unknown option --xyzzy; see reidstream-client stream"),
        (["stream", "{sequence}", "-o", "a", "--policy", "drop_oldest"], 2, "did you mean drop-oldest? See"),
        (["--verson"], 2, "unknown option --verson"),
        (["straem"], 2, "did you mean stream? See reidstream-client --help"),
        (["ping", "--token-file", "secret0token"], 2, "the token file cannot be read: No such file or directory; give"),
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
    assert "pw" not in said.err
    assert "secret0token" not in said.err
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
    assert run("stream", sequence, "-o", tmp_path / "out.npz", "--give-up-after", "0.5") == code
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


def test_embed_a_turned_image(
    run: Command, served: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is stored; or as its EXIF says, and then the whole of it is turned, too. An older server is refused."""
    path = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 128)).save(path, exif=exif)

    async def turning(request: service_pb2.EmbedRequest, context: object) -> service_pb2.EmbedResponse:
        del context
        asked = request.options.apply_exif_orientation
        return service_pb2.EmbedResponse(result=result(request.frame), apply_exif_orientation=asked)

    older, served.on_embed = served.on_embed, turning
    for flags, whole in (((), "0,0,64,128 "), (("--exif-orientation",), "0,0,128,64 ")):
        assert run("embed", path, *flags) == 0
        assert whole in capsys.readouterr().out
    served.on_embed = older
    assert run("embed", path, "--exif-orientation") != 0
    assert "apply_exif_orientation" in capsys.readouterr().err


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
    for words in (["--help"], ["stream", "--help"], ["embed", "--help"], ["doctor", "--help"]):
        assert main(words) == 0
        said = capsys.readouterr().out
        assert "examples:" in said
        assert max(map(len, said.splitlines())) <= 120
    assert "exit status:" in arguments.make_parser().format_help()
