"""The programs that people have: Triton's own client, and one that asks as TAO's ReID client does.

Their messages have the names of ours, so they run in processes and in an environment of their own. The model has the
names, shapes and random weights of a TAO export; what it answers is compared with onnxruntime itself.
"""

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
CLIENTS = Path(__file__).parent / "clients"
MODEL = "reid_tao"
CROPS = 40

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Served:
    """A server's addresses, the folder that clients share with it, and what the network itself answers."""

    grpc: str
    http: str
    folder: Path
    expected: Floats

    def run(self, client: str, *arguments: str) -> None:
        """A client, to its end."""
        command = [str(PYTHON), str(CLIENTS / client), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A TAO export with the file beside it that keeps its rows as they are: such clients do not normalise."""
    folder = tmp_path_factory.mktemp("triton")
    path = tao_export(folder / f"{MODEL}.onnx", dim=256)
    path.with_suffix(".toml").write_text('profile = "tao"\nl2_normalize = false\n', encoding="utf-8")
    crops = np.random.default_rng(1).normal(size=(CROPS, 3, 256, 128)).astype(np.float32)
    np.save(folder / "crops.npy", crops)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run(["fc_pred"], {"input": crops})[0])
    arguments = ["--kserve", "--http-port", "0", "--model", str(path)]
    with server_process(*arguments) as (server, address):
        port = next(event["http_port"] for event in server.log if event["event"] == "serving")
        yield Served(address, f"127.0.0.1:{port}", folder, expected)
        assert not [event for event in server.log if event["event"] in ("text", "call_failed")]


@pytest.mark.parametrize("mode", ["sync", "async", "stream"])
def test_a_client_of_tao_writes_its_results_in_order(served: Served, mode: str) -> None:
    """Batches of 16 and the rest; equal to the network's own rows, which are not normalised."""
    served.run("tao.py", served.grpc, MODEL, str(served.folder), mode)
    results = json.loads((served.folder / f"results-{mode}.json").read_text())
    assert [one["img_path"] for one in results] == [f"person_{number:03}.png" for number in range(CROPS)]
    vectors = np.array([one["embedding"] for one in results], np.float32)
    np.testing.assert_allclose(vectors, served.expected, rtol=1e-4, atol=1e-5)
    assert np.linalg.norm(served.expected, axis=1).min() > 2  # they would be 1 if they were


@dataclass(frozen=True, slots=True)
class Found:
    """What Triton's client got: rows of each flavour, and what was said."""

    rows: dict[str, Floats]
    said: dict[str, Any]


@pytest.fixture(scope="module")
def found(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Run once, for all tests below."""
    folder = tmp_path_factory.mktemp("flavours")
    np.save(folder / "crops.npy", np.load(served.folder / "crops.npy")[:4])
    served.run("triton.py", served.grpc, served.http, str(folder))
    with np.load(folder / "rows.npz") as rows:
        return Found(dict(rows), json.loads((folder / "said.json").read_text()))


FLAVOURS = (
    *("grpc", "grpc, 100 in flight", "grpc, stream", "grpc, asyncio", "grpc, asyncio stream"),
    *("http, bytes to bytes", "http, bytes to numbers", "http, numbers to bytes", "http, numbers to numbers"),
    *("http, at once", "http, asyncio"),
)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_of_the_client_gets_the_networks_rows(found: Found, served: Served, flavour: str) -> None:
    """In the order of its requests."""
    assert set(found.rows) == set(FLAVOURS)
    rows = found.rows[flavour]
    np.testing.assert_allclose(rows, served.expected[: len(rows)], rtol=1e-4, atol=1e-5)


def test_the_client_understands_what_it_is_told(found: Found) -> None:
    """Configuration, readiness and statistics, on both wires."""
    said = found.said
    assert said["ready"] == said["http ready"] == [True, True, True]
    assert not said["not ready"]
    assert "statistics" in said["server"]["extensions"]
    for config in (said["config"], said["http config"]):
        assert (config["name"], config["input"][0]["format"]) == (MODEL, "FORMAT_NCHW")
        assert [int(side) for side in config["input"][0]["dims"]] == [3, 256, 128]
        assert config["output"][0]["name"] == "fc_pred"
        assert int(config["max_batch_size"]) >= 16
    before, after = said["statistics"], said["http statistics"]
    assert 0 < int(before["inference_count"]) < after["inference_count"]
    assert 0 < int(before["execution_count"]) < after["execution_count"]
    assert int(before["inference_stats"]["compute_infer"]["ns"]) > 0


def test_what_is_wrong_with_a_request_of_a_stream_is_its_answer(found: Found) -> None:
    """In its place."""
    first, second, third, last = found.said["stream"]
    assert (first, last) == ("a", "d")
    assert "is FP32 [4, 3, 255, 128]" in second
    assert "unknown model 'nobody'" in third


@pytest.mark.parametrize(
    ("case", "grpc", "http", "said"),
    [
        ("model", "NOT_FOUND", "404", "unknown model 'nobody'"),
        ("version", "NOT_FOUND", "404", "has no version '7'"),
        ("input", "INVALID_ARGUMENT", "400", "inputs 'inputs'"),
        ("output", "INVALID_ARGUMENT", "400", "output 'fc' is asked for"),
        ("shape", "INVALID_ARGUMENT", "400", "is FP32 [4, 3, 255, 128]"),
        ("datatype", "INVALID_ARGUMENT", "400", "is FP64 [4, 3, 256, 128]"),
        ("compressed", "UNIMPLEMENTED", "400", "ompress"),
        ("shared memory", "UNIMPLEMENTED", "501", "send tensors in the message"),
        ("load", "UNIMPLEMENTED", "501", "named by --model"),
        ("config", "NOT_FOUND", "404", "unknown model 'nobody'"),
    ],
)
def test_the_client_shows_what_is_wrong(found: Found, case: str, grpc: str, http: str, said: str) -> None:
    """With the same words on both wires."""
    for wire, status in (("grpc", grpc), ("http", http)):
        text = found.said[wire][case]
        assert status in text, text
        assert said in text, text


def test_the_example_of_the_page_runs() -> None:
    """As printed, against a server with its own model."""
    page = (ROOT / "docs" / "kserve.md").read_text(encoding="utf-8")
    program, _ = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    with server_process("--kserve") as (_, address):
        command = [str(PYTHON), "-c", program.replace("localhost:50051", address)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert (done.stdout, done.returncode) == ("(8, 384)\n", 0), done.stderr
