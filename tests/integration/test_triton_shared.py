"""Triton's own client with its tensors in shared memory, on both wires; and what it is told when it goes wrong."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from tests.support.exports import tao_export
from tests.support.patience import HANG_S
from tests.support.process import server_process

pytestmark = pytest.mark.needs("triton")

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-triton/bin/python"
CLIENT = Path(__file__).parent / "clients" / "triton_shared.py"
ON = ("--kserve", "--kserve-shared-memory")
FLAVOURS = ("grpc, input", "grpc, output", "grpc, both", "grpc, stream", "http, input", "http, output", "http, both")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """What the client got: rows of each flavour, and what was said; and what the network itself answers."""

    rows: dict[str, Floats]
    said: dict[str, dict[str, Any]]
    expected: Floats


def run(*arguments: str) -> str:
    """A client, to its end; what it prints."""
    command = [str(PYTHON), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """Run once, for all tests below. The server has served all of it, and ends as it should."""
    folder = tmp_path_factory.mktemp("shared")
    path = tao_export(folder / "reid_tao.onnx", dim=64)
    path.with_suffix(".toml").write_text('profile = "tao"\nl2_normalize = false\n', encoding="utf-8")
    crops = np.random.default_rng(1).normal(size=(4, 3, 256, 128)).astype(np.float32)
    np.save(folder / "crops.npy", crops)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run(["fc_pred"], {"input": crops})[0])
    with server_process(*ON, "--http-port", "0", "--model", str(path)) as (server, address):
        port = next(event["http_port"] for event in server.log if event["event"] == "serving")
        run(str(CLIENT), address, f"127.0.0.1:{port}", str(folder))
        server.terminate()
        assert server.wait() == 0
        assert not [event for event in server.log if event["event"] in ("text", "call_failed")]
    with np.load(folder / "shared.npz") as rows:
        yield Found(dict(rows), json.loads((folder / "shared.json").read_text()), expected)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_rows_are_those_of_tensors_in_messages(found: Found, flavour: str) -> None:
    """Wherever input and output lie."""
    assert set(found.rows) == set(FLAVOURS)
    np.testing.assert_allclose(found.rows[flavour], found.expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wire", ["grpc", "http"])
@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("beyond", "do not lie within region"),
        ("twice", "is registered already"),
        ("too long", "may have 268435456, half of max_kserve_region_bytes"),
        ("no name", "is no name of shared memory"),
        ("cut off", "was cut off"),
        ("gone", "has no region"),
    ],
)
def test_the_client_shows_what_is_wrong(found: Found, wire: str, case: str, text: str) -> None:
    """With the same words on both wires."""
    said = found.said[wire][case]
    assert text in said, said
    assert ("INVALID_ARGUMENT" if wire == "grpc" else "400") in said


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_the_client_understands_what_it_is_told(found: Found, wire: str) -> None:
    """Of its regions, while they are there."""
    said = found.said[wire]
    assert said["key"] in said["status"]
    assert said["status after"].strip() in ("", "[]")


def test_the_example_of_the_page_runs() -> None:
    """As printed, against a server with its own model."""
    page = (ROOT / "docs" / "kserve.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (program,) = [one for one in programs if "shared_memory" in one]
    with server_process(*ON) as (_, address):
        assert run("-c", program.replace("localhost:50051", address)) == "(8, 384)\n"
