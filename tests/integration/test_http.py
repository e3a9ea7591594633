"""The HTTP door as people run it: a server's process, and curl with the lines of the page."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.support.curl import USUAL, said_by
from tests.support.exports import tao_export
from tests.support.harness import encode, picture
from tests.support.process import server_process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("curl ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the lines name."""
    (tmp_path / "person_001.png").write_bytes(encode(picture(64, 160, seed=1), ".png"))
    (tmp_path / "person_002.png").write_bytes(encode(picture(70, 150, seed=2), ".png"))
    (tmp_path / "frame.jpg").write_bytes(encode(picture(640, 480)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.needs("curl", "jq")
def test_the_lines_of_the_page_run_as_printed(folder: Path) -> None:
    """On the default model."""
    assert len(COMMANDS) == 6
    assert COMMANDS[:2] == list(USUAL)
    with server_process("--http-port", "0") as (server, _):
        port = next(event["http_port"] for event in server.log if event["event"] == "serving")
        said = [said_by(line, port) for line in COMMANDS]
    dim, first = said[0].split("\n", 1)
    assert (dim, len(json.loads(first))) == ("384", 8)
    assert len(json.loads(said[1])["embedding"]) == 384 * 4 * 4 // 3
    assert json.loads(said[2]).startswith("1:")
    assert said[3].split() == ['"embedded"'] * 2
    assert said[4].split() == ["384"] * 2
    assert np.load(folder / "vectors.npy").shape == (1, 384)


@pytest.mark.needs("curl", "jq")
def test_an_export_of_tao_is_served_by_the_variables_of_such_services(folder: Path) -> None:
    """Nothing says its preprocessing: it is TAO's, and one line of the log says so."""
    line = next(line for line in PAGE.splitlines() if line.startswith("MODEL_PATH="))
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    assert set(variables) == {"MODEL_PATH", "ORT_PROVIDERS"}
    path = tao_export(folder / Path(variables["MODEL_PATH"]).name)
    with server_process("--http-port", "0", environment={**os.environ, **variables, "MODEL_PATH": str(path)}) as (
        server,
        _,
    ):
        port = next(event["http_port"] for event in server.log if event["event"] == "serving")
        assumed = [event for event in server.log if event["event"] == "profile_assumed"]
        assert [(event["model"], event["profile"]) for event in assumed] == [("reid_swinb_1024", "tao")]
        said = [said_by(line, port) for line in USUAL]
    dim, first = said[0].split("\n", 1)
    assert (dim, len(json.loads(first))) == ("1024", 8)
    answer = json.loads(said[1])
    assert (answer["dim"], answer["model"]) == (1024, "reid_swinb_1024")


def test_nothing_listens_and_no_variable_counts_without_the_port() -> None:
    """A server that has never heard of HTTP serves its own model."""
    with server_process(environment={**os.environ, "MODEL_PATH": "/nowhere.onnx"}) as (server, _):
        (serving,) = [event for event in server.log if event["event"] == "serving"]
    assert "http_port" not in serving
    assert serving["models"] == "stripes"
