"""`reidstream-client stream`, against a server on a real socket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reidstream_proto.v1 import frame_pb2, session_pb2
from tests.unit.client.scripted_server import DIM, SPACE, ScriptedServer, ServerStream

Command = Callable[..., int]


def test_stream_writes_arrays_by_box(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every array that scripts rely on, with its type; the server got the files as they are."""
    output = tmp_path / "out.npz"
    assert run("stream", sequence, "--output", output, "--camera", "door", "--budget-ms", 250) == 0
    with np.load(output) as arrays:
        assert {name: (arrays[name].dtype, arrays[name].shape) for name in arrays} == {
            "frame": (np.int64, (3,)),
            "name": (np.dtype("U10"), (3,)),
            "box_index": (np.int64, (3,)),
            "box_xyxy": (np.float32, (3, 4)),
            "valid": (np.bool_, (3,)),
            "embedding": (np.float32, (3, DIM)),
            "quality": (np.float32, (3,)),
            "track_id": (np.int64, (3,)),
            "outcome": (np.dtype("U20"), (3,)),
            "cached": (np.bool_, (3,)),
            "source_frame": (np.int64, (3,)),
            "space_id": (np.dtype("U66"), ()),
            "model": (np.dtype("U8"), ()),
        }
        assert arrays["frame"].tolist() == [1, 1, 5]
        assert arrays["name"].tolist() == ["000001.jpg", "000001.jpg", "000005.jpg"]
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
    assert "frames without boxes: 1 of 3 (2)" in said.out
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
        "cached": False,
        "source_frame": 1,
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
    assert run("stream", sequence, "-o", output, "--give-up-after", 0) == 1
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
    assert run("stream", sequence, "-o", output, "--give-up-after", 0) == 1
    assert "is leaving (shutdown)" in capsys.readouterr().err
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [1, 1]
        assert arrays["valid"].all()


def test_a_server_that_leaves_is_followed_by_the_next_stream(
    run: Command, served: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless asked not to, the run goes on where it was: nothing is missing, nothing is there twice."""

    async def script(stream: ServerStream) -> None:
        await stream.opened()
        if len(served.streams) > 1:
            await stream.answer_all()
            return
        frames = await stream.take(3)
        await stream.drain(frames[0].frame_id)
        await stream.answer(frames[0])

    served.on_stream = script
    output = tmp_path / "out.npz"
    assert run("stream", sequence, "-o", output) == 0
    with np.load(output) as arrays:
        assert arrays["frame"].tolist() == [1, 1, 5]
        assert arrays["valid"].all()
    said = capsys.readouterr()
    assert said.err == ""
    assert "resumed after a cut: 1" in said.out
    assert [stream.open.epoch for stream in served.streams] == [0, 1]


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
