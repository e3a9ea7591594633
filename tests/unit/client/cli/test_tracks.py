"""`reidstream-client stream --tracks`: the track ids of the boxes file, cached boxes, and tracks that have ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reidstream_client import TrackEndCause
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from tests.unit.client.scripted_server import DIM, SPACE, ScriptedServer, ServerStream, result
from tests.unit.client.session.test_tracks import AGREED, the_end

Command = Callable[..., int]


@pytest.fixture
def tracking(served: ScriptedServer) -> ScriptedServer:
    """Answers each second frame from its memory; 7 ends between the frames, 9 at the end, without a row."""

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED)
        while (frame := await stream.frame()) is not None:
            answer = result(frame)
            if frame.frame_id > 1:
                for box in answer.boxes:
                    box.outcome, box.source_frame_id = frame_pb2.OUTCOME_CACHED, 1
            await stream.answer(answer)
            if frame.frame_id == 1:
                await stream.write(the_end(7, last_frame_id=1, cause=TrackEndCause.EVICTED))
        bare = session_pb2.TrackEnded(
            track=frame_pb2.TrackSnapshot(track_id=9), cause=session_pb2.TRACK_END_CAUSE_SESSION
        )
        await stream.write(service_pb2.EmbedStreamResponse(track_ended=bare))

    served.on_stream = script
    return served


def test_ended_tracks_are_arrays_of_their_own(
    run: Command, tracking: ScriptedServer, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One entry for each, in the order in which they ended; the summary counts them."""
    output = tmp_path / "out.npz"
    assert run("stream", sequence, "-o", output, "--tracks", "once") == 0
    with np.load(output) as arrays:
        assert arrays["outcome"].tolist() == ["embedded", "embedded", "cached"]
        assert arrays["cached"].tolist() == [False, False, True]
        assert arrays["source_frame"].tolist() == [1, 1, 1]
        assert arrays["frame"].tolist() == [1, 1, 5]
        assert {name: (arrays[name].dtype, arrays[name].tolist()) for name in arrays if "ended" in name} == {
            "ended_track_id": (np.uint64, [7, 9]),
            "ended_vector": (np.float32, [[0.5] * DIM, [0] * DIM]),
            "ended_count": (np.int64, [1, 0]),
            "ended_weight": (np.float64, [1, 0]),
            "ended_first_frame": (np.int64, [0, 0]),
            "ended_last_frame": (np.int64, [1, 0]),
            "ended_cause": (np.dtype("U20"), ["evicted", "session"]),
        }
    said = capsys.readouterr().out
    assert "boxes: 2 embedded, 1 cached" in said
    assert "tracks ended: 1 evicted, 1 session" in said
    options = tracking.streams[0].open.track_options
    assert (options.WhichOneof("embed"), options.timeout_ms, options.snapshots) == ("once", 3_600_000, True)


def test_an_ended_track_is_a_line_of_json(
    run: Command, tracking: ScriptedServer, sequence: Path, tmp_path: Path
) -> None:
    """Between those of the frames, where it ended."""
    lines = tmp_path / "out.jsonl"
    assert run("stream", sequence, "-o", tmp_path / "out.npz", "--jsonl", lines, "-q", "--tracks") == 0
    first, end, second, third, last = (json.loads(line) for line in lines.read_text().splitlines())
    assert [line["frame"] for line in (first, second, third)] == [1, 2, 5]
    assert end == {
        "ended_track": 7,
        "cause": "evicted",
        "count": 1,
        "weight": 1.0,
        "first_frame": 0,
        "last_frame": 1,
        "model": "scripted",
        "space_id": SPACE,
        "vector": [0.5] * DIM,
    }
    assert (last["ended_track"], last["count"], last["vector"], last["model"]) == (9, 0, None, None)
    assert [(box["cached"], box["source_frame"]) for box in third["boxes"]] == [(True, 1)]
    assert tracking.streams[0].open.track_options.WhichOneof("embed") == "every_frame"


def test_the_ids_of_the_boxes_file_are_sent(
    run: Command, tracking: ScriptedServer, sequence: Path, tmp_path: Path
) -> None:
    """Without `--tracks` they stay here."""
    asked: list[list[int]] = []

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED if stream_asks(stream) else None)
        while (frame := await stream.frame()) is not None:
            asked.append([box.track_id for box in frame.boxes if box.HasField("track_id")])
            await stream.answer(frame)

    def stream_asks(_: ServerStream) -> bool:
        return len(tracking.streams) > 1

    tracking.on_stream = script
    for words in ([], ["--tracks", "3"]):
        assert run("stream", sequence, "-o", tmp_path / "out.npz", "-q", *words) == 0
    assert asked == [[], [], [], [7, 9], [], [7]]
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["ended_vector"].shape == (0, DIM)
    assert tracking.streams[1].open.track_options.at_intervals.frames == 3


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--tracks", "on-rsk"], "'on-rsk' is no policy: choose every-frame, on-risk, once, or a number of frames"),
        (["--tracks", "on-rsk"], "did you mean on-risk?"),
        (["--tracks", "0"], "'0' is no policy"),
        (["--tracks", "-3"], "'-3' is no policy"),
    ],
)
def test_what_is_no_policy_is_named(
    run: Command, sequence: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    """With those that there are."""
    assert run("stream", sequence, "-o", sequence / "out.npz", *words) == 2
    assert complaint in capsys.readouterr().err


def test_a_source_behind_the_flag_is_told_from_a_policy(
    run: Command, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The flag may stand alone, so it takes the word behind it."""
    assert run("stream", "--tracks", sequence, "-o", tmp_path / "out.npz") == 2
    assert "SOURCE goes before --tracks" in capsys.readouterr().err
